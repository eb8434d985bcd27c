"""A recorded stream: the datagrams that the server of a real run took, and whom it sent each to.

``tests/nodes/streams/single.json`` was made of a run's capture::

    make experiment TOPO=single QUICK=1 CAPTURE=1
    .venv/bin/python -m tests.nodes.recorded results/single/latest > tests/nodes/streams/single.json

Times, senders, sizes and all octets in the clear are the run's. What is sealed is left out and made up again
from the datagram's number: no plane may look at it, and all must leave it as it is.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from experiments.observation.decoding import DATA_PORT
from experiments.observation.packets import read_timed_packets
from experiments.observation.udp_payloads import has_vpn_header, udp_payload
from protocol import hop_tag
from protocol.relay import Member, Relay, RelayedGroup, Strip, TaggedRelay
from protocol.relay.flow import Flow, flow_octets
from protocol.types import SECOND, Address, ClientId, Secret, VpnId
from protocol.wire import esp, ip, vpn_header

SINGLE = Path(__file__).parent / "streams" / "single.json"
SEQUENCE_LENGTH = 4


class Datagram(NamedTuple):
    """When it came (us), from which member, its payload, and which members got it."""

    time: int
    sender: int
    payload: bytes
    receivers: tuple[int, ...]


@dataclass(frozen=True)
class Stream:
    """A run's groups, members (the number of each one's group) and datagrams."""

    groups: tuple[tuple[str, tuple[int, ...]], ...]
    """Multicast address and SPIs of each."""
    members: tuple[int, ...]
    datagrams: tuple[Datagram, ...]

    @classmethod
    def load(cls, path: Path) -> Stream:
        """Reads what :func:`describe` has made."""
        found = json.loads(path.read_text(encoding="utf-8"))
        flows = [(sender, bytes.fromhex(clear)) for sender, clear in found["flows"]]
        datagrams = []
        for number, (time, flow, sequence, length, receivers) in enumerate(found["datagrams"]):
            sender, clear = flows[flow]
            front = clear + sequence.to_bytes(SEQUENCE_LENGTH, "big")
            payload = front + number.to_bytes(4, "big") * (length // 4)
            datagrams.append(Datagram(time, sender, payload[:length], tuple(receivers)))
        groups = tuple((address, tuple(spis)) for address, spis in found["groups"])
        return cls(groups, tuple(found["members"]), tuple(datagrams))

    def relay(self, addresses: Sequence[Address], strip: Strip, tagged: bool) -> Relay:
        """Returns a relay that knows every group, and the members at these addresses."""
        relay = (TaggedRelay if tagged else Relay)(strip)
        for number, (address, spis) in enumerate(self.groups):
            relay.install_group(RelayedGroup(VpnId(number), ip_address(address), frozenset(spis)))
        for number, (group, place) in enumerate(zip(self.members, addresses, strict=True)):
            keys = (hop_key(number),) if tagged else ()
            relay.add_member(Member(ClientId(number), VpnId(group), place, hop_keys=keys))
        return relay

    def payload(self, datagram: Datagram, tagged: bool) -> bytes:
        """Returns what its sender sends."""
        return (
            hop_tag.add(datagram.payload, hop_key(datagram.sender)) if tagged else datagram.payload
        )

    def wakings(self, gap: int, most: int) -> Iterator[list[Datagram]]:
        """Yields what a plane finds that wakes up when nothing has come for ``gap`` us, or ``most`` have."""
        waiting: list[Datagram] = []
        for datagram in self.datagrams:
            if waiting and (datagram.time - waiting[-1].time > gap or len(waiting) == most):
                yield waiting
                waiting = []
            waiting.append(datagram)
        yield waiting


def teach(relay: Relay, stream: Stream, addresses: Sequence[Address], tagged: bool) -> Relay:
    """Has the relay of a stream know where all stations are, as the run's did; returns it.

    Twice: what is decided before the last station is learnt has to be decided anew.
    """
    for one in stream.datagrams * 2:
        relay.receive_datagram(stream.payload(one, tagged), addresses[one.sender], SECOND)
    return relay


def as_recorded(stream: Stream, strip: Strip, tagged: bool) -> list[list[bytes]]:
    """Returns what each member got in the run, sorted."""
    cut = vpn_header.LENGTH + (hop_tag.LENGTH if tagged else 0)
    at = cut if strip is Strip.PATENT else 0
    return [
        sorted(
            stream.payload(one, tagged)[at:] for one in stream.datagrams if number in one.receivers
        )
        for number in range(len(stream.members))
    ]


def bursts(
    stream: Stream, waiting: Sequence[Datagram], tagged: bool
) -> list[tuple[int, tuple[bytes, ...]]]:
    """Returns what each sender has waiting, in order, as batches of equal size: (sender, payloads)."""
    found = []
    by_sender: dict[int, list[bytes]] = {}
    for one in waiting:
        by_sender.setdefault(one.sender, []).append(stream.payload(one, tagged))
    for sender, payloads in by_sender.items():
        for _, alike in itertools.groupby(payloads, key=len):
            whole = list(alike)
            found += [(sender, tuple(whole[at : at + 44])) for at in range(0, len(whole), 44)]
    return found


def hop_key(member: int) -> Secret:
    """Returns a member's hop key; the run's own are nowhere but in its processes."""
    return Secret(bytes([member + 1]) * hop_tag.KEY_LENGTH)


def describe(folder: Path) -> dict[str, Any]:
    """Returns, as JSON, what the server of a run took and gave; ValueError when the capture is not whole."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    taken, given = _taken_and_given(folder / "outside.pcapng")
    hosts = sorted(
        {host for _, host, _ in taken} | {host for hosts in given.values() for host in hosts}
    )
    parsed = [_flow(host, payload) for _, host, payload in taken]
    groups: dict[str, set[int]] = {}
    for flow in parsed:
        groups.setdefault(str(flow.inner_destination), set()).add(flow.spi)
    names = sorted(groups)
    group_of = {flow.source.host: names.index(str(flow.inner_destination)) for flow in parsed}
    flows: dict[tuple[int, str], int] = {}
    rows = []
    for (time, host, payload), flow in zip(taken, parsed, strict=True):
        clear = flow.header.length + ip.HEADER_LENGTHS[6] + esp.HEADER_LENGTH - SEQUENCE_LENGTH
        number = flows.setdefault((hosts.index(host), payload[:clear].hex()), len(flows))
        sequence = int.from_bytes(payload[clear : clear + SEQUENCE_LENGTH], "big")
        receivers = sorted(map(hosts.index, given.pop(payload, ())))
        since = round((time - taken[0][0]) * 1e6)
        rows.append([since, number, sequence, len(payload), receivers])
    if given:
        raise ValueError(f"{len(given)} payloads left the server and never came to it")
    return {
        "of": f"python -m experiments {' '.join(record['argv'])}, commit {record['commit']}",
        "groups": [[name, sorted(groups[name])] for name in names],
        "members": [group_of[host] for host in hosts],
        "flows": list(flows),
        "datagrams": rows,
    }


def _taken_and_given(
    capture: Path,
) -> tuple[list[tuple[float, str, bytes]], dict[bytes, list[str]]]:
    """Returns, by time, (time, sender, payload) of what came to the server, and who got which payload.

    The server is who has sent to each of the others.
    """
    seen = []
    for time, packet in read_timed_packets(capture):
        found = udp_payload(packet, DATA_PORT)
        if found is not None and has_vpn_header(found[0]):
            seen.append((time, *found))
    servers = set.intersection(*({str(source), str(to)} for _, _, source, to in seen))
    if len(servers) != 1:
        raise ValueError(
            f"{capture.name}: {len(servers)} hosts have a part in everything, expected one"
        )
    given: dict[bytes, list[str]] = {}
    for _, payload, source, to in seen:
        if str(source) in servers:
            given.setdefault(payload, []).append(str(to))
    taken = [
        (time, str(source), payload) for time, payload, source, to in seen if str(to) in servers
    ]
    return sorted(taken), given


def _flow(host: str, payload: bytes) -> Flow:
    """Returns the flow that a datagram is of; ValueError when a relay would not know it."""
    octets = flow_octets(payload)
    flow = None if octets is None else Flow.parse(Address(host, DATA_PORT), octets)
    if not isinstance(flow, Flow) or flow.inner_destination.version != 6:
        raise ValueError(f"{host} sent {payload[:64].hex()}, expected an untagged datagram")
    return flow


def main(folder: str) -> None:
    """Prints a stream, a row a line."""
    parts = []
    for name, value in describe(Path(folder)).items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            parts.append(f"{json.dumps(name)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    print("{\n" + ",\n".join(parts) + "\n}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Two network namespaces and the veth pair between them: a relay's, and that of all members."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from protocol import hop_tag
from protocol.relay import Member, Relay, RelayedGroup, TaggedRelay
from protocol.relay.verdicts import Verdict
from protocol.types import Address, ClientId, IpAddress, Secret, VpnId
from protocol.wire.esp import EspHeader
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.vpn_header import VpnHeader
from tests.namespaces import inside
from tests.nodes.running import eventually

PORT = 4790
RELAY_INTERFACE, MEMBERS_INTERFACE = "relay-out", "members-out"
RELAY_MAC, MEMBERS_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
SIZES = (2, 3, 8)
"""Clients in each group: a frame to all goes to 1, 2 and 7 of them."""
SERVERS = (15, 16)
"""Hosts that may be other VPN servers."""
HOSTS = range(1, SERVERS[-1] + 1)
DEADLINE_S = 30.0
BUFFER = 65536
UDP_SEGMENT = 103
SO_RCVBUFFORCE = 33


def group_address(family: int, size: int) -> IpAddress:
    """Returns the multicast address of the group with so many clients."""
    return ip_address(f"ff1e::{size}" if family == 6 else f"239.1.1.{size}")


def spi_of(size: int) -> int:
    """Returns the SPI of the group with so many clients."""
    return 0x1000 + size


def host(family: int, number: int) -> IpAddress:
    """Returns a member's address; that of number 0 is the relay's, of 14 nobody's."""
    return ip_address(f"3ffe::{number + 0x1000:x}" if family == 6 else f"198.51.100.{number + 1}")


def mac(number: int) -> bytes:
    """Returns the MAC address of the station behind a member; 0: all stations."""
    return b"\xff" * 6 if number == 0 else number.to_bytes(6, "big")


def members_of(size: int) -> range:
    """Returns the numbers of a group's members."""
    first = 1 + sum(other for other in SIZES if other < size)
    return range(first, first + size)


def hop_key(number: int) -> Secret:
    """Returns a member's hop key."""
    return Secret(bytes([number]) * hop_tag.KEY_LENGTH)


def relay_knowing_all(family: int, tagged: bool = False) -> Relay:
    """Returns a relay that knows every group and member."""
    relay = TaggedRelay() if tagged else Relay()
    for size in SIZES:
        vpn_id = VpnId(size)
        spis = frozenset([spi_of(size)])
        relay.install_group(RelayedGroup(vpn_id, group_address(family, size), spis))
        for number in members_of(size):
            address = Address(str(host(family, number)), PORT)
            keys = (hop_key(number),) if tagged else ()
            relay.add_member(Member(ClientId(number), vpn_id, address, hop_keys=keys))
    return relay


def payload(
    family: int,
    size: int,
    source: int,
    destination: int = 0,
    length: int = 64,
    spi: int | None = None,
    macs: bool = True,
) -> bytes:
    """Builds a datagram's payload of a group, from the station behind a member to another's."""
    sequence = int.from_bytes(os.urandom(4), "big")
    sealed = EspHeader(spi_of(size) if spi is None else spi, sequence, 1, length).pack()
    inside = host(family, source), group_address(family, size), sealed + os.urandom(length)
    header = VpnHeader((mac(source), mac(destination)) if macs else None)
    return header.pack() + InnerPacket(*inside).pack()


@dataclass(frozen=True)
class Sending:
    """Payloads that a member sends at once: one, or a batch of equal size but for the last."""

    sender: int
    payloads: tuple[bytes, ...]


def expected_of(
    relay: Relay, family: int, sendings: Sequence[Sending], now: int
) -> dict[int, list[bytes]]:
    """Returns what each member is to receive, by the relay's own word, sorted."""
    numbers = {str(host(family, number)): number for size in SIZES for number in members_of(size)}
    found: dict[int, list[bytes]] = {number: [] for number in numbers.values()}
    for sending in sendings:
        source = str(host(family, sending.sender)), PORT
        for octets in sending.payloads:
            verdict: Verdict = relay.receive_datagram(octets, source, now)
            for destination, *_ in verdict.destinations:
                found[numbers[destination.host]].append(octets)
    return {number: sorted(payloads) for number, payloads in found.items()}


class Wire:
    """The two namespaces; sockets of all members, and a place for the relay's."""

    def __init__(self, family: int, processes: tuple[int, int]) -> None:
        self.family = family
        self.relay_process, self.members_process = processes
        self.address = host(family, 0)
        with self.at_members():
            self.sockets: dict[int, socket.socket] = {}
            for number in HOSTS:
                self._open(number)

    def _open(self, number: int) -> None:
        made = self.sockets[number] = socket.socket(
            socket.AF_INET6 if self.family == 6 else socket.AF_INET, socket.SOCK_DGRAM
        )
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        made.bind((str(host(self.family, number)), PORT))
        made.setblocking(False)

    def at_relay(self) -> contextlib.AbstractContextManager[None]:
        """Puts this thread where the relay is."""
        return inside(self.relay_process)

    def at_members(self) -> contextlib.AbstractContextManager[None]:
        """Puts this thread where the members are."""
        return inside(self.members_process)

    def send(self, sending: Sending) -> None:
        """Sends payloads to the relay, several of them as one batch of the kernel's."""
        made = self.sockets[sending.sender]
        size = len(sending.payloads[0])
        segment = [(socket.SOL_UDP, UDP_SEGMENT, size.to_bytes(2, "little"))]
        made.sendmsg(
            list(sending.payloads),
            segment if len(sending.payloads) > 1 else [],
            0,
            (str(self.address), PORT),
        )

    def received(self) -> dict[int, list[bytes]]:
        """Returns what has come to each member from the relay's address."""
        found: dict[int, list[bytes]] = {}
        for number, made in self.sockets.items():
            found[number] = []
            while select.select([made], [], [], 0)[0]:
                octets, source = made.recvfrom(BUFFER)
                assert source[:2] == (str(self.address), PORT)
                found[number].append(octets)
        return found

    def shown(self, *command: str) -> str:
        """Returns what a command prints where the relay is."""
        with self.at_relay():
            return run(*command)

    def close(self) -> None:
        """Closes the sockets."""
        for made in self.sockets.values():
            made.close()


def run(*command: str, given: str = "") -> str:
    """Runs a command to its end with ``given`` as its input; returns its output."""
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


@contextlib.contextmanager
def wire(family: int, whole_in: bool, whole_out: bool) -> Iterator[Wire]:
    """Makes the namespaces and the link.

    Whole in: batches come to the relay as one skb, with a checksum that nobody has computed yet. Not
    whole out: they are cut, and checksums computed, before they leave it, and the members verify them.
    """
    with contextlib.ExitStack() as stack:
        processes = (stack.enter_context(_namespace()), stack.enter_context(_namespace()))
        run(
            *("ip", "link", "add", RELAY_INTERFACE, "netns", str(processes[0])),
            *("address", RELAY_MAC, "type", "veth", "peer", MEMBERS_INTERFACE),
            *("netns", str(processes[1]), "address", MEMBERS_MAC),
        )
        ends = (
            End(processes[0], RELAY_INTERFACE, range(1), HOSTS, MEMBERS_MAC),
            End(processes[1], MEMBERS_INTERFACE, HOSTS, range(1), RELAY_MAC),
        )
        for end, whole in zip(ends, (whole_out, whole_in), strict=True):
            end.configure(family, whole)
        for end in ends:
            end.meet(family)
        made = Wire(family, processes)
        stack.callback(made.close)
        yield made


@dataclass(frozen=True)
class End:
    """One end of the link: its interface, the hosts that it has, and those at the other end."""

    process: int
    name: str
    own: range
    others: range
    other_mac: str

    def configure(self, family: int, whole: bool) -> None:
        """Gives the interface its addresses, and says whether batches leave it whole."""
        length, at_once = (64, "nodad") if family == 6 else (24, "")
        lines = [
            f"address add {host(family, number)}/{length} dev {self.name} {at_once}\n"
            for number in self.own
        ]
        lines += ["link set dev lo up\n", f"link set dev {self.name} up\n"]
        state = "on" if whole else "off"
        with inside(self.process):
            run("ip", "-batch", "-", given="".join(lines))
            run(
                *("ethtool", "-K", self.name, "tx", state, "gso", "on"),
                *("tx-udp-segmentation", state),
            )

    def meet(self, family: int) -> None:
        """Waits until the interface sends, and enters the MAC address of the others.

        So nobody has to be asked for it, and nothing is on the link that a test would count.
        """
        lines = [
            f"neighbour replace {host(family, number)} lladdr {self.other_mac} "
            f"dev {self.name} nud reachable\n"
            for number in self.others
        ]
        with inside(self.process):
            assert eventually(self._is_up, DEADLINE_S)
            run("ip", "-batch", "-", given="".join(lines))

    def _is_up(self) -> bool:
        """Tells whether the kernel has noticed that the other end is up; until then it drops."""
        (shown,) = json.loads(run("ip", "-json", "link", "show", "dev", self.name))
        return (shown["operstate"], shown["qdisc"]) == ("UP", "noqueue")


@contextlib.contextmanager
def _namespace() -> Iterator[int]:
    """Gives the ID of a process that keeps a new network namespace open."""
    own = os.stat("/proc/self/ns/net").st_ino
    with subprocess.Popen(["unshare", "--net", "sleep", "600"]) as process:
        try:
            deadline = time.monotonic() + DEADLINE_S
            while os.stat(f"/proc/{process.pid}/ns/net").st_ino == own:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            yield process.pid
        finally:
            process.kill()

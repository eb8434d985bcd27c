"""What is to be seen outside while a client registers inside an SA that IKE has set up: IKE, and no message.

What passes outside is captured where the server's link ends, as a kernel's own ESP shows the server
its packets twice: sealed and opened. Where charon does ESP itself, its device shows the messages.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from experiments.deployment import Deployment
from experiments.observation.capture import Capture, CaptureError
from experiments.observation.packets import contains_run_of, read_packets
from experiments.records.record import Invariant
from topologies.plan import Plan

EXCHANGES = {"IKE_SA_INIT": "34", "IKE_AUTH": "35"}
"""The exchanges that set up an SA, with their numbers (RFC 7296 section 3.1)."""
_WORDS = (
    b'"multicast_address":"',
    b'"security_association":{',
    b'"type":"register',
    b'"data_port":',
)
_CHARONS_DEVICE = "ipsec0"
_TSHARK_SECONDS = 60.0
_LEAST_RUN = 16


def look_outside(deployment: Deployment, private: Path) -> dict[str, Invariant]:
    """Has a client register anew, and says what of it was to be seen outside."""
    plan, network = deployment.plan, deployment.network
    (server,) = plan.servers
    client = next(one for one in plan.clients() if one.name in deployment.processes)
    beside, interface = other_end(plan, server.name)
    shows = network.run(server.name, ["ip", "link", "show", "dev", _CHARONS_DEVICE]).returncode == 0
    inside = private / "ike-inside.pcapng"
    with ExitStack() as captures:
        outside = captures.enter_context(
            Capture(network.popen, beside, [interface], private / "ike-outside.pcapng")
        ).path
        if shows:
            captures.enter_context(Capture(network.popen, server.name, [_CHARONS_DEVICE], inside))
        deployment.end(client.name)
        deployment.start(client)
        deployment.wait(client.name, "registered")
    words = [*_WORDS, *(key["key"].encode() for key in deployment.keys(client.name))]
    return {
        "tshark_reads_ike_outside": reads_ike(outside),
        "no_octet_of_a_message_is_outside": hides_messages(
            outside, inside if shows else None, words
        ),
    }


def reads_ike(outside: Path) -> Invariant:
    """Tells whether tshark names the exchanges that set up an SA."""
    argv = ["tshark", "-r", str(outside), "-Y", "isakmp", "-T", "fields"]
    done = subprocess.run(
        [*argv, "-e", "isakmp.exchangetype"],
        capture_output=True,
        text=True,
        timeout=_TSHARK_SECONDS,
        check=False,
    )
    if done.returncode:
        raise CaptureError(f"tshark on {outside.name}: {done.stderr.strip()}")
    seen = done.stdout.split()
    counted = {name: seen.count(number) for name, number in EXCHANGES.items()}
    said = ", ".join(f"{count} of {name}" for name, count in counted.items())
    return Invariant(all(counted.values()), f"{len(seen)} packets of IKE: {said}")


def hides_messages(outside: Path, inside: Path | None, words: Iterable[bytes]) -> Invariant:
    """Tells whether nothing of a message is outside; the same search finds them inside."""
    words = [word for word in words if len(word) >= _LEAST_RUN]
    payloads = [] if inside is None else list(tcp_payloads(inside))
    found = contains_run_of(outside, *words, *payloads)
    there = inside is None or contains_run_of(inside, *words)
    said = "found" if found else "not found"
    octets = sum(map(len, payloads))
    where = f"{octets} octets of messages were seen on charon's device"
    if inside is None:
        where = "the kernel does ESP, so that messages are seen nowhere"
    return Invariant(not found and there, f"a run of {_LEAST_RUN} octets was {said}; {where}")


def tcp_payloads(capture: Path) -> Iterator[bytes]:
    """Yields what TCP carries in a capture of IPv6 packets, of pieces long enough to be looked for."""
    for packet in read_packets(capture):
        if packet[0] >> 4 == 6 and packet[6] == 6:
            payload = packet[40 + (packet[52] >> 4) * 4 : 40 + int.from_bytes(packet[4:6], "big")]
            if len(payload) >= _LEAST_RUN:
                yield payload


def other_end(plan: Plan, node: str) -> tuple[str, str]:
    """Returns the machine that a node is linked to, and its interface of that link."""
    link = next(link for link in plan.links if node in link.ends)
    index = 1 - link.ends.index(node)
    return link.ends[index], link.interfaces[index].name

"""The system on IPv4 outside, and with the VPN header taken off as the patent has it."""

from __future__ import annotations

import socket

import pytest

from protocol.wire.binding import is_binding
from tests.namespaces import inside
from tests.nodes.running import crew_on
from topologies.catalog import single
from topologies.emulate import Network, emulate

pytestmark = pytest.mark.emulated

ETH_P_ALL = 0x0003
DATA_PORT = 4790
ETHERNET, UDP = 14, 8
IP_LENGTH = {4: 20, 6: 40}
UDP_AT = {4: 9, 6: 6}
SOURCE_AT = {4: slice(12, 16), 6: slice(8, 24)}


class Wire:
    """Sees what the server sends to one client."""

    def __init__(self, network: Network, client: str) -> None:
        self._server = network.plan.data_address("server")
        with inside(network.pid(client)):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._socket.bind((f"{client}-out", ETH_P_ALL))
        self._socket.setblocking(False)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def payloads(self) -> list[bytes]:
        """Returns the payloads that have come from the server's data port, but its own answers."""
        found: list[bytes] = []
        while True:
            try:
                packet = self._socket.recv(65536)[ETHERNET:]
            except BlockingIOError:
                return found
            version = packet[0] >> 4
            if version != self._server.version or packet[UDP_AT[version]] != socket.IPPROTO_UDP:
                continue
            datagram = packet[IP_LENGTH[version] :]
            from_server = packet[SOURCE_AT[version]] == self._server.packed
            mine = from_server and int.from_bytes(datagram[:2], "big") == DATA_PORT
            if mine and not is_binding(datagram[UDP:]):
                found.append(datagram[UDP:])


@pytest.mark.parametrize(
    ("family", "strip", "first"),
    [(6, "patent", 0x60), (4, "patent", 0x45), (4, "keep", 0x01)],
)
def test_frames_flow_and_clients_get_the_payload_in_that_form(
    family: int, strip: str, first: int
) -> None:
    plan = single(clients=2, terminals=1, second_group=0, family=family)
    with emulate(plan) as network, crew_on(network) as crew, Wire(network, "c2") as wire:
        crew.configure("server", server={"strip": strip})
        crew.up("server", "c1", "c2")
        assert crew.reach("t1a", "t2a")
        payloads = wire.payloads()
        assert len(payloads) >= 4
        assert {payload[0] for payload in payloads} == {first}
        for client in ("c1", "c2"):
            counters = crew.status(client)["counters"]
            assert [name for name in counters if "malformed" in name or "forged" in name] == []
        assert crew.end("c1", "c2", "server") == [0, 0, 0]

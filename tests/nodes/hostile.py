"""What an attacker can do on the network: send from anybody's address, and forge a group's packets."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import msgspec

from experiments.traffic.probe import ETHERTYPE, ProbeFrame, mac_from_text
from protocol.security_association import SecurityAssociation
from protocol.types import Secret
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.messages import GroupSecurityAssociation
from protocol.wire.vpn_header import VpnHeader
from tests.namespaces import inside
from tests.nodes.running import Crew
from topologies.emulate import Network

DATA_PORT = 4790
IPV6_CHECKSUM = 7
FOREIGN_SENDER = 0x7000
"""A sender ID that the server has given to nobody."""
STATION = "02:00:00:00:aa:99"
BROADCAST = "ff:ff:ff:ff:ff:ff"
MARKER = bytes(range(16))


class Impostor:
    """Sends UDP datagrams from a node's IPv6 address and any port, past the process that has it."""

    def __init__(self, network: Network, node: str) -> None:
        with inside(network.pid(node)):
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 6)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._socket.bind((str(network.plan.data_address(node)), 0))

    def send(self, payload: bytes, destination: object, source_port: int = DATA_PORT) -> None:
        """Sends one datagram to a data port."""
        header = struct.pack("!HHHH", source_port, DATA_PORT, 8 + len(payload), 0)
        self._socket.sendto(header + payload, (str(destination), 0))

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


class Bystander:
    """Sees the probe frames that reach a terminal."""

    def __init__(self, network: Network, terminal: str) -> None:
        with inside(network.pid(terminal)):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
            self._socket.bind((network.plan.lan_interface(terminal).name, ETHERTYPE))

    def next_frame(self, seconds: float) -> bytes | None:
        """Returns the next frame, or None when none comes in time."""
        self._socket.settimeout(seconds or 0.0001)
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


@dataclass
class Forger:
    """Knows a group's key, as a member gone bad does, and makes payloads with it."""

    parameters: GroupSecurityAssociation
    address: str
    frames: int = 0

    def __post_init__(self) -> None:
        self.association = SecurityAssociation(self.parameters)

    @classmethod
    def of(cls, crew: Crew, client: str) -> Forger:
        """Takes the key from a client's key socket."""
        (key,) = crew.keys(client)
        parameters = GroupSecurityAssociation(
            key["spi"],
            key["algorithm"],
            Secret(bytes.fromhex(key["key"])),
            Secret(bytes.fromhex(key["salt"])),
            FOREIGN_SENDER,
        )
        return cls(parameters, crew.rows(client, "309")[0][1])

    def frame(self) -> bytes:
        """Makes a broadcast frame that nobody has seen before."""
        self.frames += 1
        macs = mac_from_text(BROADCAST), mac_from_text(STATION)
        return ProbeFrame(*macs, MARKER, 0, self.frames, 100).to_bytes()

    def payload(
        self,
        frame: bytes,
        address: str | None = None,
        macs: tuple[bytes, bytes] | None = None,
        sender_id: int | None = None,
    ) -> bytes:
        """Seals a frame and puts inner header and VPN header before it."""
        association = self.association
        if sender_id is not None:
            parameters = msgspec.structs.replace(self.parameters, sender_id=sender_id)
            association = SecurityAssociation(parameters, 1_000_000)
        inner = InnerPacket(
            ip_address("3ffe:aaaa::1"),
            ip_address(address or self.address),
            association.seal(frame),
        )
        return VpnHeader(macs or (frame[6:12], frame[:6])).pack() + inner.pack()


@contextlib.contextmanager
def closing(*opened: Impostor | Bystander) -> Iterator[None]:
    """Closes all of them at the end."""
    try:
        yield
    finally:
        for one in opened:
            one.close()

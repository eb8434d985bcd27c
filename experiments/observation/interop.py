"""Scapy as a second judge of ESP: it opens what the clients sealed, and seals what they must open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.observation.udp_payloads import esp_packets, udp_payloads, without_hop_tag
from nodes.sections import DEFAULT_DATA_PORT
from protocol.security_association import SecurityAssociation
from protocol.types import Secret
from protocol.wire.messages import GroupSecurityAssociation

_OPENED = 60
_VPN_HEADER_LENGTH = 16
_FOREIGN_SENDER = 0xFFFF
_OWN_SENDER = 0xFFFE


@dataclass(frozen=True)
class Sealed:
    """How many packets of scapy's making a client's SA opened to the very frame."""

    made: int
    opened: int

    @property
    def all_open(self) -> bool:
        """Tells whether there were some and all of them opened."""
        return 0 < self.made == self.opened

    def describe(self) -> str:
        """Says it in a few words."""
        return f"{self.made} sealed frames opened here: {self.opened}"


def scapy_opens(
    capture: Path, keys: Mapping[int, Sequence[Mapping[str, Any]]], wanted: Set[bytes]
) -> int:
    """Opens packets of a capture with scapy alone; returns how many held a wanted frame.

    It stops at ``_OPENED``: scapy takes a while.
    """
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import ESP, IPSecIntegrityError

    associations = {key["spi"]: _scapy(key) for some in keys.values() for key in some}
    found = 0
    for inner in _inner_packets(capture):
        if _version(inner) not in (4, 6):
            continue
        packet = IPv6(inner) if _version(inner) == 6 else IP(inner)
        if ESP not in packet or packet[ESP].spi not in associations:
            continue
        try:
            opened = associations[packet[ESP].spi].decrypt(packet)
        except IPSecIntegrityError:
            continue
        found += bytes(opened.payload)[2:] in wanted
        if found == _OPENED:
            break
    return found


def _inner_packets(capture: Path) -> Iterator[bytes]:
    """Yields what datagrams carry, and what was sent without one."""
    for payload, _, _ in udp_payloads(capture, DEFAULT_DATA_PORT):
        stripped = _version(payload) in (4, 6)
        yield payload if stripped else without_hop_tag(payload)[_VPN_HEADER_LENGTH:]
    yield from esp_packets(capture)


def _version(packet: bytes) -> int:
    """Returns the IP version that a packet claims, 0 for none."""
    return packet[0] >> 4 if packet else 0


def scapy_seals(keys: Mapping[int, Sequence[Mapping[str, Any]]], frames: Iterable[bytes]) -> Sealed:
    """Seals frames with scapy under each group's SA and opens them with an SA of ours."""
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Raw

    made = opened = 0
    some = list(frames)
    for key in (key for found in keys.values() for key in found):
        theirs, ours = _scapy(key), _ours(key)
        for counter, frame in enumerate(some, start=1):
            iv = _FOREIGN_SENDER.to_bytes(2, "big") + counter.to_bytes(6, "big")
            clear = IPv6(src="3ffe::2", dst="ff1e::1", nh=97) / Raw(b"\x30\x00" + frame)
            sealed = theirs.encrypt(clear, seq_num=counter, iv=iv)
            made += 1
            opened += ours.open(bytes(sealed.payload)) == frame
    return Sealed(made, opened)


def _scapy(key: Mapping[str, Any]) -> Any:
    from scapy.layers.ipsec import ESP
    from scapy.layers.ipsec import SecurityAssociation as ScapyAssociation

    return ScapyAssociation(  # type: ignore[no-untyped-call]
        ESP,
        spi=key["spi"],
        crypt_algo="AES-GCM",
        crypt_key=bytes.fromhex(key["key"] + key["salt"]),
    )


def _ours(key: Mapping[str, Any]) -> SecurityAssociation:
    return SecurityAssociation(
        GroupSecurityAssociation(
            key["spi"],
            key["algorithm"],
            Secret(bytes.fromhex(key["key"])),
            Secret(bytes.fromhex(key["salt"])),
            _OWN_SENDER,
        )
    )

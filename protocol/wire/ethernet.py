"""Ethernet II frames as they stand on a LAN, without the frame check sequence (IEEE 802.3)."""

from __future__ import annotations

from typing import NamedTuple

from protocol.errors import WireError

HEADER_LENGTH = 14
MAC_LENGTH = 6
BROADCAST = b"\xff" * MAC_LENGTH
ZERO = bytes(MAC_LENGTH)

DESTINATION = slice(0, 6)
SOURCE = slice(6, 12)

_BRIDGE_LOCAL = bytes.fromhex("0180c20000")


class EthernetHeader(NamedTuple):
    """The first 14 octets of a frame."""

    destination: bytes
    source: bytes
    ether_type: int

    @classmethod
    def parse(cls, frame: bytes) -> EthernetHeader:
        """Reads the header of ``frame``; raises WireError when it is shorter than a header."""
        if len(frame) < HEADER_LENGTH:
            raise WireError(f"Ethernet frame of {len(frame)} octets, expected at least 14")
        return cls(frame[DESTINATION], frame[SOURCE], int.from_bytes(frame[12:14], "big"))

    def pack(self) -> bytes:
        """Returns the 14 octets of the header."""
        return self.destination + self.source + self.ether_type.to_bytes(2, "big")


def is_group(mac: bytes) -> bool:
    """Tells whether ``mac`` is a group address: the lowest bit of the first octet is set."""
    return bool(mac[0] & 1)


def is_station(mac: bytes) -> bool:
    """Tells whether ``mac`` can name one station, and so may be learnt and looked up."""
    return not mac[0] & 1 and mac != ZERO


def is_bridge_local(mac: bytes) -> bool:
    """Tells whether ``mac`` is 01-80-C2-00-00-0X, which no bridge forwards (IEEE 802.1D 7.12.6)."""
    return mac[:5] == _BRIDGE_LOCAL and mac[5] < 0x10


def format_mac(mac: bytes) -> str:
    """Writes ``mac`` as six hexadecimal pairs with colons."""
    return mac.hex(":")


def parse_mac(text: str) -> bytes:
    """Reads six hexadecimal pairs with colons; raises WireError for anything else."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != MAC_LENGTH or len(text) != 17:
        raise WireError(f"MAC address {text!r}, expected six hexadecimal pairs with colons")
    return mac

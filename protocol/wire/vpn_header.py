"""The VPN header: what a relay reads of a frame it cannot open.

Patent: Fig. 8-1 step 807; Fig. 9 parts 901-904; Fig. 10 part 1001.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from protocol.errors import WireError

MAC_BLOCK_FOLLOWS = 1
IP_HEADER_FOLLOWS = 2
"""The two values of next data (902)."""

LENGTH = 16
SHORT_LENGTH = 4
"""Octets of the header with and without the MAC address block."""

HOP_TAG_FOLLOWS = 0x01
"""The flag that says: between this header and the inner IP header stands a hop tag."""
HOP_TAG_LENGTH = 8

_WITH_MACS = struct.Struct("!BBH6s6s")
_WITHOUT_MACS = struct.Struct("!BBH")


class VpnHeader(NamedTuple):
    """Next data 902 (told by ``macs``), flags, and source and destination MAC (903, 904)."""

    macs: tuple[bytes, bytes] | None
    """(source, destination), or None where the IP header follows at once."""
    flags: int = 0

    @property
    def length(self) -> int:
        """Octets of the header on the wire: 16 or 4."""
        return SHORT_LENGTH if self.macs is None else LENGTH

    @classmethod
    def parse(cls, octets: bytes) -> VpnHeader:
        """Reads the header at the start of a datagram's payload; raises WireError where there is none."""
        next_data = octets[0] if octets else 0
        if next_data == MAC_BLOCK_FOLLOWS and len(octets) >= LENGTH:
            _, flags, reserved, source, destination = _WITH_MACS.unpack_from(octets)
            header = cls((source, destination), flags)
        elif next_data == IP_HEADER_FOLLOWS and len(octets) >= SHORT_LENGTH:
            _, flags, reserved = _WITHOUT_MACS.unpack_from(octets)
            header = cls(None, flags)
        else:
            raise WireError(f"VPN header with next data {next_data}, expected 1 or 2 and all of it")
        if reserved:
            raise WireError(f"VPN header with reserved octets {reserved:#06x}, expected zero")
        return header

    def pack(self) -> bytes:
        """Returns the 16 octets with MACs, or the 4 without."""
        if self.macs is None:
            return _WITHOUT_MACS.pack(IP_HEADER_FOLLOWS, self.flags, 0)
        return _WITH_MACS.pack(MAC_BLOCK_FOLLOWS, self.flags, 0, *self.macs)

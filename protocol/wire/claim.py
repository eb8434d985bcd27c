"""A claim: a frame by which a client tells the other clients on its LAN that it forwards for this LAN.

It goes to a group address of our own, which every bridge floods, with the EtherType for experiments (IEEE
802: 88B6). In it is an ESP packet under the group's SA, next header 254 (RFC 3692: for experiments), so that
nobody without the group's key makes a client stand by. It never leaves the LAN.

Patent: Fig. 2 parts 105-107.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from protocol.errors import WireError
from protocol.types import ClientId
from protocol.wire.ethernet import HEADER_LENGTH, EthernetHeader

NEXT_HEADER = 254
ETHER_TYPE = 0x88B6
DESTINATION = bytes.fromhex("036272000001")
"""A group address, locally administered."""
STATIONS = bytes.fromhex("0262")
"""How the source of a claim begins: the client's own station, locally administered."""
SUBTYPE = 1

_ETHER_TYPE = ETHER_TYPE.to_bytes(2, "big")
_PREFIX = struct.Struct("!BB")
_CLAIM = struct.Struct("!IBxxx")
LENGTH = _CLAIM.size


class Standing(IntEnum):
    """How fit a client is to forward: the least is the fittest."""

    REGISTERED = 0
    APART = 1
    """It has no control channel: nobody tells it of a new SA or relay."""
    YIELDS = 2
    """It leaves, was refused, or can seal nothing more."""


class Claim(NamedTuple):
    """Who claims. Of two claims the lesser one holds: the fitter client, then the one with the lower ID."""

    standing: Standing
    client_id: ClientId

    @classmethod
    def parse(cls, payload: bytes) -> Claim:
        """Reads what an ESP packet carried; raises WireError unless it is a claim and nothing else."""
        if len(payload) != LENGTH:
            raise WireError(f"claim of {len(payload)} octets, expected {LENGTH}")
        client_id, standing = _CLAIM.unpack(payload)
        if standing > max(Standing):
            raise WireError(f"claim with standing {standing}, expected 0 to {max(Standing)}")
        return cls(Standing(standing), ClientId(client_id))

    def pack(self) -> bytes:
        """Returns the 8 octets: client ID 4, standing 1, zero 3."""
        return _CLAIM.pack(self.client_id, self.standing)


def is_claim(frame: bytes) -> bool:
    """Tells whether a frame is a claim, by what every bridge sees of it."""
    return frame.startswith(DESTINATION) and frame[12:14] == _ETHER_TYPE


def frame_of(packet: bytes, client_id: ClientId) -> bytes:
    """Returns the frame that carries a claim's ESP packet: Ethernet header, subtype 1, length 1, packet."""
    source = STATIONS + client_id.to_bytes(4, "big")
    header = EthernetHeader(DESTINATION, source, ETHER_TYPE).pack()
    return header + _PREFIX.pack(SUBTYPE, len(packet)) + packet


def packet_of(frame: bytes) -> bytes:
    """Returns the ESP packet in a claim; what a bridge has filled the frame up with is left out.

    Raises WireError when the subtype is another or the frame is too short.
    """
    begin = HEADER_LENGTH + _PREFIX.size
    if len(frame) < begin:
        raise WireError(f"claim in a frame of {len(frame)} octets, expected more than {begin}")
    subtype, length = _PREFIX.unpack_from(frame, HEADER_LENGTH)
    packet = frame[begin : begin + length]
    if subtype != SUBTYPE or len(packet) != length:
        raise WireError(f"claim of subtype {subtype} with {len(packet)} octets, expected {length}")
    return packet

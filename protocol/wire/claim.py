"""What clients on one LAN tell each other and its bridges: who forwards, and where stations are.

All of it goes to a group address of our own, which every bridge floods, with the EtherType for experiments
(IEEE 802: 88B6). A claim says that a client forwards for this LAN; a list names stations on either side of
it. Both are ESP packets under the group's SA, next header 254 (RFC 3692: for experiments), so that nobody
without the group's key makes a client stand by, and neither leaves the LAN. An announcement has nothing but
its source: bridges learn by it where a station is reached now. Into the VPN it is sealed like any frame.

Patent: Fig. 2 parts 105-107.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from protocol.errors import WireError
from protocol.types import ClientId
from protocol.wire.ethernet import HEADER_LENGTH, MAC_LENGTH, EthernetHeader, is_station

NEXT_HEADER = 254
ETHER_TYPE = 0x88B6
DESTINATION = bytes.fromhex("036272000001")
"""A group address, locally administered."""
STATIONS = bytes.fromhex("0262")
"""How the source of a claim begins: the client's own station, locally administered."""
CLAIM, LIST, ANNOUNCEMENT = 1, 2, 3
"""Subtypes, behind the Ethernet header."""
FORWARDS, STRAYED = 0x01, 0x02
MOST_STATIONS = 200
"""In one list: its frame then fits into 1300 octets."""

_ETHER_TYPE = ETHER_TYPE.to_bytes(2, "big")
_PREFIXES = {CLAIM: struct.Struct("!BB"), LIST: struct.Struct("!BH")}
"""Subtype and octets of the ESP packet."""
_CLAIM = struct.Struct("!IBBxx")
_LIST = struct.Struct("!IBBxx")
LENGTH = _CLAIM.size
_IS_LIST = 16
"""Where a claim has its standing."""


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
    forwards: bool = False
    """Whether it carries frames already: one that begins listens first."""
    strayed: bool = False
    """Whether it has with SAs that others here did not have: neither knows which stations are here."""

    @classmethod
    def parse(cls, payload: bytes) -> Claim:
        """Reads what an ESP packet carried; raises WireError unless it is a claim and nothing else."""
        if len(payload) != LENGTH:
            raise WireError(f"claim of {len(payload)} octets, expected {LENGTH}")
        client_id, standing, flags = _CLAIM.unpack(payload)
        if standing > max(Standing):
            raise WireError(f"claim with standing {standing}, expected 0 to {max(Standing)}")
        known = bool(flags & FORWARDS), bool(flags & STRAYED)
        return cls(Standing(standing), ClientId(client_id), *known)

    def pack(self) -> bytes:
        """Returns the 8 octets: client ID 4, standing 1, flags 1, zero 2."""
        flags = FORWARDS * self.forwards | STRAYED * self.strayed
        return _CLAIM.pack(self.client_id, self.standing, flags)

    def is_better_than(self, other: Claim) -> bool:
        """Tells which of two clients is to forward."""
        return self[:2] < other[:2]


class StationList(NamedTuple):
    """Stations that a client knows on its LAN, and outside; MOST_STATIONS together at the most."""

    client_id: ClientId
    on_lan: tuple[bytes, ...]
    outside: tuple[bytes, ...]

    @classmethod
    def parse(cls, payload: bytes) -> StationList:
        """Reads what an ESP packet carried; raises WireError unless it is a list and nothing else."""
        count, rest = divmod(len(payload) - _LIST.size, MAC_LENGTH)
        if not 1 <= count <= MOST_STATIONS or rest:
            raise WireError(f"list of {len(payload)} octets, expected 8 and 6 for each station")
        client_id, kind, on_lan = _LIST.unpack_from(payload)
        if kind != _IS_LIST or on_lan > count:
            raise WireError(f"list of kind {kind} with {on_lan} stations of {count} on the LAN")
        macs = tuple(
            payload[at : at + MAC_LENGTH] for at in range(_LIST.size, len(payload), MAC_LENGTH)
        )
        if not all(map(is_station, macs)):
            raise WireError("list with an address that is no station's")
        return cls(ClientId(client_id), macs[:on_lan], macs[on_lan:])

    def pack(self) -> bytes:
        """Returns client ID 4, 16, stations on the LAN 1, zero 2; then these, then those outside, 6 each."""
        head = _LIST.pack(self.client_id, _IS_LIST, len(self.on_lan))
        return b"".join((head, *self.on_lan, *self.outside))


def parse(payload: bytes) -> Claim | StationList:
    """Reads a claim or a list; raises WireError when it is neither."""
    return Claim.parse(payload) if len(payload) == LENGTH else StationList.parse(payload)


def is_claim(frame: bytes) -> bool:
    """Tells whether a frame is a claim or what goes with one, by what every bridge sees of it."""
    return frame.startswith(DESTINATION) and frame[12:14] == _ETHER_TYPE


def is_announcement(frame: bytes) -> bool:
    """Tells whether a frame is an announcement of the station that is its source."""
    return is_claim(frame) and frame[HEADER_LENGTH : HEADER_LENGTH + 1] == bytes((ANNOUNCEMENT,))


def announcement(station: bytes) -> bytes:
    """Returns the frame that has bridges, relays and clients learn where a station is reached."""
    header = EthernetHeader(DESTINATION, station, ETHER_TYPE).pack()
    return header + bytes((ANNOUNCEMENT,))


def frame_of(packet: bytes, client_id: ClientId, subtype: int = CLAIM) -> bytes:
    """Returns the frame that carries an ESP packet: Ethernet header, subtype, length, packet."""
    source = STATIONS + client_id.to_bytes(4, "big")
    header = EthernetHeader(DESTINATION, source, ETHER_TYPE).pack()
    return header + _PREFIXES[subtype].pack(subtype, len(packet)) + packet


def packet_of(frame: bytes) -> bytes:
    """Returns the ESP packet in a claim or list; what a bridge has filled the frame up with is left out.

    Raises WireError when the subtype is another or the frame is too short.
    """
    subtype = frame[HEADER_LENGTH] if len(frame) > HEADER_LENGTH else 0
    prefix = _PREFIXES.get(subtype)
    if prefix is None:
        raise WireError(f"claim of subtype {subtype}, expected {CLAIM} or {LIST}")
    begin = HEADER_LENGTH + prefix.size
    if len(frame) < begin:
        raise WireError(f"claim in a frame of {len(frame)} octets, expected more than {begin}")
    _, length = prefix.unpack_from(frame, HEADER_LENGTH)
    packet = frame[begin : begin + length]
    if len(packet) != length:
        raise WireError(f"claim with {len(packet)} octets, expected {length}")
    return packet


def lists(
    client_id: ClientId, on_lan: Sequence[bytes], outside: Sequence[bytes]
) -> list[StationList]:
    """Returns lists with all these stations."""
    found = []
    macs = [*on_lan, *outside]
    for at in range(0, len(macs), MOST_STATIONS):
        here = max(0, min(len(on_lan) - at, MOST_STATIONS))
        part = tuple(macs[at : at + MOST_STATIONS])
        found.append(StationList(client_id, part[:here], part[here:]))
    return found

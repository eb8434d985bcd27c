"""The names of everything that can go wrong.

A peer's mistake is a :class:`DropReason`, counted and never raised to the loop.
Our own mistake is an exception.
"""

from __future__ import annotations

from enum import Enum


class DropReason(str, Enum):
    """Why a frame, packet or datagram went no further; the value is the counter's name."""

    # what arrives is not what it should be
    MALFORMED_FRAME = "malformed_frame"
    MALFORMED_DATAGRAM = "malformed_datagram"
    UNSUPPORTED_FLAGS = "unsupported_flags"
    # the sender or the group is not known here
    UNREGISTERED_SENDER = "unregistered_sender"
    FORGED_HOP_TAG = "forged_hop_tag"
    UNEXPECTED_SOURCE = "unexpected_source"
    OTHER_DELIVERY = "other_delivery"
    UNKNOWN_GROUP = "unknown_group"
    FOREIGN_GROUP = "foreign_group"
    UNKNOWN_SPI = "unknown_spi"
    UNKNOWN_TOKEN = "unknown_token"
    UNEXPECTED_PROBE = "unexpected_probe"
    # a binding says nothing that holds
    UNKNOWN_CLIENT = "unknown_client"
    FORGED_BINDING = "forged_binding"
    REPLAYED_BINDING = "replayed_binding"
    ADDRESS_IN_USE = "address_in_use"
    UNEXPECTED_BINDING = "unexpected_binding"
    # the packet does not open
    REPLAYED = "replayed"
    OWN_PACKET = "own_packet"
    FORGED_ICV = "forged_icv"
    MALFORMED_PLAINTEXT = "malformed_plaintext"
    HEADER_MISMATCH = "header_mismatch"
    # there is nowhere to send it
    NO_OTHER_MEMBER = "no_other_member"
    HAIRPIN = "hairpin"
    SPLIT_HORIZON = "split_horizon"
    OTHER_SUB_ID = "other_sub_id"
    LOCAL_DESTINATION = "local_destination"
    BRIDGE_LOCAL_DESTINATION = "bridge_local_destination"
    # another client forwards for the LAN
    STAND_BY = "stand_by"
    CLAIM_REFUSED = "claim_refused"
    # it says where a station is, and nothing else
    STATION_ANNOUNCED = "station_announced"
    # it waits for the other pieces of its frame
    PIECE_KEPT = "piece_kept"
    # a client cannot or must not send it
    NOT_REGISTERED = "not_registered"
    FRAME_TOO_LARGE = "frame_too_large"
    GROUP_SOURCE = "group_source"
    STATION_SEEN_OUTSIDE = "station_seen_outside"
    STATION_SEEN_HERE = "station_seen_here"
    COUNTER_EXHAUSTED = "counter_exhausted"


class WireError(ValueError):
    """Octets that do not parse as the header they should be."""


class OpenError(Exception):
    """An ESP packet that must not be accepted, with the reason for the counter."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class SealError(Exception):
    """A frame that cannot be sealed, with the reason for the counter."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason

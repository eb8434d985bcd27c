"""What the generator is told and what it answers: JSON, one value a line."""

from __future__ import annotations

import msgspec

from experiments.instrument.window import Cast

MOST_FRAMES = 200_000
MOST_SECONDS = 30.0
LARGEST_BATCH_OCTETS = 65_000
MOST_SEGMENTS = 64
FLOOR_CLASS = 4
"""The traffic class (RFC 8622: least effort) of what is to be dropped on arrival; all else has 0."""


class Prepare(msgspec.Struct, frozen=True, tag="prepare", forbid_unknown_fields=True):
    """Seal ``frames`` fresh frames of the group's first member for its server.

    With ``port`` they go to that port instead, which no server reads: one frame serves for all.
    With ``address`` they go to that host, which lies behind the server's node.
    """

    server: str
    members: int
    frame_size: int
    cast: Cast
    frames: int
    port: int | None = None
    address: str | None = None


class Send(msgspec.Struct, frozen=True, tag="send", forbid_unknown_fields=True):
    """Send what is prepared, ``rate`` a second, ``burst`` with each call; ``dry``: all but the call.

    With ``pairs`` the calls' CPU time is taken, and so many calls are made with what is prepared, over and
    over; just before or after each, as chance has it, the same is sent under FLOOR_CLASS and told apart.
    """

    rate: float
    burst: int = 1
    dry: bool = False
    pairs: int = 0


class Finish(msgspec.Struct, frozen=True, tag="finish", forbid_unknown_fields=True):
    """Leave the groups and end."""


Command = Prepare | Send | Finish


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """All members are registered, or all frames sealed, each a datagram of ``payload`` octets."""

    frames: int = 0
    payload: int = 0


class Sent(msgspec.Struct, frozen=True, tag="sent"):
    """What was sent from ``begin_ns`` (monotonic) for ``seconds``.

    ``latest_ns`` is the most that a call came late. ``saturated``: the generator could not keep the
    schedule to its end. ``cpu_ns`` is the CPU time within the calls, by their median, with what the
    kernel did for them before they returned; 0 unless that was asked for. ``floor_ns`` is the same of
    the calls under FLOOR_CLASS, whose frames are in no other figure.
    """

    frames: int
    refused: int
    begin_ns: int
    seconds: float
    latest_ns: int
    saturated: bool
    cpu_ns: int = 0
    floor_ns: int = 0


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Why not."""

    reason: str


Answer = Ready | Sent | Failed

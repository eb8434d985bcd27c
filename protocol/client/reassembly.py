"""Frames put together again from pieces that were opened, each of them authenticated.

Only who holds the group's key can send pieces; what one sender may keep waiting is bounded all the same.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from protocol.errors import DropReason
from protocol.types import SECOND
from protocol.wire.piece import Piece

FRAMES_OF_SENDER = 16
FRAMES, OCTETS = 1024, 4 * 1024 * 1024
"""Unfinished frames of one sender, of all, and their octets: beyond that the oldest are given up."""
LIFETIME = 2 * SECOND
"""How long a frame waits for its last piece: they were sent at once."""

Macs = tuple[bytes, bytes] | None


@dataclass
class _Unfinished:
    """Pieces of one frame by their offsets, and where the last one ends, once it is there."""

    since: int
    macs: Macs
    pieces: dict[int, Piece] = field(default_factory=dict)
    octets: int = 0
    end: int | None = None


class Reassembly:
    """The unfinished frames of all senders."""

    def __init__(self) -> None:
        self.incomplete = 0
        """Frames that were given up: a piece was late or missing, or did not fit."""
        self._frames: dict[tuple[Hashable, int], _Unfinished] = {}
        self._octets = 0

    def __len__(self) -> int:
        return len(self._frames)

    def take(self, sender: Hashable, piece: Piece, macs: Macs, now: int) -> bytes | DropReason:
        """Takes a piece, and the MACs that stood before it; returns the frame that it completes.

        PIECE_KEPT when others are missing. What does not fit gives the frame up (RFC 5722 on
        overlapping fragments): other MACs are HEADER_MISMATCH, anything else MALFORMED_PLAINTEXT.
        """
        self.expire(now)
        key = (sender, piece.number)
        frame = self._frames.get(key)
        if frame is None:
            self._make_room(sender)
            frame = self._frames[key] = _Unfinished(now, macs)
        if frame.macs != macs:
            self._give_up(key)
            return DropReason.HEADER_MISMATCH
        if not _fits(frame, piece):
            self._give_up(key)
            return DropReason.MALFORMED_PLAINTEXT
        frame.pieces[piece.offset] = piece
        frame.octets += len(piece.octets)
        self._octets += len(piece.octets)
        if not piece.more:
            frame.end = piece.end
        if frame.octets != frame.end:
            while self._octets > OCTETS:
                self._give_up(next(iter(self._frames)))
            return DropReason.PIECE_KEPT
        del self._frames[key]
        self._octets -= frame.octets
        return b"".join(frame.pieces[offset].octets for offset in sorted(frame.pieces))

    def expire(self, now: int) -> None:
        """Gives up what has waited too long; the oldest stand first."""
        while self._frames:
            key, frame = next(iter(self._frames.items()))
            if now - frame.since < LIFETIME:
                return
            self._give_up(key)

    def _make_room(self, sender: Hashable) -> None:
        own = [key for key in self._frames if key[0] == sender]
        if len(own) >= FRAMES_OF_SENDER:
            self._give_up(own[0])
        elif len(self._frames) >= FRAMES:
            self._give_up(next(iter(self._frames)))

    def _give_up(self, key: tuple[Hashable, int]) -> None:
        self._octets -= self._frames.pop(key).octets
        self.incomplete += 1


def _fits(frame: _Unfinished, piece: Piece) -> bool:
    """Tells whether a piece overlaps none that is there and does not reach beyond the last."""
    if frame.end is not None and (not piece.more or piece.end > frame.end):
        return False
    for other in frame.pieces.values():
        if other.offset < piece.end and piece.offset < other.end:
            return False
        if not piece.more and other.end > piece.end:
            return False
    return True

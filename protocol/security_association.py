"""A group's security association: ESP in transport mode, one key, many senders.

AES-GCM after RFC 4106: nonce = salt (4) and IV (8), associated data = SPI and sequence number. The IV
is sender ID and counter (RFC 6054). A sender ID is given out once under a key, a counter is used once
under a sender ID, so no nonce repeats. The sequence number has 32 bits: an SA ends before a counter
passes them. A hub's SAs may have AES-CBC with HMAC-SHA1 instead, in the same packet but for IV and ICV.

Patent: Fig. 3-2 part 312; Fig. 8-1 step 806; Fig. 8-2 step 814; claims 4, 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from protocol.cipher import SEALINGS
from protocol.errors import DropReason, OpenError, SealError, WireError
from protocol.replay import ReplayWindow
from protocol.types import KEY_LENGTHS, SALT_LENGTH
from protocol.wire import claim, esp, etherip, ethernet, piece
from protocol.wire.claim import Claim, StationList
from protocol.wire.messages import GroupSecurityAssociation
from protocol.wire.piece import Piece

LAST_COUNTER = 2**32 - 1
_LEAST_PLAINTEXT = etherip.HEADER_LENGTH + ethernet.HEADER_LENGTH + esp.TRAILER_LENGTH
"""Octets of a plaintext with a frame in it; a claim's are fewer."""


class SealedRun(NamedTuple):
    """ESP packets whose counters follow each other: SPI, counter, sender, counter, sealed."""

    spi: bytes
    sender: bytes
    """Sender ID and the counters' high 16 bits."""
    counters: tuple[bytes, ...]
    """The low halves: sequence number of each packet, and end of its IV."""
    sealed: list[bytes]
    """Ciphertext and ICV of each."""


@dataclass
class History:
    """What a client must remember of an SA for as long as it may be handed it again; no key is in it."""

    own: frozenset[int] = frozenset()
    """Sender IDs that it has sealed under."""
    windows: dict[int, ReplayWindow] = field(default_factory=dict)
    """What it has accepted, by sender ID."""

    def is_fresh(self, sender_id: int) -> bool:
        """Tells whether this client has never sealed under ``sender_id`` with the SA's key."""
        return sender_id not in self.own


class SecurityAssociation:
    """Seals own frames and opens those of the group's other senders."""

    def __init__(
        self,
        parameters: GroupSecurityAssociation,
        first_counter: int = 1,
        last_counter: int = LAST_COUNTER,
        predecessor: SecurityAssociation | History | None = None,
    ) -> None:
        """Takes what the server handed out; the counters are set only for SAs that outlive a process.

        ``predecessor`` is the same SA as it was held before, or what is remembered of it: what it has
        accepted stays accepted, and what it has sent stays its own.
        """
        if len(parameters.key) != KEY_LENGTHS[parameters.algorithm]:
            raise ValueError(f"key of {len(parameters.key)} octets for {parameters.algorithm}")
        if len(parameters.salt) != SALT_LENGTH:
            raise ValueError(f"salt of {len(parameters.salt)} octets, expected {SALT_LENGTH}")
        if not 1 <= first_counter <= last_counter + 1 <= LAST_COUNTER + 1:
            raise ValueError(f"counters {first_counter} to {last_counter}")
        self.parameters = parameters
        self.spi = parameters.spi
        self.algorithm = parameters.algorithm
        self.sender_id = parameters.sender_id
        self.next_counter = first_counter
        self.last_counter = last_counter
        self._sealing = SEALINGS[parameters.algorithm](parameters.key)
        self._alignment = esp.LAYOUTS[parameters.algorithm].alignment
        self._least_sealed = esp.LAYOUTS[parameters.algorithm].around + _LEAST_PLAINTEXT
        self._salt = parameters.salt.reveal()
        earlier = predecessor if isinstance(predecessor, History) else _history(predecessor)
        self.history = History(earlier.own | {parameters.sender_id}, earlier.windows)
        self._windows, self._own = self.history.windows, self.history.own

    @property
    def is_worn(self) -> bool:
        """Tells whether its own sender has sealed as many packets as it should."""
        return self.next_counter > self.parameters.packets

    @property
    def is_exhausted(self) -> bool:
        """Tells whether it can seal nothing more."""
        return self.next_counter > self.last_counter

    @property
    def senders(self) -> int:
        """How many other senders' packets were accepted."""
        return len(self._windows)

    def is_fresh(self, sender_id: int) -> bool:
        """Tells whether this client has never sealed under ``sender_id`` with this key."""
        return self.history.is_fresh(sender_id)

    def seal(self, frame: bytes) -> bytes:
        """Returns the ESP packet that carries ``frame``; raises SealError when the counter is used up."""
        return self._seal(etherip.HEADER + frame, etherip.NEXT_HEADER)

    def seal_run(self, frames: Sequence[bytes]) -> SealedRun:
        """Seals frames of one length, as many of the first as there are counters left for.

        Raises SealError when there is none. A counter is used up before anything is sealed with it.
        """
        first = self.next_counter
        count = min(len(frames), self.last_counter + 1 - first)
        if count < 1:
            raise SealError(DropReason.COUNTER_EXHAUSTED)
        self.next_counter = first + count
        header = esp.pack_header(self.spi, 0, self.sender_id, first >> 32, 0)
        spi, sender = header[:4], header[8:12]
        counters = esp.low_counters(first & 0xFFFFFFFF, count)
        length = etherip.HEADER_LENGTH + len(frames[0])
        trailer = esp.trailer(length, etherip.NEXT_HEADER, self._alignment)
        salt = self._salt + sender
        sealed = self._sealing.seal_all(
            [salt + counter for counter in counters],
            [b"".join((etherip.HEADER, frame, trailer)) for frame in frames[:count]],
            [spi + counter for counter in counters],
        )
        return SealedRun(spi, sender, counters, sealed)

    def seal_piece(self, part: Piece) -> bytes:
        """Returns the ESP packet that carries a piece of a frame; raises SealError like :meth:`seal`."""
        return self._seal(part.pack(), piece.NEXT_HEADER)

    def seal_claim(self, said: Claim | StationList) -> bytes:
        """Returns the ESP packet that carries a claim or list; raises SealError like :meth:`seal`."""
        return self._seal(said.pack(), claim.NEXT_HEADER)

    def _seal(self, payload: bytes, next_header: int) -> bytes:
        counter = self.next_counter
        if counter > self.last_counter:
            raise SealError(DropReason.COUNTER_EXHAUSTED)
        self.next_counter = counter + 1
        low = counter & 0xFFFFFFFF
        header = esp.pack_header(self.spi, low, self.sender_id, counter >> 32, low)
        plaintext = payload + esp.trailer(len(payload), next_header, self._alignment)
        return header + self._sealing.seal(self._salt + header[8:], plaintext, header[:8])

    def open(self, packet: bytes) -> bytes:
        """Returns the frame in an ESP packet of this SPI; raises OpenError with the reason.

        The window is checked first and changed last: a packet that fails leaves no trace.
        """
        return _frame(self.open_packet(packet))

    def open_packet(self, packet: bytes) -> bytes:
        """Returns the plaintext of a packet, for `contents_of`; raises OpenError like :meth:`open`."""
        return self._open(packet, claims=False)

    def open_claim(self, packet: bytes) -> Claim | StationList:
        """Returns the claim or list in a packet; raises OpenError like :meth:`open`."""
        try:
            return claim.parse(esp.unpad(self._open(packet, claims=True))[0])
        except WireError:
            raise OpenError(DropReason.MALFORMED_PLAINTEXT) from None

    def _open(self, packet: bytes, claims: bool) -> bytes:
        """Opens a packet that carries a claim or list, or anything else.

        One that belongs to the other way leaves the window as it is: or who sends a datagram's packet on a
        LAN could have it refused where it belongs.
        """
        if len(packet) < esp.MINIMUM_LENGTH:
            raise OpenError(DropReason.MALFORMED_DATAGRAM)
        _, sequence_number, sender_id, high, low = esp.unpack_header(packet)
        if sequence_number != low:
            raise OpenError(DropReason.MALFORMED_DATAGRAM)
        if sender_id in self._own:
            raise OpenError(DropReason.OWN_PACKET)
        counter = high << 32 | low
        window = self._windows.get(sender_id) or ReplayWindow()
        if not window.check(counter):
            raise OpenError(DropReason.REPLAYED)
        plaintext = self._sealing.open(self._salt + packet[8:16], packet[16:], packet[:8])
        if plaintext is None:
            raise OpenError(DropReason.FORGED_ICV)
        if (plaintext[-1] == claim.NEXT_HEADER) is not claims:
            raise OpenError(DropReason.MALFORMED_PLAINTEXT)
        window.mark(counter)
        self._windows[sender_id] = window
        return plaintext

    def open_run(
        self, header: esp.EspHeader, counters: Sequence[bytes], sealed: Sequence[bytes]
    ) -> list[bytes | None] | None:
        """Opens what stands behind headers that count on from ``header``, the first.

        ``counters`` are the low halves of their counters. Returns plaintexts, None for each whose ICV does
        not hold; or None for all when they are no run of new ones, or too short for frames, and so to be
        opened one by one. As there, the window is changed last.
        """
        window = self._windows.get(header.sender_id) or ReplayWindow()
        if header.sender_id in self._own or not window.is_ahead(header.counter):
            return None
        if len(sealed[0]) < self._least_sealed:
            return None
        packed, count = header.pack(), len(sealed)
        spi, salt = packed[:4], self._salt + packed[8:12]
        opened = self._sealing.open_all(
            [salt + counter for counter in counters],
            sealed,
            [spi + counter for counter in counters],
        )
        if all(opened):
            window.mark_run(header.counter, count)
        else:
            for number, plaintext in enumerate(opened):
                if plaintext is not None:
                    window.mark(header.counter + number)
        if any(opened):
            self._windows[header.sender_id] = window
        return opened


def _history(predecessor: SecurityAssociation | None) -> History:
    return History() if predecessor is None else predecessor.history


def is_frame(plaintext: bytes) -> bool:
    """Tells whether an opened packet says that a whole frame is in it."""
    return plaintext[-1] == etherip.NEXT_HEADER


def contents_of(plaintext: bytes) -> bytes | Piece:
    """Returns the frame, or piece of one, in an opened packet; raises OpenError when there is none."""
    return _piece(plaintext) if plaintext[-1] == piece.NEXT_HEADER else _frame(plaintext)


def _frame(plaintext: bytes) -> bytes:
    """Takes the frame out of an opened packet: EtherIP behind ESP's trailer."""
    try:
        end, next_header = esp.payload_end(plaintext)
        if next_header != etherip.NEXT_HEADER:
            raise WireError(f"ESP next header {next_header}, expected {etherip.NEXT_HEADER}")
        return etherip.parse(plaintext, end)
    except WireError:
        raise OpenError(DropReason.MALFORMED_PLAINTEXT) from None


def _piece(plaintext: bytes) -> Piece:
    """Takes a piece of a frame out of an opened packet."""
    try:
        return Piece.parse(esp.unpad(plaintext)[0])
    except WireError:
        raise OpenError(DropReason.MALFORMED_PLAINTEXT) from None

"""Loop protection: of a group's clients on one LAN one forwards, and the others stand by.

Two that forward on one LAN make a ring through the VPN, in which a broadcast goes round for ever. So who
forwards claims so on the LAN, at its beginning and then regularly; who hears a better claim stands by until
it hears none any more. Whoever forwards answers a worse claim at once: two forward for one round trip on the
LAN, or until a claim gets through. Claims are sealed under the group's SA, and a client whose SA is another
cannot open them; nor can it open frames, so there is no ring through it.

Patent: Fig. 2 parts 102-107; Fig. 8-1 step 802.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.client.actions import Action, SendClaim, StandBy
from protocol.client.tables import SaManagementTable
from protocol.errors import DropReason, OpenError, SealError, WireError
from protocol.types import SECOND
from protocol.wire import claim
from protocol.wire.claim import Claim, Standing

INTERVAL = 2 * SECOND
"""Between two claims; as between two of a bridge's own messages (IEEE 802.1D: hello time)."""
FIRST_PAUSE = SECOND // 8
"""Between the first two, doubled from one to the next: one that is lost at the beginning costs little."""
SILENCE = INTERVAL * 7 // 2
"""Who has been silent for so long forwards no more: three claims in a row may be lost."""
HANDOVER = SECOND // 4
"""From the claim of one that takes over to its first frame: what another sealed before is gone then."""


class LoopProtection:
    """Whether a client forwards for its LAN, and what it claims and hears there."""

    def __init__(
        self,
        associations: SaManagementTable,
        act: Callable[[Action], None],
        stand_by: Callable[[bool], None],
    ) -> None:
        """Takes table 308, where actions go, and who is told whether to stand by or (False) to forward."""
        self.own: Claim | None = None
        """What this client can claim; None: it is in no group, and neither forwards nor stands by."""
        self.forwarder: Claim | None = None
        """Who forwards for the LAN, if that is another client."""
        self.sent = 0
        self.heard = 0
        self._associations = associations
        self._act = act
        self._stand_by = stand_by
        self._until = 0
        self._due = 0
        self._pause = FIRST_PAUSE
        self._begins: int | None = None
        """When it forwards, of a client that takes over."""

    @property
    def standing_by(self) -> bool:
        """Whether the client neither seals nor delivers: another forwards, or it takes over only."""
        return self.forwarder is not None or self._begins is not None

    def become(self, own: Claim | None, now: int) -> None:
        """Takes what the client can claim from now on; a change is due to be told."""
        if own == self.own:
            return
        if self.own is None:
            self._pause = FIRST_PAUSE
        self.own = own
        self._due = now
        if own is None and self.standing_by:
            self.forwarder = self._begins = None
            self._stand_by(False)

    def receive_frame(self, frame: bytes, now: int) -> DropReason | None:
        """Takes a claim of the LAN; a reason when it is none of this group's, or was heard before."""
        heard = self._open(frame)
        if heard is None:
            return DropReason.CLAIM_REFUSED
        self.heard += 1
        if self.own is None:
            return None
        if heard < self.own:
            self._heard_better(heard, now)
        elif self.forwarder is None:
            self._due = now  # answered at once
        elif heard.standing is Standing.YIELDS and heard.client_id == self.forwarder.client_id:
            self._take_over(now)
        return None

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        if self.own is None:
            return None
        if self.forwarder is not None:
            return self._until
        return self._due if self._begins is None else min(self._due, self._begins)

    def handle_timeout(self, now: int) -> None:
        """Takes over from who is silent, and sends the claim that is due."""
        if self.own is None:
            return
        if self.forwarder is not None and now >= self._until:
            self._take_over(now)
        if self._begins is not None and now >= self._begins:
            self._begins = None
            self._stand_by(False)
            self._act(StandBy(None))
        if self.forwarder is None and now >= self._due:
            self._send(self.own)
            self._due = now + self._pause
            self._pause = min(2 * self._pause, INTERVAL)

    def _heard_better(self, heard: Claim, now: int) -> None:
        """Stands by for the best that was heard, and for that one's own later word."""
        known = self.forwarder
        if known is not None and heard > known and heard.client_id != known.client_id:
            return
        stood_by = self.standing_by
        self.forwarder, self._begins = heard, None
        self._until = now + SILENCE
        if not stood_by:
            self._stand_by(True)
        if known is None or known.client_id != heard.client_id:
            self._act(StandBy(heard.client_id))

    def _take_over(self, now: int) -> None:
        """Claims at once, so that others stand by, and forwards a little later."""
        self.forwarder, self._begins = None, now + HANDOVER
        self._due, self._pause = now, FIRST_PAUSE

    def _open(self, frame: bytes) -> Claim | None:
        """Returns the claim in a frame, or None."""
        try:
            packet = claim.packet_of(frame)
            association = self._associations.at(int.from_bytes(packet[:4], "big"))
            return None if association is None else association.open_claim(packet)
        except (OpenError, WireError):
            return None

    def _send(self, own: Claim) -> None:
        """Claims; who can seal nothing has nothing to claim."""
        association = self._associations.sealing
        if association is None:
            return
        try:
            packet = association.seal_claim(own)
        except SealError:
            return
        self.sent += 1
        self._act(SendClaim(claim.frame_of(packet, own.client_id)))

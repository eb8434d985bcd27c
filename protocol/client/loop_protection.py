"""Loop protection: of a group's clients on one LAN one forwards, and the others stand by.

Two that forward on one LAN make a ring through the VPN, in which a broadcast goes round for ever. So who
forwards claims so on the LAN, regularly; who hears a better claim stands by until it hears none any more.
Nobody forwards before it has claimed and listened, as a bridge's port does: for a moment at a start, and for
longer where another has just forwarded. A worse claim is answered at once. So two forward only after claims
were lost or two LANs joined, until the next claim gets through. A station that seems to be on both sides
brings that at once, and so does a frame that comes again. Claims are sealed under the group's SA, and a
client whose SA is another cannot open them; nor can it open frames, so there is no ring through it.

With its claims who forwards lists the stations that it knows. Who takes over announces them.

Patent: Fig. 2 parts 102-107; Fig. 8-1 step 802.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from protocol.client.actions import Action, SendClaim, StandBy
from protocol.client.announcing import MOST, Announcing, latest
from protocol.client.tables import SaManagementTable, Side
from protocol.client.transfer import Companion, Transfer, sender_of
from protocol.errors import DropReason, OpenError, SealError, WireError
from protocol.types import SECOND
from protocol.wire import claim
from protocol.wire.claim import MOST_STATIONS, Claim, Standing, StationList
from protocol.wire.ethernet import is_group

INTERVAL = 2 * SECOND
"""Between two claims; as between two of a bridge's own messages (IEEE 802.1D: hello time)."""
FIRST_PAUSE = SECOND // 40
"""Between the first two, doubled from one to the next: one that is lost at the beginning costs little."""
LISTENING = 4 * FIRST_PAUSE
"""From a client's first claim to its first frame: three claims have been sent by then."""
HANDOVER = SECOND // 4
"""The same for one that takes over: what another sealed before is gone then."""
SILENCE = INTERVAL * 7 // 2
"""Who has been silent for so long forwards no more: three claims in a row may be lost."""
OVERDUE = INTERVAL * 3 // 2
"""After so long without a claim what comes on the LAN is its own stations': nobody delivers anything."""
SUSPICION = SECOND // 8
"""Between two claims that a station brings by being on both sides, or a frame by coming again."""
RECENT, REMEMBERED = SECOND, 256
"""For how long, and how many, frames are remembered that were sent on."""
SAMPLE = 16
"""Of frames to one station one in so many is."""
FOREVER = 1 << 62


class Role(Enum):
    """What a client does on its LAN; who listens forwards next, if nobody else does."""

    FORWARDS = "forwards"
    STANDS_BY = "stands by"
    LISTENS = "listens"


class LoopProtection:
    """Whether a client forwards for its LAN, and what it claims and hears there."""

    def __init__(
        self,
        associations: SaManagementTable,
        transfer: Transfer,
        act: Callable[[Action], None],
        takes_over: Callable[[int], None],
        listening: int = LISTENING,
    ) -> None:
        """Takes table 308, what stands by, where actions go, who is told the time (ns) at which the client
        takes over, and for how long (ns) a start listens.
        """
        self.own: Claim | None = None
        """What this client can claim; None: it is in no group, and neither forwards nor stands by."""
        self.forwarder: Claim | None = None
        """Who forwards for the LAN, if that is another client."""
        self.sent = 0
        self.heard = 0
        """Claims and lists."""
        self.lapses = FOREVER
        """From when on a client that forwards may do so no more: it has not claimed for too long."""
        self.announcing = Announcing(transfer.stations)
        self._associations = associations
        self._transfer = transfer
        self._act = act
        self._takes_over = takes_over
        self._listening = listening
        self._told: Claim | None = None
        """Of whom the driver was told that it forwards, if that is another client."""
        self._until = 0
        self._due = 0
        self._suspects_from = 0
        self._sent_on: dict[int, int] = {}
        """When frames were sent on last, by hash, the latest last."""
        self._others = 0
        self._pause = FIRST_PAUSE
        self._listens_from = 0
        self._begins: int | None = None
        """When it forwards, of a client that only listens yet."""
        self._listed = 0
        """How many stations of table 311 were listed in this turn."""
        self._spis: frozenset[int] = frozenset()
        self._senders: frozenset[bytes] = frozenset()
        """Under which the forwarder seals, by SPI."""

    @property
    def standing_by(self) -> bool:
        """Whether the client neither seals nor delivers: another forwards, or it listens yet."""
        return self.forwarder is not None or self._begins is not None

    @property
    def role(self) -> Role:
        """What the client does on its LAN."""
        if self.forwarder is not None:
            return Role.STANDS_BY
        return Role.FORWARDS if self._begins is None else Role.LISTENS

    @property
    def undecided(self) -> bool:
        """Whether the client has just begun, and does not know yet who forwards."""
        return self._begins is not None and self._told is None

    # -- what the client can claim

    def become(self, own: Claim | None, now: int) -> None:
        """Takes what the client can claim from now on; a change is due to be told."""
        before, self.own = self.own, own
        if own is None:
            if before is not None:
                self._be_out(now)
            return
        spis = frozenset(one.spi for one, _ in self._associations.rows())
        if before is None:
            self._listen(now, self._listening)
        elif self._was_deaf(before, spis) and not self.standing_by:
            self._say_what_is_known(now, strayed=True)
            self._listen(now, self._listening)
        elif own != before:
            self._due = now
        self._spis = spis or self._spis

    def _was_deaf(self, before: Claim, spis: frozenset[int]) -> bool:
        """Tells whether a client that was apart has come back to SAs of which it had none."""
        return before.standing is Standing.APART and bool(spis) and self._spis.isdisjoint(spis)

    def _be_out(self, now: int) -> None:
        """Neither forwards nor stands by."""
        if self.standing_by:
            self._transfer.stand_by(False, now)
        self.forwarder = self._begins = self._told = None
        self.lapses = FOREVER
        self.announcing.end()
        self._transfer.forget_stations()

    def lapse(self, now: int) -> None:
        """Begins anew: the process has done nothing for so long that another has taken over."""
        self._transfer.forget_stations()
        self._listen(now, self._listening)

    def suspect(self, now: int) -> None:
        """Claims at once, but not all the time: a station or frame looks as in a ring."""
        if self.own is not None and not self.standing_by and now >= self._suspects_from:
            self._due, self._suspects_from = now, now + SUSPICION

    def comes_again(self, frame: bytes, now: int) -> bool:
        """Tells whether a frame of the LAN has just been sent on before.

        Those to many are looked at, and of the others some: what goes round comes often.
        """
        if not is_group(frame):
            self._others += 1
            if self._others % SAMPLE:
                return False
        known = hash(frame)
        again = now - self._sent_on.pop(known, -RECENT) < RECENT
        self._sent_on[known] = now
        if len(self._sent_on) > REMEMBERED:
            del self._sent_on[next(iter(self._sent_on))]
        return again

    def moved(self, now: int) -> None:
        """Announces stations: the client's relay is another, and the one before still has them."""
        if self.own is not None and not self.standing_by:
            self.announcing.begin(now)

    def _listen(self, now: int, time: int) -> None:
        """Claims at once, so that others stand by, and forwards after ``time`` if nobody else does."""
        self.lapses = FOREVER
        self._due, self._pause = now, FIRST_PAUSE
        if not time:
            return
        self.announcing.end()
        self.forwarder, self._listens_from, self._begins = None, now, now + time
        self._transfer.stand_by(True, now)

    # -- what it hears

    def receive_frame(self, frame: bytes, now: int) -> DropReason | None:
        """Takes what another client says on the LAN; a reason when it is not the group's, or says nothing."""
        if claim.is_announcement(frame):
            return DropReason.STATION_ANNOUNCED
        opened = self._open(frame)
        if opened is None:
            return DropReason.CLAIM_REFUSED
        self.heard += 1
        heard, sender = opened
        if self.own is None:
            return None
        if isinstance(heard, StationList):
            self._heard_stations(heard, now)
        elif heard.is_better_than(self.own):
            self._heard_better(heard, sender, now)
        elif self.forwarder is None:
            self._heard_worse(heard, now)
        elif heard.standing is Standing.YIELDS and heard.client_id == self.forwarder.client_id:
            self._transfer.gone(sender)
            self._take_over(now)
        return None

    def _heard_better(self, heard: Claim, sender: bytes, now: int) -> None:
        """Stands by for the best that was heard, and for that one's own later word."""
        known = self.forwarder
        if known is not None and known.client_id != heard.client_id:
            if known.is_better_than(heard):
                return
        elif not self.standing_by:
            self._say_what_is_known(now)
        if known is None:
            self._transfer.forget_stations()
        self.forwarder, self._begins = heard, None
        self.lapses = FOREVER
        self._until = now + SILENCE
        self.announcing.end()
        same = known is not None and known.client_id == heard.client_id
        self._senders = (self._senders if same else frozenset()) | {sender}
        self._transfer.stand_by(True, now, Companion(self._senders, now + OVERDUE))
        if self._told is None or self._told.client_id != heard.client_id:
            self._act(StandBy(heard.client_id))
        self._told = heard

    def _heard_worse(self, heard: Claim, now: int) -> None:
        """Answers at once; where the other has forwarded, its frames and stations are looked after."""
        self._due = now
        if not heard.forwards:
            return
        if heard.strayed:
            self._transfer.forget_stations()
        if self._begins is not None:
            self._begins = max(self._begins, self._listens_from + HANDOVER)
        else:
            self.announcing.begin(now + FIRST_PAUSE)  # it lists its stations behind its claim

    def _heard_stations(self, heard: StationList, now: int) -> None:
        """Takes stations from who forwards, or from who gives way: a forwarder's own sightings win."""
        if self.forwarder is not None and heard.client_id != self.forwarder.client_id:
            return
        self._transfer.take_stations(heard.on_lan, Side.LAN, now)
        self._transfer.take_stations(heard.outside, Side.OUTSIDE, now)

    def _open(self, frame: bytes) -> tuple[Claim | StationList, bytes] | None:
        """Returns what is in a frame and who has sealed it, or None."""
        try:
            packet = claim.packet_of(frame)
            association = self._associations.at(int.from_bytes(packet[:4], "big"))
            if association is None:
                return None
            return association.open_claim(packet), sender_of(packet)
        except (OpenError, WireError):
            return None

    # -- time

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        if self.own is None:
            return None
        if self.forwarder is not None:
            return self._until
        times = (self._due, self._begins, self.announcing.next_timeout())
        return min(time for time in times if time is not None)

    def handle_timeout(self, now: int) -> list[tuple[bytes, Side]]:
        """Takes over from who is silent, sends the claim that is due; returns stations to announce."""
        if self.own is None:
            return []
        if self.forwarder is not None and now >= self._until:
            self._take_over(now)
        if self._begins is not None and now >= self._begins:
            self._begin(now)
        if self.forwarder is None and now >= self._due:
            self._claim(self.own, now)
        return self.announcing.take(now)

    def _take_over(self, now: int) -> None:
        """Claims at once, and forwards a little later."""
        self._listen(now, HANDOVER)
        self._takes_over(now)

    def _begin(self, now: int) -> None:
        """Forwards from now on."""
        self._begins = None
        self._renew(now)
        self._transfer.stand_by(False, now)
        if len(self._transfer.stations):
            self.announcing.begin(now)
        if self._told is not None:
            self._act(StandBy(None))
        self._told = None

    def _renew(self, now: int) -> None:
        """Has the right to forward last until others take it for gone."""
        if self._listening:
            self.lapses = now + SILENCE

    def _claim(self, own: Claim, now: int) -> None:
        """Claims; who forwards lists some of its stations with it, others with the next."""
        forwards = self._begins is None
        self._due = now + self._pause
        self._pause = min(2 * self._pause, INTERVAL)
        if forwards:
            self._renew(now)
        self._send(own._replace(forwards=forwards))
        if own.standing is Standing.YIELDS:
            self._list(latest(self._transfer.stations, now, MOST))
        elif forwards:
            rows = [(mac, side) for mac, side, left in self._transfer.stations.rows(now) if left]
            some = rows[self._listed : self._listed + MOST_STATIONS]
            self._listed = self._listed + len(some) if self._listed + len(some) < len(rows) else 0
            self._list(some)

    def _say_what_is_known(self, now: int, strayed: bool = False) -> None:
        """Gives way to another with all that it needs to know."""
        assert self.own is not None
        self._send(self.own._replace(forwards=True, strayed=strayed))
        stations = latest(self._transfer.stations, now, MOST)
        self._list([one for one in stations if not strayed or one[1] is Side.OUTSIDE])

    def _list(self, stations: Sequence[tuple[bytes, Side]]) -> None:
        assert self.own is not None
        on_lan, outside = (
            [mac for mac, there in stations if there is side] for side in (Side.LAN, Side.OUTSIDE)
        )
        for one in claim.lists(self.own.client_id, on_lan, outside):
            self._send(one)

    def _send(self, said: Claim | StationList) -> None:
        """Says something on the LAN, under each SA: others may hold the older or the newer alone."""
        subtype = claim.CLAIM if isinstance(said, Claim) else claim.LIST
        for association, _ in self._associations.rows():
            try:
                packet = association.seal_claim(said)
            except SealError:
                continue
            self.sent += 1
            self._act(SendClaim(claim.frame_of(packet, said.client_id, subtype)))

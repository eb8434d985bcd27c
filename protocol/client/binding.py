"""Shows the relay where the client's datagrams come from, and keeps that way open.

A NAT on the way gives the client another address outside, and another again once it has been silent for
long. So the client says where it is as soon as it is registered, and every now and then (RFC 4787: what a
NAT knows lasts two minutes without a datagram, with many 30 s).

Patent: Fig. 10 part 1001; table 507.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol import binding_tag
from protocol.client.actions import Action, SendDatagram
from protocol.errors import WireError
from protocol.types import SECOND, Address, ClientId, Secret
from protocol.wire.binding import NO_TOKEN, Binding, Kind

INTERVAL = 20 * SECOND
"""From the first question of a round to that of the next."""
PAUSES = tuple(SECOND // 4 * 2**number for number in range(4))
"""How long an answer is waited for: as many questions more, if there is none."""
CHALLENGES = 4
"""Questions that a round may have besides, because the relay asks for a token."""


class Bindings:
    """What one client says to one relay, under the key of one registration there."""

    def __init__(
        self,
        client_id: ClientId,
        key: Secret,
        relay: Address,
        act: Callable[[Action], None],
        now: int,
    ) -> None:
        """Takes who says it to whom, and where actions go; the first leaves at once."""
        self.asked = 0
        """Questions sent: the counter of the last."""
        self.bound = 0
        """How often the relay has said that this is where the client is sent to."""
        self._answered = 0
        """The counter of the last question that was answered."""
        self._client_id = client_id
        self._key = key
        self._relay = relay
        self._act = act
        self._token = NO_TOKEN
        self._repeats = self._challenges = 0
        self._next_round = self._due = now
        self.handle_timeout(now)

    def receive_datagram(self, payload: bytes, source: tuple[str, int], now: int) -> bool:
        """Takes an answer; False when it is none to a question of this client that waits for one."""
        try:
            said = Binding.parse(payload)
        except WireError:
            return False
        if source != self._relay or not binding_tag.holds(payload, self._key):
            return False
        awaited = self._answered < said.counter <= self.asked
        if said.kind is Kind.QUESTION or said.client_id != self._client_id or not awaited:
            return False
        self._answered = said.counter
        if said.kind is Kind.BOUND:
            self.bound += 1
            self._due = self._next_round
        elif self._challenges < CHALLENGES:
            self._challenges += 1
            self._token = said.token
            self._ask()
        return True

    def show(self, now: int) -> None:
        """Begins a round now: the client may have been elsewhere for as long as nobody sent to it."""
        self._next_round = self._due = now
        self.handle_timeout(now)

    def next_timeout(self) -> int:
        """Returns when :meth:`handle_timeout` is due."""
        return self._due

    def handle_timeout(self, now: int) -> None:
        """Begins a round, or asks once more in it."""
        if now < self._due:
            return
        if now >= self._next_round:
            self._next_round = now + INTERVAL
            self._repeats = self._challenges = 0
        else:
            self._repeats += 1
        self._ask()
        again = self._repeats < len(PAUSES)
        self._due = now + PAUSES[self._repeats] if again else self._next_round

    def _ask(self) -> None:
        self.asked += 1
        said = Binding(Kind.QUESTION, self._client_id, self.asked, self._token)
        self._act(SendDatagram(binding_tag.tagged(said, self._key), self._relay))

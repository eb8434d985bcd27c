"""Which datagram address each client has shown to be its own, by messages that only it can make.

A client behind a NAT does not know its own address, and the NAT may change it. It says so by a binding,
whose source the relay takes for its address once the client has shown that it hears there: with a token
that was sent there before. So who repeats or redirects a binding moves nobody, and has nobody flooded.

Patent: table 507; Fig. 7-2 step 709.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import Enum

from protocol import binding_tag
from protocol.errors import DropReason, WireError
from protocol.relay.tables import Member
from protocol.types import Address, ClientId
from protocol.wire.binding import NO_TOKEN, Binding, Kind


class Found(Enum):
    """What a binding that holds says of the client's address."""

    AS_KNOWN = "as known"
    SHOWN = "shown"
    """Another one, where the client hears."""
    CLAIMED = "claimed"
    """Another one, and whether the client hears there is to be seen."""


@dataclass
class _Counted:
    """A client's time in the relay's tables, and the counter of its last binding in that."""

    membership: int
    last: int = 0


class Bindings:
    """Checks bindings; keeps answers and addresses until they are taken."""

    def __init__(self) -> None:
        self.answered = 0
        self.changed = 0
        """How often a client's address has become another."""
        self._next_membership = 0
        self._counted: dict[ClientId, _Counted] = {}
        self._answers: list[tuple[bytes, Address]] = []
        self._bound: dict[ClientId, Address] = {}

    def start_at(self, number: int) -> None:
        """Has memberships numbered from there on: no start of a relay may have the tokens of another."""
        self._next_membership = number

    def add(self, client_id: ClientId) -> None:
        """Begins anew for a client that was put into the tables."""
        self._counted[client_id] = _Counted(self._next_membership)
        self._next_membership = (self._next_membership + 1) % 2**64

    def remove(self, client_id: ClientId) -> None:
        """Forgets a client."""
        del self._counted[client_id]
        self._bound.pop(client_id, None)

    @staticmethod
    def parse(datagram: bytes | memoryview) -> Binding | None:
        """Reads what a client may send; None for anything else."""
        try:
            asked = Binding.parse(datagram)
        except WireError:
            return None
        return asked if asked.kind is Kind.QUESTION else None

    def check(
        self, asked: Binding, datagram: bytes | memoryview, member: Member | None, source: Address
    ) -> Found | DropReason:
        """Checks client, tag and counter, in this order; only then the counter is used up."""
        if member is None or not member.home or member.binding_key is None:
            return DropReason.UNKNOWN_CLIENT
        if not binding_tag.holds(datagram, member.binding_key):
            return DropReason.FORGED_BINDING
        counted = self._counted[member.client_id]
        if asked.counter <= counted.last:
            return DropReason.REPLAYED_BINDING
        counted.last = asked.counter
        if source == member.address:
            return Found.AS_KNOWN
        shown = hmac.compare_digest(asked.token, self._token(member, source))
        return Found.SHOWN if shown else Found.CLAIMED

    def answer(self, asked: Binding, member: Member, source: Address, found: Found) -> None:
        """Keeps the answer to a binding, and the address that is the client's now."""
        assert member.binding_key is not None
        kind, token = Kind.BOUND, NO_TOKEN
        if found is Found.CLAIMED:
            kind, token = Kind.CHALLENGE, self._token(member, source)
        else:
            self._bound[member.client_id] = source
        self.changed += found is Found.SHOWN
        self.answered += 1
        said = Binding(kind, asked.client_id, asked.counter, token)
        self._answers.append((binding_tag.tagged(said, member.binding_key), source))

    def take_answers(self) -> list[tuple[bytes, Address]]:
        """Returns (payload, destination) of what is to be sent since the last call."""
        if not self._answers:
            return []
        answers, self._answers = self._answers, []
        return answers

    def take_bound(self) -> dict[ClientId, Address]:
        """Returns the clients that have said where they are since the last call, changed or not."""
        if not self._bound:
            return {}
        bound, self._bound = self._bound, {}
        return bound

    def _token(self, member: Member, source: Address) -> bytes:
        assert member.binding_key is not None
        membership = self._counted[member.client_id].membership
        return binding_tag.token(member.binding_key, member.client_id, membership, source)

"""The null forwarder: what the sockets and the loop cost, with no look-up at all.

It sends every datagram to the same destinations: the next client of the group, or all others where
the header's destination MAC is a group address. It checks nothing and is for measuring alone.
"""

from __future__ import annotations

from protocol.errors import DropReason
from protocol.relay.tables import Member, RelayedGroup, UnicastGroupTable
from protocol.relay.verdicts import Destination, Drop, Forward, Run, Verdict, add_run
from protocol.types import ClientId

_FIRST_OCTET_OF_DESTINATION = 10
_NOWHERE = Drop(DropReason.UNREGISTERED_SENDER)


class NullForwarder:
    """Forwards without deciding."""

    def __init__(self) -> None:
        self.unicast_groups = UnicastGroupTable()
        self._members: dict[ClientId, Member] = {}
        self._one: dict[tuple[str, int], Verdict] = {}
        self._all: dict[tuple[str, int], Verdict] = {}

    def install_group(self, group: RelayedGroup) -> None:
        """Takes no notice of groups' addresses and SPIs."""

    def add_member(self, member: Member) -> None:
        """Adds a client."""
        self.unicast_groups.add(member)
        self._members[member.client_id] = member
        self._prepare()

    def remove_member(self, client_id: ClientId) -> None:
        """Removes a client."""
        self.unicast_groups.remove(self._members.pop(client_id))
        self._prepare()

    def receive_datagram(
        self, datagram: bytes | memoryview, source: tuple[str, int], now: int
    ) -> Verdict:
        """Returns the sender's fixed destinations; none for a datagram without an octet."""
        if (
            len(datagram) > _FIRST_OCTET_OF_DESTINATION
            and datagram[_FIRST_OCTET_OF_DESTINATION] & 1
        ):
            return self._all.get(source, _NOWHERE)
        return self._one.get(source, _NOWHERE) if len(datagram) else _NOWHERE

    def receive_batch(
        self, buffer: bytearray, place: slice, size: int, source: tuple[str, int], now: int
    ) -> list[Run]:
        """Returns the sender's fixed destinations for each datagram of a batch, alike ones together."""
        firsts = buffer[place.start + _FIRST_OCTET_OF_DESTINATION : place.stop : size]
        datagrams = -((place.start - place.stop) // size)
        if len(firsts) == datagrams and len({octet & 1 for octet in firsts}) == 1:
            verdict = (self._all if firsts[0] & 1 else self._one).get(source, _NOWHERE)
            return [Run(place.start, place.stop, verdict)]
        runs: list[Run] = []
        for start in range(place.start, place.stop, size):
            stop = min(start + size, place.stop)
            verdict = self.receive_datagram(memoryview(buffer)[start:stop], source, now)
            add_run(runs, Run(start, stop, verdict))
        return runs

    def next_timeout(self) -> None:
        """Returns None: there is nothing to do in time."""

    def handle_timeout(self, now: int) -> None:
        """Does nothing."""

    def _prepare(self) -> None:
        self._one, self._all = {}, {}
        for _, members in self.unicast_groups.rows():
            for index, member in enumerate(members):
                others = (*members[index + 1 :], *members[:index])
                if others:
                    self._all[member.address] = Forward(
                        tuple(Destination(one.address) for one in others)
                    )
                    self._one[member.address] = Forward((Destination(others[0].address),))

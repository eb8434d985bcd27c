"""Finds out how far each VPN server is, by datagrams that it sends back.

Patent: Fig. 16 (the nearest VPN server); effect E4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from protocol.client.actions import Action, SendDatagram, SendMessage
from protocol.errors import WireError
from protocol.types import SECOND, Address
from protocol.wire.messages import Candidates, Measured, Measurement
from protocol.wire.probe import Probe

MILLISECOND = 1_000_000
MICROSECOND = 1_000
LAST_WAIT = SECOND
"""How long after the last probe an answer still counts."""


class Probing:
    """One round of probes to each candidate, and the least round-trip time of each."""

    def __init__(self, candidates: Candidates, act: Callable[[Action], None], now: int) -> None:
        """Takes what the server asks for, and where actions go; the first probes leave at once."""
        self._token = candidates.token.reveal()
        self._probes = candidates.probes
        self._interval = candidates.interval * MILLISECOND
        self._servers = {one.endpoint.address: one.server for one in candidates.servers}
        self._act = act
        self._sent: dict[tuple[tuple[str, int], int], int] = {}
        self._times: dict[str, list[int]] = {name: [] for name in self._servers.values()}
        self._next_sequence_number = 0
        self._due: int | None = now
        self.handle_timeout(now)

    @property
    def done(self) -> bool:
        """Whether the round is over."""
        return self._due is None

    def receive_datagram(self, payload: bytes, source: tuple[str, int], now: int) -> bool:
        """Takes a probe that has come back; False when it is none of this round's."""
        try:
            probe = Probe.parse(payload)
        except WireError:
            return False
        if self.done or probe.token != self._token:
            return False
        sent = self._sent.pop((source, probe.sequence_number), None)
        if sent is None:
            return False
        self._times[self._servers[Address(*source)]].append(now - sent)
        if not self._sent and self._next_sequence_number >= self._probes:
            self._finish()
        return True

    def rows(self) -> Iterator[tuple[Address, str, int, int | None]]:
        """Yields each server's address and name, answers, and least round-trip time in us."""
        for address, name in self._servers.items():
            times = self._times[name]
            yield address, name, len(times), min(times) // MICROSECOND if times else None

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None when the round is over."""
        return self._due

    def handle_timeout(self, now: int) -> None:
        """Sends the next probes, or ends the round."""
        if self._due is None or now < self._due:
            return
        if self._next_sequence_number >= self._probes:
            self._finish()
            return
        number = self._next_sequence_number
        self._next_sequence_number += 1
        for address in self._servers:
            self._sent[address, number] = now
            self._act(SendDatagram(Probe(number, self._token).pack(), address))
        last = self._next_sequence_number >= self._probes
        self._due = now + (LAST_WAIT if last else self._interval)

    def _finish(self) -> None:
        self._due = None
        self._act(
            SendMessage(
                Measured(
                    tuple(
                        Measurement(name, len(times), min(times, default=0) // MICROSECOND)
                        for name, times in self._times.items()
                    )
                )
            )
        )

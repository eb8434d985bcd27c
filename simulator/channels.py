"""Control channels: ordered streams of octets between two processes, as TCP gives them.

What is sent arrives once and in order, late while the way is interrupted. A channel that is closed ends
when all that was sent before is through; one that breaks loses what is on its way, and both ends notice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from simulator.engine import Engine

MILLISECOND = 1_000_000
RETRANSMISSION = 200 * MILLISECOND
CONNECTING_TIME = 5_000 * MILLISECOND
"""How long an end waits for a connection that nobody answers."""


class End(Protocol):
    """A process at one end."""

    running: bool

    def channel_opened(self, channel: Channel) -> None:
        """The channel is there."""

    def octets_received(self, channel: Channel, octets: bytes) -> None:
        """The other end has sent these."""

    def channel_lost(self, channel: Channel) -> None:
        """The channel is gone."""


class Initiator(End, Protocol):
    """The end that opens channels."""

    def channel_refused(self) -> None:
        """Nobody took the channel."""


class _Pipe:
    """One direction: octets, and None for the end of the stream."""

    def __init__(self, engine: Engine, delay: int, is_up: Callable[[], bool]) -> None:
        self.queue: deque[bytes | None] = deque()
        self._engine, self._delay, self._is_up = engine, delay, is_up
        self._last = 0

    def put(self, item: bytes | None, arrive: Callable[[bytes | None], None]) -> None:
        self.queue.append(item)
        self._last = max(self._last, self._engine.now + self._delay)
        self._engine.at(self._last, self._arrive, arrive)

    def _arrive(self, arrive: Callable[[bytes | None], None]) -> None:
        if not self.queue:
            return
        if not self._is_up():
            self._engine.after(RETRANSMISSION, self._arrive, arrive)
            return
        arrive(self.queue.popleft())


class Channel:
    """A stream between an initiator and a listener; ``number`` is unique in its world."""

    def __init__(
        self,
        engine: Engine,
        number: int,
        ends: tuple[End, End],
        host: str,
        delay: int,
        is_up: Callable[[], bool],
    ) -> None:
        """Takes both ends, initiator first, the initiator's host, and the way between them."""
        self.number = number
        self.ends = ends
        self.host = host
        self.kind = "client"
        self._engine = engine
        self._open = [True, True]
        self._pipes = [_Pipe(engine, delay, is_up), _Pipe(engine, delay, is_up)]

    @property
    def is_open(self) -> bool:
        """Whether neither end has closed it or lost it."""
        return all(self._open)

    def send(self, sender: End, octets: bytes) -> None:
        """Sends octets to the other end."""
        side = self.ends.index(sender)
        if self._open[side]:
            self._pipes[side].put(octets, lambda item: self._arrive(1 - side, item))

    def close(self, closer: End) -> None:
        """Ends the channel in good order; the closer, too, is told that it is gone."""
        side = self.ends.index(closer)
        if self._open[side]:
            self._pipes[side].put(None, lambda item: self._arrive(1 - side, item))
            self._open[side] = False
            self._engine.after(0, self._tell_lost, side)

    def crash(self, crashed: End) -> None:
        """Ends a channel whose process at one end is gone: the other is told in time."""
        side = self.ends.index(crashed)
        if self._open[side]:
            self._open[side] = False
            self._pipes[side].queue.clear()
            self._pipes[side].put(None, lambda item: self._arrive(1 - side, item))

    def cut(self) -> None:
        """Breaks the channel: what is on its way is lost, and both ends are told."""
        for side in (0, 1):
            self._pipes[side].queue.clear()
            if self._open[side]:
                self._open[side] = False
                self._tell_lost(side)

    def _arrive(self, side: int, item: bytes | None) -> None:
        if not self._open[side]:
            return
        if item is None:
            self._open[side] = False
            self._tell_lost(side)
        elif self.ends[side].running:
            self.ends[side].octets_received(self, item)

    def _tell_lost(self, side: int) -> None:
        if self.ends[side].running:
            self.ends[side].channel_lost(self)


class Exchange:
    """Where listeners are found, and channels opened."""

    def __init__(
        self,
        engine: Engine,
        delay: Callable[[str, str], int],
        is_up: Callable[[str, str], bool],
    ) -> None:
        """Takes the delay between two hosts in ns, and whether the way between them is whole."""
        self.listeners: dict[str, End] = {}
        """By their hosts' names."""
        self.channels: list[Channel] = []
        self._engine, self._delay, self._is_up = engine, delay, is_up
        self._number = 0

    def connect(self, initiator: Initiator, host: str, to: str, kind: str) -> None:
        """Opens a channel from ``host``; the initiator is told when it is open, or that it is not."""
        if not self._is_up(host, to):
            self._engine.after(CONNECTING_TIME, self._refuse, initiator)
            return
        self._engine.after(self._delay(host, to), self._accept, initiator, host, to, kind)

    def _accept(self, initiator: Initiator, host: str, to: str, kind: str) -> None:
        listener, delay = self.listeners.get(to), self._delay(host, to)
        if listener is None or not listener.running or not initiator.running:
            self._engine.after(delay, self._refuse, initiator)
            return
        self._number += 1
        channel = Channel(
            self._engine,
            self._number,
            (initiator, listener),
            host,
            delay,
            lambda: self._is_up(host, to),
        )
        channel.kind = kind
        self.channels = [one for one in self.channels if one.is_open]
        self.channels.append(channel)
        listener.channel_opened(channel)
        self._engine.after(delay, self._opened, initiator, channel)

    @staticmethod
    def _opened(initiator: Initiator, channel: Channel) -> None:
        if not initiator.running:
            return
        if channel.is_open:
            initiator.channel_opened(channel)
        else:
            initiator.channel_refused()

    @staticmethod
    def _refuse(initiator: Initiator) -> None:
        if initiator.running:
            initiator.channel_refused()

"""Frames on a link with delay come when they are due, in order, and never more than there is room."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.delay_line import EARLY_NS, NANOSECONDS, DelayLine, Direction

MILLISECOND = 1_000_000


def _direction(
    delay_ns: int = 5 * MILLISECOND, rate_bits: int | None = None, held_frames: int = 100
) -> Direction:
    return Direction(delay_ns, rate_bits, held_frames)


def test_a_frame_is_due_after_the_delay_and_not_before() -> None:
    direction = _direction()
    direction.push(b"one", 1000)
    assert direction.next_due() == 5 * MILLISECOND + 1000
    assert list(direction.pop_due(5 * MILLISECOND + 999)) == []
    assert list(direction.pop_due(5 * MILLISECOND + 1000)) == [b"one"]
    assert direction.next_due() is None


def test_frames_follow_each_other_no_faster_than_the_rate() -> None:
    direction = _direction(delay_ns=0, rate_bits=8 * NANOSECONDS)  # an octet takes 1 ns
    direction.push(bytes(100), 0)
    direction.push(bytes(50), 10)
    assert direction.next_due() == 100
    assert len(list(direction.pop_due(149))) == 1
    assert direction.next_due() == 150


def test_a_line_that_was_idle_owes_nothing() -> None:
    direction = _direction(delay_ns=7, rate_bits=8 * NANOSECONDS)
    direction.push(bytes(100), 0)
    direction.push(bytes(100), 1000)
    assert list(direction.pop_due(107)) == [bytes(100)]
    assert direction.next_due() == 1107


def test_what_has_no_room_is_dropped_and_counted_and_takes_no_time_of_the_line() -> None:
    direction = _direction(delay_ns=0, rate_bits=8 * NANOSECONDS, held_frames=2)
    for octet in b"abcd":
        direction.push(bytes([octet]), 0)
    assert direction.dropped == 2
    assert list(direction.pop_due(2)) == [b"a", b"b"]
    direction.push(b"e", 2)
    assert direction.next_due() == 3


@given(
    frames=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 1514)), max_size=60),
    delay_ns=st.integers(0, 10**6),
    rate_bits=st.none() | st.integers(10**6, 10**10),
)
def test_order_is_kept_and_every_frame_is_out_or_dropped(
    frames: list[tuple[int, int]], delay_ns: int, rate_bits: int | None
) -> None:
    direction = _direction(delay_ns, rate_bits, held_frames=20)
    now, pushed, got = 0, [], []
    for number, (pause, size) in enumerate(frames):
        now += pause
        got += list(direction.pop_due(now))
        dropped = direction.dropped
        frame = number.to_bytes(2, "big") + bytes(size)
        direction.push(frame, now)
        if direction.dropped == dropped:
            pushed.append(frame)
    got += list(direction.pop_due(2**80))
    assert got == pushed
    assert len(got) + direction.dropped == len(frames)


class _Pairs:
    """Two links of a line whose clock stands still; each end is a socket that keeps frames apart."""

    def __init__(self) -> None:
        self.now = 0
        self.line = DelayLine(lambda: self.now)
        self.sockets: list[socket.socket] = []
        self.ends: list[tuple[socket.socket, socket.socket]] = []
        self.directions: list[tuple[Direction, Direction]] = []

    def join(self, delay_ns: int) -> None:
        """Adds a link."""
        one, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        other, inward = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sockets += [one, inner, other, inward]
        for end in self.sockets:
            end.setblocking(False)
        settings = {"delay_ns": delay_ns, "rate_bits": None, "held_frames": 10}
        self.directions.append(self.line.join(inner.fileno(), inward.fileno(), settings))
        self.ends.append((one, other))

    def send(self, link: int, frame: bytes, backwards: bool = False) -> None:
        """Sends a frame over a link, from its first end or from its second."""
        one, other = self.ends[link]
        (other if backwards else one).send(frame)
        self.line.take(self.line.sources[2 * link + backwards])


@pytest.fixture
def pairs() -> Iterator[_Pairs]:
    made = _Pairs()
    yield made
    for end in made.sockets:
        end.close()


def test_each_link_and_each_direction_has_its_own_time(pairs: _Pairs) -> None:
    pairs.join(3 * MILLISECOND)
    pairs.join(MILLISECOND)
    assert pairs.line.seconds_left() is None
    pairs.send(0, b"slow")
    pairs.send(1, b"fast")
    assert pairs.line.seconds_left() == (MILLISECOND - EARLY_NS) / NANOSECONDS
    pairs.now = MILLISECOND
    assert pairs.line.seconds_left() == 0
    pairs.send(1, b"back", backwards=True)
    pairs.line.give()
    assert pairs.ends[1][1].recv(100) == b"fast"
    pairs.now = 3 * MILLISECOND
    pairs.line.give()
    assert pairs.ends[0][1].recv(100) == b"slow"
    assert pairs.ends[1][0].recv(100) == b"back"
    assert pairs.line.seconds_left() is None
    assert [way.forwarded for pair in pairs.directions for way in pair] == [1, 0, 1, 1]


def test_frames_that_the_other_end_refuses_are_counted_and_stop_nothing(pairs: _Pairs) -> None:
    pairs.join(0)
    pairs.ends[0][1].close()
    for _ in range(2):
        pairs.send(0, b"lost")
        pairs.line.give()
    assert pairs.directions[0][0].counters() == {"forwarded": 0, "dropped": 0, "refused": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [([], 1, "expected a line of JSON"), (["x"], 2, "expected no arguments")],
)
def test_the_program_says_in_a_line_what_is_wrong(
    arguments: list[str], code: int, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "topologies.delay_line", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert words in line

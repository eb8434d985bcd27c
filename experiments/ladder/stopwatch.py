"""What the stages of a server's loop take: wrapped around its functions while asked for, gone otherwise.

A wrapper costs time itself, in its own stage's reading and in that of the stage around it: both are
measured when the watch stops, and subtracted. Interrupts and others on the machine fall into some
calls: what is longer than most by far counts as long as that bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

INSIDE: Mapping[str, tuple[str, ...]] = {
    "decide": ("tag",),
    "reseal": ("open", "seal"),
    "open": ("open_cipher",),
    "seal": ("seal_cipher",),
}
"""Stages that run within others: each is to be told by itself."""
STAGES = ("receive", "send", "tag", *INSIDE, "open_cipher", "seal_cipher")
LONGEST: Final = 10
"""A call counts for at most this many times what nine in ten calls do not exceed."""
_TRIALS, _ROUNDS = 2_000, 5
_MISSING: Final = object()


class Place(NamedTuple):
    """A function to be timed: where it is found when it is called, and its stage."""

    owner: object
    name: str
    stage: str


class Overhead(NamedTuple):
    """What a wrapper adds, in ns: to its own reading, and to the time that its caller takes."""

    inside: float
    whole: float


@dataclass
class Stopwatch:
    """Times the calls of some functions while it is on."""

    places: Sequence[Place]
    _times: dict[str, list[int]] = field(default_factory=dict)
    _before: list[tuple[object, str, object]] = field(default_factory=list)

    @property
    def is_on(self) -> bool:
        """Tells whether anything is wrapped."""
        return bool(self._before)

    def start(self) -> None:
        """Wraps the functions."""
        if self.is_on:
            raise RuntimeError("the watch is on already")
        self._times = {place.stage: [] for place in self.places}
        for owner, name, stage in self.places:
            self._before.append((owner, name, vars(owner).get(name, _MISSING)))
            wrapped: Any = timed(getattr(owner, name), self._times[stage])
            is_bound = isinstance(owner, type) and isinstance(vars(owner)[name], classmethod)
            setattr(owner, name, staticmethod(wrapped) if is_bound else wrapped)

    def stop(self) -> dict[str, float]:
        """Puts the functions back; returns ns spent in each stage, without those within it."""
        for owner, name, before in reversed(self._before):
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._before.clear()
        return exclusive(self._times, overhead())


def timed(function: Callable[..., Any], times: list[int]) -> Callable[..., Any]:
    """Returns ``function`` with every call's ns noted."""
    clock, note = time.perf_counter_ns, times.append

    def call(*arguments: Any) -> Any:
        begin = clock()
        found = function(*arguments)
        note(clock() - begin)
        return found

    return call


def overhead() -> Overhead:
    """Measures what a wrapper adds to a function that does nothing: the least of some rounds.

    It takes as many arguments as most of those that are timed.
    """

    def nothing(_one: object, _two: object, _three: object) -> None:
        pass

    inside, plain, whole = [], [], []
    for _ in range(_ROUNDS):
        times: list[int] = []
        plain.append(_per_call(nothing))
        whole.append(_per_call(timed(nothing, times)))
        inside.append(sorted(times)[len(times) // 2])
    return Overhead(max(0.0, min(inside) - min(plain)), max(0.0, min(whole) - min(plain)))


def _per_call(function: Callable[..., object]) -> float:
    begin = time.perf_counter_ns()
    for _ in range(_TRIALS):
        function(None, None, None)
    return (time.perf_counter_ns() - begin) / _TRIALS


def exclusive(times: Mapping[str, Sequence[int]], added: Overhead) -> dict[str, float]:
    """Returns ns in all calls of each stage, less what its wrappers and the stages within it took."""
    whole = {stage: _bounded(some) - len(some) * added.inside for stage, some in times.items()}
    for stage in whole:
        whole[stage] -= sum(len(times[one]) * added.whole for one in _within(stage, times))
    return {
        stage: total - sum(whole[one] for one in INSIDE.get(stage, ()) if one in whole)
        for stage, total in whole.items()
    }


def _within(stage: str, times: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for one in INSIDE.get(stage, ()):
        if one in times:
            yield one
            yield from _within(one, times)


def _bounded(times: Sequence[int]) -> int:
    """Sums calls, the few very long ones as long as the bound."""
    if not times:
        return 0
    bound = LONGEST * sorted(times)[len(times) * 9 // 10]
    return sum(min(one, bound) for one in times)

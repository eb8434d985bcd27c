"""Searches for scripts of faults that break an invariant: ``python -m experiments.simtest --scripts 500``.

Hypothesis draws the scripts, and makes one that breaks something as short as it can. What is left is
printed with the one command that plays it again. Scripts are drawn in lots, each from a seed of its own:
any number of workers plays the same ones, and the hash over all traces is the same. Exit codes: 0 nothing
found, 1 something, 2 usage.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from nodes.command_line import Parser, whole
from simulator.faults import CHOICES, KINDS, LONGEST_MS, SHARING, Fault, Script
from simulator.search import Play, Played
from topologies.catalog import CATALOG
from topologies.plan import Plan
from topologies.shared_lan import share_lan

SCRIPTS = 100
LOT = 50
"""Scripts that one call of Hypothesis draws."""
FAULTS = 16
STEPS = 2_000
"""Scripts that are played at most to shorten one that breaks something."""
SEEDS = 1 << 16
EXIT_HELD, EXIT_BROKEN, EXIT_USAGE = range(3)
_SIZES: dict[str, dict[str, int]] = {
    "single": {"clients": 3, "terminals": 1},
    "subgroups": {"clients": 4, "terminals": 1},
    "multicast": {"clients": 3, "terminals": 1},
    "multiserver": {"clients": 3, "terminals": 1},
    "cascade": {"clients": 3, "terminals": 1},
}
"""As small as the faults allow: a script is played in a fraction of a second."""
_SHARED: dict[int, tuple[str, ...]] = {0: (), 2: ("c2",), 3: ("c2", "c4")}
"""Who is on the LAN of the first client, by how many share it."""


class ViolationError(AssertionError):
    """Says what a script has broken."""


def play(script: Script) -> Played:
    """Plays a script in the small form of its topology; ValueError when there is none of the name."""
    if script.topo not in _SIZES:
        raise ValueError(f"script: topology {script.topo!r}: expected one of {', '.join(_SIZES)}")
    return Play(network(script), script).run()


def network(script: Script) -> Plan:
    """Returns the Plan of a script; with clients that share a LAN there are two more on their own."""
    sizes = dict(_SIZES[script.topo])
    if not script.sharing:
        return CATALOG[script.topo](**sizes)
    plan = CATALOG[script.topo](**sizes | {"clients": 2 + script.sharing, "second_group": 1})
    for guest in _SHARED[script.sharing]:
        plan = share_lan(plan, "c1", guest, with_terminals=guest == "c2")
    return plan


def scripts(topos: Sequence[str]) -> st.SearchStrategy[Script]:
    """Draws scripts: a few kinds of faults each, so that some runs have many of one kind."""
    kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True)
    faults = kinds.flatmap(
        lambda some: st.lists(
            st.builds(
                Fault,
                at_ms=st.integers(0, LONGEST_MS // 2),
                kind=st.sampled_from(some),
                target=st.integers(0, 15),
                duration_ms=st.integers(0, LONGEST_MS),
                share=st.integers(0, 100),
            ),
            max_size=FAULTS,
        )
    )
    return st.builds(
        Script,
        st.sampled_from(list(topos)),
        st.integers(0, SEEDS - 1),
        faults.map(tuple),
        _choices(),
        st.sampled_from((0, *SHARING)),
    )


def _choices() -> st.SearchStrategy[tuple[tuple[str, str | bool], ...]]:
    """Draws what a script chooses: mostly little, so that what is found is easy to read."""
    some = [(name, value) for name, values in CHOICES.items() for value in values[1:]]
    drawn = st.lists(st.sampled_from(some), max_size=3, unique_by=lambda one: one[0])
    return drawn.map(lambda chosen: tuple(sorted(chosen)))


@dataclass
class Found:
    """What a search has come to: the shortest script that breaks something, if any; what was reached."""

    script: Script | None
    reached: Counter[str]
    fingerprint: str
    """Of all traces in their order."""


def search(count: int, beginning: int, topos: Sequence[str]) -> Found:
    """Plays ``count`` scripts, drawn from one seed, in this process; and some more to shorten what breaks."""
    broken: dict[Script, str] = {}
    last: list[Script] = []
    left = STEPS
    reached: Counter[str] = Counter()
    traces = blake2b(digest_size=16)

    @seed(beginning)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(scripts(topos))
    def holds(script: Script) -> None:
        nonlocal left
        left -= bool(broken)
        if left > 0 and script not in broken:
            played = play(script)
            reached.update(played.reached)
            traces.update(played.fingerprint.encode())
            if played.violations:
                broken[script] = played.violations[0]
        if script in broken:
            last[:] = [script]
            raise ViolationError(broken[script])

    try:
        holds()
    except ViolationError:
        return Found(last[0], reached, traces.hexdigest())
    return Found(None, reached, traces.hexdigest())


def search_in_lots(count: int, beginning: int, topos: Sequence[str], workers: int) -> Found:
    """Plays ``count`` scripts in so many processes; ends with the first lot in which something is found."""
    sizes = [min(LOT, count - first) for first in range(0, count, LOT)]
    seeds = [beginning * SEEDS + number for number in range(len(sizes))]
    reached: Counter[str] = Counter()
    traces = blake2b(digest_size=16)
    with contextlib.ExitStack() as stack:
        lots: Iterable[Found]
        if workers == 1:
            lots = map(search, sizes, seeds, repeat(topos))
        else:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, context))
            stack.callback(pool.shutdown, cancel_futures=True)
            lots = pool.map(search, sizes, seeds, repeat(topos))
        for lot in lots:
            reached.update(lot.reached)
            traces.update(lot.fingerprint.encode())
            if lot.script is not None:
                return Found(lot.script, reached, traces.hexdigest())
    return Found(None, reached, traces.hexdigest())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(prog="python -m experiments.simtest", description=__doc__)
    parser.add_argument("--scripts", type=whole(1), default=SCRIPTS, help="how many to play")
    parser.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")
    parser.add_argument("--workers", type=whole(1), default=1, help="processes to play in")
    parser.add_argument("--topo", action="append", choices=_SIZES, help="only this; repeatable")
    parser.add_argument("--replay", metavar="SCRIPT", help="plays one script, as was printed")
    options = parser.parse_args(arguments)
    try:
        if options.replay is not None:
            return _tell(Script.from_text(options.replay))
    except ValueError as error:
        print(f"simtest: {error}", file=sys.stderr)
        return EXIT_USAGE
    begin = time.monotonic()
    topos = options.topo or list(_SIZES)
    found = search_in_lots(options.scripts, options.seed, topos, options.workers)
    if found.script is not None:
        return _tell(found.script)
    seconds = time.monotonic() - begin
    print(f"{options.scripts} scripts in {seconds:.0f} s, nothing violated")
    print(f"reached: {_shown(found.reached)}")
    print(f"all traces: {found.fingerprint}")
    return EXIT_HELD


def _tell(script: Script) -> int:
    played = play(script)
    for violation in played.violations:
        print(violation)
    print(f"trace {played.fingerprint}, {played.events} events")
    if not played.violations:
        return EXIT_HELD
    print(f"again: python -m experiments.simtest --replay {shlex.quote(script.to_text())}")
    return EXIT_BROKEN


def _shown(reached: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(reached.items()))


if __name__ == "__main__":
    sys.exit(main())

"""Searches for scripts of faults that break an invariant: ``python -m experiments.simtest --scripts 500``.

Hypothesis draws the scripts, and makes one that breaks something as short as it can. What is left is
printed with the one command that plays it again. Exit codes: 0 nothing found, 1 something, 2 usage.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from nodes.command_line import Parser
from simulator.faults import KINDS, LONGEST_MS, Fault, Script
from simulator.search import Play, Played
from topologies.catalog import CATALOG

SCRIPTS = 100
FAULTS = 16
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


class ViolationError(AssertionError):
    """Says what a script has broken."""


def play(script: Script) -> Played:
    """Plays a script in the small form of its topology; ValueError when there is none of the name."""
    if script.topo not in _SIZES:
        raise ValueError(f"script: topology {script.topo!r}: expected one of {', '.join(_SIZES)}")
    return Play(CATALOG[script.topo](**_SIZES[script.topo]), script).run()


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
        Script, st.sampled_from(list(topos)), st.integers(0, SEEDS - 1), faults.map(tuple)
    )


def search(count: int, beginning: int, topos: Sequence[str]) -> tuple[Script | None, Counter[str]]:
    """Plays ``count`` scripts; returns the shortest that breaks something, and what was reached."""
    last: list[Script] = []
    reached: Counter[str] = Counter()

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
        played = play(script)
        reached.update(played.reached)
        if played.violations:
            last[:] = [script]
            raise ViolationError(played.violations[0])

    try:
        holds()
    except ViolationError:
        return last[0], reached
    return None, reached


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(prog="python -m experiments.simtest", description=__doc__)
    parser.add_argument("--scripts", type=int, default=SCRIPTS, help="how many to play")
    parser.add_argument("--seed", type=int, default=1, help="what chance begins with")
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
    found, reached = search(options.scripts, options.seed, options.topo or list(_SIZES))
    if found is not None:
        return _tell(found)
    seconds = time.monotonic() - begin
    print(
        f"{options.scripts} scripts in {seconds:.0f} s, nothing violated; reached: {_shown(reached)}"
    )
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

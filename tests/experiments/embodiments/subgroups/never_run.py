"""The experiments' command line with a server that never rekeys, as the patent's text has it.

What has nothing to do with that is left out: the second network, and all moves but one.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from experiments.__main__ import main
from experiments.embodiments.course import Parameters
from experiments.embodiments.subgroups import course
from experiments.embodiments.subgroups.moves import Delivered
from experiments.progress import Progress
from experiments.records.record import Record, Summary
from topologies.plan import Plan

_run = course.run


def run_without_rekeying(
    plan: Plan, parameters: Parameters, folder: Path, progress: Progress
) -> tuple[Record, Summary]:
    """Runs embodiment 2 by the literal rule."""
    settings = replace(parameters.settings, rekey="never")
    return _run(plan, replace(parameters, settings=settings), folder, progress)


if __name__ == "__main__":
    course.run = run_without_rekeying
    course._to_holders = lambda *_: Delivered(1, 0, 0)
    course.QUICK_MOVES = 1
    sys.exit(main())

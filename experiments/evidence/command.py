"""``make claims``: makes the runs that show the claims, each once, and judges every row.

Exit codes: 0 no invariant broken and no verdict the opposite of what CLAIMS.md expects, 1 otherwise,
2 usage, 3 this machine cannot.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import subruns
from experiments.evidence import table
from experiments.evidence.document import document
from experiments.evidence.judge import Judgement, judge
from experiments.evidence.made import CANNOT, Made
from experiments.evidence.results import TOPIC, write
from experiments.progress import Progress
from experiments.records.environment import describe_checkout
from experiments.records.record import RecordError
from experiments.run_folder import RESULTS, Given, create_run_folder, show

CLAIMS_FILE = Path("CLAIMS.md")
EXIT_EXPECTED, EXIT_CONTRADICTED, EXIT_USAGE = range(3)


def run(options: argparse.Namespace) -> int:
    """Runs the command line; returns the exit code."""
    try:
        claims = table.load()
        if options.document:
            CLAIMS_FILE.write_text(document(claims), encoding="utf-8")
            print(f"written: {CLAIMS_FILE}")
            return EXIT_EXPECTED
        rows = claims.chosen(tuple(options.rows))
        given = Given(TOPIC, {}, {"quick": options.quick}, seed=1)
        made = _kept(claims, rows, options.kept) if options.kept else _make(claims, rows, options)
    except (table.TableError, RecordError) as error:
        print(f"{TOPIC}: {error}", file=sys.stderr)
        return EXIT_USAGE
    if made.codes and set(made.codes.values()) == {CANNOT}:
        return CANNOT
    judgements = [judge(row, made.summaries, made.gone) for row in rows]
    folder = create_run_folder(RESULTS, TOPIC, describe_checkout())
    write(folder, claims, judgements, made, given)
    code = _tell(judgements, made.broken())
    show(folder)
    return code


def _make(claims: table.Claims, rows: Sequence[table.Row], options: argparse.Namespace) -> Made:
    """Makes every run that a row needs, once."""
    needed = {name: claims.runs[name] for name in _names(claims, rows)}
    total = sum(one.time(options.quick) for one in needed.values())
    made = Made()
    with Progress(total) as progress:
        for name, one in needed.items():
            minutes = one.time(options.quick)
            progress.step(f"{one.command(options.quick)}: about {minutes:g} min", minutes)
            ended = subruns.run(one.argv(options.quick))
            made.codes[name], made.seconds[name] = ended.code, ended.seconds
            if ended.folder is not None:
                made.take(name, ended.folder)
            elif ended.code == CANNOT:
                made.gone[name] = "this machine cannot"
            else:
                made.gone[name] = f"ended with exit code {ended.code} and no results"
    return made


def _kept(claims: table.Claims, rows: Sequence[table.Row], folder: Path) -> Made:
    """Takes the runs that a folder has."""
    if not folder.is_dir():
        raise table.TableError(f"{folder}: expected a folder with runs")
    made = Made()
    for name in _names(claims, rows):
        if (folder / name).is_dir():
            made.take(name, folder / name)
        else:
            made.gone[name] = f"{folder} has none"
    if not made.summaries:
        wanted = ", ".join(made.gone)
        raise table.TableError(f"{folder}: expected folders of runs in it, some of {wanted}")
    return made


def _names(claims: table.Claims, rows: Sequence[table.Row]) -> list[str]:
    wanted = {name for row in rows for name in row.runs}
    return [name for name in claims.runs if name in wanted]


def _tell(judgements: Sequence[Judgement], broken: Sequence[str]) -> int:
    for one in judgements:
        print(f"{one.row.name}: {one.verdict}, {one.said}: {one.evidence}")
    for line in broken:
        print(f"  {line}")
    against = [one.row.name for one in judgements if one.contradicts]
    opened = sum(one.verdict == "inconclusive" for one in judgements)
    print(
        f"{len(judgements)} claims and parts: {len(against)} against what is expected, {opened} open; "
        f"{len(broken)} invariants or runs broken"
    )
    return EXIT_CONTRADICTED if against or broken else EXIT_EXPECTED

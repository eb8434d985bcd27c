"""What a sweep leaves: all fields of all cases as tidy CSV, and a summary over the seeds."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.figures import mean
from experiments.sweep.cases import Case

Fields = list[dict[str, Any]]
Worked = Sequence[tuple[Case, Fields]]
_OF_FIELD = ("field", "value", "unit", "exactness", "note")
_OF_MEAN = ("field", "unit", "seeds", "mean", "low", "high", "least", "most")
SEED = "seed"


def cases_csv(worked: Worked) -> str:
    """Returns a line for each field of each case: the case's parameters, then the field."""
    names = _names(worked)
    rows = (
        [
            case.kind,
            *(dict(case.parameters)[name] for name in names),
            *(field[key] for key in _OF_FIELD),
        ]
        for case, fields in worked
        for field in fields
    )
    return _csv(["model", *names, *_OF_FIELD], rows)


def summary_csv(worked: Worked) -> str:
    """Returns a line for each numeric field of cases that differ in their seed alone.

    ``low`` and ``high`` are the 95 % interval of the mean over the seeds.
    """
    names = [name for name in _names(worked) if name != SEED]
    values: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for case, fields in worked:
        chosen = tuple(dict(case.parameters)[name] for name in names)
        for field in fields:
            if isinstance(field["value"], (int, float)):
                key = (case.kind, *chosen, field["field"], field["unit"])
                values[key].append(field["value"])
    rows = ([*key, len(some), *_spread(some, key[-1])] for key, some in values.items())
    return _csv(["model", *names, *_OF_MEAN], rows)


def _names(worked: Worked) -> list[str]:
    """Returns the parameters' names; all cases of a sweep are of one kind and have the same."""
    return [name for name, _ in worked[0][0].parameters] if worked else []


def _spread(values: Sequence[float], unit: str) -> list[float]:
    figure = mean(values, unit)
    return [figure.value, figure.low, figure.high, min(values), max(values)]


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()

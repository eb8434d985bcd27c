"""What a sweep leaves: all fields of all cases as tidy CSV, a summary over the seeds, and what tells."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from experiments.records.figures import mean
from experiments.records.record import Figure, Sample
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
    rows = ([*key, len(some), *_spread(some, key[-1])] for key, some in _over_seeds(worked).items())
    return _csv(["model", *names, *_OF_MEAN], rows)


def headline_figures(worked: Worked, telling: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """Yields the telling fields' means over the seeds, each named after its case without the seed."""
    names = [name for name in _names(worked) if name != SEED]
    for (_, *chosen, field, unit), values in _over_seeds(worked).items():
        if field in telling:
            case = " ".join(f"{name}={value}" for name, value in zip(names, chosen, strict=True))
            yield f"mean.{field} {case}", mean(values, unit)


def headline_samples(worked: Worked, telling: Sequence[str]) -> Iterator[Sample]:
    """Yields the telling fields of every case."""
    for case, fields in worked:
        labels = {name: str(value) for name, value in case.parameters}
        for field in fields:
            if field["field"] in telling and isinstance(field["value"], (int, float)):
                yield Sample(field["field"], field["value"], field["unit"], labels)


def _over_seeds(worked: Worked) -> dict[tuple[Any, ...], list[float]]:
    """Returns numbers of cases that differ in their seed alone, by model, parameters, field and unit."""
    values: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for case, fields in worked:
        chosen = tuple(value for name, value in case.parameters if name != SEED)
        for field in fields:
            if isinstance(field["value"], (int, float)):
                key = (case.kind, *chosen, field["field"], field["unit"])
                values[key].append(field["value"])
    return values


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

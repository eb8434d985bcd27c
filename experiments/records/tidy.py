"""A record's samples as one tidy table: a row for each value, a column for each thing that tells it apart.

``run,kind,cell,variant,block,metric,value,unit,detail``: the run's folder, its topology or measurement,
the cell of a load measurement, what was measured there (a server, a VPN, a node, a link's two ends), the
number of the block of windows, and what the value is. What has no column of its own stands in
``detail`` as ``name=value``, separated by spaces. A cell of the table is empty where it says nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from experiments.relay_load.cells import parse

if TYPE_CHECKING:
    from experiments.records.record import Record, Sample

COLUMNS = ("run", "kind", "cell", "variant", "block", "metric", "value", "unit", "detail")
_SUBJECTS = ("variant", "system", "plane", "rung", "node", "row")
"""Labels that say what was measured, the first that a sample has."""
_ENDS = ("a", "b")


def csv_of(record: Record, run: str) -> str:
    """Writes a record's samples as CSV (RFC 4180, but lines end with LF); ``run`` is its folder's name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sample in record.samples:
        writer.writerow((run, record.topo, *_cells(sample)))
    return text.getvalue()


def _cells(sample: Sample) -> Iterator[str]:
    labels = dict(sample.labels)
    variant = ""
    if all(end in labels for end in _ENDS):
        variant = "-".join(labels.pop(end) for end in _ENDS)
    for name in _SUBJECTS:
        if not variant and name in labels:
            variant = labels.pop(name)
    cell, variant = _apart(labels.pop("cell", ""), variant)
    block = labels.pop("block", "")
    yield from (cell, variant, block, sample.name, _number(sample.value), sample.unit)
    yield " ".join(f"{name}={value}" for name, value in labels.items() if value)


def _apart(cell: str, variant: str) -> tuple[str, str]:
    """Takes the variant out of a cell's name, at whose beginning or end it may stand."""
    if not variant and parse(cell) is not None:
        variant = cell.partition(".")[0]
    if variant:
        cell = cell.removeprefix(f"{variant}.").removesuffix(f".{variant}")
    return cell, variant


def _number(value: float) -> str:
    """Writes a number in full; whole ones without a point."""
    return str(int(value)) if value == int(value) else repr(float(value))

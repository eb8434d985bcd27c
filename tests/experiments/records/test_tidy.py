"""One table for the samples of any record: what is told apart stands in a column of its own."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from experiments.records.record import Record, Sample, load_record, write_record, write_samples
from experiments.records.tidy import COLUMNS, csv_of
from tests.experiments.records.test_record import a_record
from tests.experiments.runs import REFERENCE


def rows(record: Record) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_of(record, "folder"))))


def row(name: str, value: float, unit: str, **labels: str) -> dict[str, str]:
    """Gives the row of one sample."""
    (found,) = rows(a_record(samples=(Sample(name, value, unit, labels),)))
    return found


def test_every_sample_is_a_row_with_its_value_in_full() -> None:
    samples = tuple(Sample("startup", value, "s") for value in (0.1 + 0.2, 3.0, -1e-9, 12345678901))
    found = rows(a_record(samples=samples, topo="cascade"))
    assert [float(one["value"]) for one in found] == [one.value for one in samples]
    assert {(one["run"], one["kind"], one["metric"], one["unit"]) for one in found} == {
        ("folder", "cascade", "startup", "s")
    }
    assert list(found[0]) == list(COLUMNS)


@pytest.mark.parametrize(
    ("labels", "cell", "variant"),
    [
        ({"cell": "hub.unicast.n3.64"}, "unicast.n3.64", "hub"),
        ({"cell": "hub.unicast.n3.64", "variant": "hub"}, "unicast.n3.64", "hub"),
        ({"cell": "bulk.two_copies.kernel", "variant": "kernel"}, "bulk.two_copies", "kernel"),
        ({"system": "tinc"}, "", "tinc"),
        ({"node": "c1"}, "", "c1"),
        ({"a": "internet", "b": "server"}, "", "internet-server"),
        ({}, "", ""),
    ],
    ids=str,
)
def test_what_was_measured_is_told_apart_from_where(
    labels: dict[str, str], cell: str, variant: str
) -> None:
    found = row("window.cpu", 5, "ns", **labels, block="7", flags="", place="1")
    assert (found["cell"], found["variant"], found["block"]) == (cell, variant, "7")
    assert found["detail"] == "place=1"


def test_commas_and_quotes_survive() -> None:
    assert row("drops", 1, "frames", node="c1", reason='a "b", c')["detail"] == 'reason=a "b", c'


def test_the_table_stands_beside_the_record(tmp_path: Path) -> None:
    write_record(tmp_path, a_record())
    assert (tmp_path / "samples.csv").read_text().splitlines()[1].startswith(f"{tmp_path.name},")


def test_a_kept_record_has_its_table_packed_and_the_same_each_time(tmp_path: Path) -> None:
    record = load_record(REFERENCE / "multicast")
    octets = {write_samples(tmp_path, record).read_bytes() for _ in range(2)}
    (packed,) = octets
    assert [path.name for path in tmp_path.iterdir()] == ["samples.csv.gz"]
    assert gzip.decompress(packed).decode().count("\n") == 1 + len(record.samples)

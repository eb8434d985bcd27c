"""Shows that records hold together, are written whole, and name what is wrong with a broken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from experiments.records.environment import Environment
from experiments.records.record import (
    CLAIMS,
    Claim,
    Figure,
    Invariant,
    Record,
    RecordError,
    Sample,
    Table,
    load_record,
    load_summary,
    relative_arguments,
    summarise,
    write_record,
    write_summary,
)

ENVIRONMENT = Environment("Linux 6.1", "some CPU", 2, "3.11.2", {"msgspec": "1"}, {"a.b": "1"})


def a_record(**changes: Any) -> Record:
    """Makes a small sound record."""
    values: dict[str, Any] = {
        "schema": 1,
        "topo": "single",
        "plan": {"name": "single", "nodes": [], "links": []},
        "parameters": {"quick": True, "clients": 3},
        "seed": 42,
        "argv": ("python", "-m", "experiments", "run"),
        "commit": "nogit",
        "dirty": False,
        "environment": ENVIRONMENT,
        "started": "2025-01-02T03:04:05.000Z",
        "ended": "2025-01-02T03:04:45.000Z",
        "samples": (Sample("startup", 1.5, "s", {"node": "c1"}),),
        "tables": (Table("509", ("MAC", "client"), (("02:00:00:00:aa:01", "c1"),)),),
    }
    return Record(**{**values, **changes})


def test_a_record_and_a_summary_survive_their_files(tmp_path: Path) -> None:
    record = a_record()
    summary = summarise(
        "single",
        {"delivered": Invariant(True, "12 of 12")},
        {"cost": Figure(2.0, 1.5, 2.5, 30, "us")},
        {"C1": Claim("confirmed", "delivered")},
    )
    write_record(tmp_path, record)
    write_summary(tmp_path, summary)
    assert load_record(tmp_path) == record
    assert load_summary(tmp_path / "summary.json") == summary
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"record.json", "samples.csv", "summary.json"}


def test_summary_json_has_exactly_the_promised_keys(tmp_path: Path) -> None:
    invariants = {"delivered": Invariant(True, "12 of 12")}
    path = write_summary(
        tmp_path, summarise("single", invariants, {"n": Figure(1, 1, 1, 1, "")}, {})
    )
    contents = msgspec.json.decode(path.read_bytes())
    assert set(contents) == {"schema", "topo", "ok", "invariants", "figures", "claims"}
    assert set(contents["invariants"]["delivered"]) == {"held", "detail"}
    assert set(contents["figures"]["n"]) == {"value", "low", "high", "n", "unit"}
    assert set(contents["claims"]) == set(CLAIMS)
    assert contents["claims"]["E5"] == {"verdict": "not tested", "evidence": ""}


@pytest.mark.parametrize(
    ("invariants", "contradicted", "ok"),
    [
        ({"a": Invariant(True, "")}, False, True),
        ({"a": Invariant(True, ""), "b": Invariant(False, "")}, False, False),
        ({"a": Invariant(True, "")}, True, False),
        ({}, False, False),
    ],
)
def test_a_summary_is_ok_only_if_something_was_checked_and_all_held(
    invariants: dict[str, Invariant], contradicted: bool, ok: bool
) -> None:
    assert summarise("single", invariants, {}, {}, contradicted).ok is ok


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b'"schema": 1', b'"schema": 2', "schema 2"),
        (b'"confirmed"', b'"certain"', "Invalid enum value 'certain'"),
        (b'"C2"', b'"C99"', "C1-C11 and E1-E5"),
        (b'"held": true', b'"held": false', "cannot be ok"),
        (b'"low": 1.5', b'"low": 7.5', "low <= value <= high"),
        (b'"ok": true', b'"fine": true', "unknown field `fine`"),
        (b'"ok"', b"ok", "malformed"),
    ],
)
def test_a_broken_summary_is_refused_with_one_clear_line(
    tmp_path: Path, old: bytes, new: bytes, complaint: str
) -> None:
    summary = summarise(
        "single",
        {"delivered": Invariant(True, "")},
        {"cost": Figure(2.0, 1.5, 2.5, 30, "us")},
        {"C1": Claim("confirmed", "")},
    )
    path = write_summary(tmp_path, summary)
    octets = path.read_bytes()
    assert old in octets
    path.write_bytes(octets.replace(old, new, 1))
    with pytest.raises(RecordError, match=complaint) as refusal:
        load_summary(tmp_path)
    assert "summary.json" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record\.json: No such file"):
        load_record(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_sample_must_be_a_number(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Sample("cost", value, "ns")


def test_a_row_of_a_table_has_as_many_cells_as_columns() -> None:
    with pytest.raises(ValueError, match="expected 2 cells"):
        Table("509", ("MAC", "client"), (("one",),))


def test_paths_of_the_machine_are_taken_out_of_the_command_line(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    argv = [f"{checkout}/.venv/bin/python", "-m", "experiments", "/elsewhere/name", "run"]
    argv += [f"--results={checkout}/results", "--seed=4"]
    assert relative_arguments(argv, checkout) == (
        ".venv/bin/python",
        "-m",
        "experiments",
        "name",
        "run",
        "--results=results",
        "--seed=4",
    )


def test_a_path_in_a_users_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    with pytest.raises(RecordError, match="home"):
        write_record(tmp_path, a_record(argv=("/home/someone/python",)))
    assert list(tmp_path.iterdir()) == []

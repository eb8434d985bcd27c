"""The files that a run leaves: record.json (all raw samples) and summary.json (what they say).

Both are typed and checked when they are made and when they are loaded, and written atomically.
Neither holds the machine's name or paths of its users. samples.csv has the samples again, as a table.
"""

from __future__ import annotations

import gzip
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from experiments.records.environment import Environment
from experiments.records.tidy import csv_of

SCHEMA = 1
RECORD_NAME = "record.json"
SUMMARY_NAME = "summary.json"
SAMPLES_NAME = "samples.csv"
CLAIMS = tuple(f"C{n}" for n in range(1, 12)) + tuple(f"E{n}" for n in range(1, 6))
"""The patent's claims 1-11 and the effects that its embodiments 1-5 promise."""
NODE_LOAD = "node.load"
LINK_LOAD = "link.load"
DROPS = "drops"
"""Names of samples that a report shows in a way of their own."""
COUNT = "count."
"""How the names of figures begin that are counts of scripted frames, the same in every run."""

Verdict = Literal["confirmed", "refuted", "inconclusive", "not tested"]


class RecordError(ValueError):
    """Says what is wrong with a record or summary, or why it cannot be written."""


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds one raw value, with its unit and what tells it from others of the same name."""

    name: str
    value: float
    unit: str
    labels: dict[str, str] = {}

    def __post_init__(self) -> None:
        _expect_finite(f"sample {self.name}", self.value)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds a table for the report that is more readable as it is than as samples."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: expected {len(self.columns)} cells a row")


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds all that a run was given and all that it saw; times are UTC, ISO 8601.

    ``argv`` is relative to the checkout; ``commit`` is ``nogit`` outside a repository.
    """

    schema: int
    topo: str
    plan: dict[str, Any]
    parameters: dict[str, str | int | float | bool | None]
    seed: int
    argv: tuple[str, ...]
    commit: str
    dirty: bool
    environment: Environment
    started: str
    ended: str
    samples: tuple[Sample, ...]
    tables: tuple[Table, ...] = ()

    def __post_init__(self) -> None:
        _expect_schema(self.schema)


class Invariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Says whether something that must hold did, and what was seen."""

    held: bool
    detail: str


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds a measured value with its 95 % interval and the number of samples behind it.

    An exact count has ``low`` = ``value`` = ``high``.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str

    def __post_init__(self) -> None:
        for part in (self.value, self.low, self.high):
            _expect_finite("figure", part)
        if not self.low <= self.value <= self.high or self.n < 1:
            raise ValueError("figure: expected low <= value <= high and n of at least 1")


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds the verdict on one claim or effect, and what it rests on."""

    verdict: Verdict
    evidence: str


NOT_TESTED = Claim("not tested", "")


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Says what a run showed. ``claims`` names all of C1-C11 and E1-E5."""

    schema: int
    topo: str
    ok: bool
    invariants: dict[str, Invariant]
    figures: dict[str, Figure]
    claims: dict[str, Claim]

    def __post_init__(self) -> None:
        _expect_schema(self.schema)
        if set(self.claims) != set(CLAIMS):
            raise ValueError("summary: expected exactly the claims C1-C11 and E1-E5")
        if self.ok and not all(invariant.held for invariant in self.invariants.values()):
            raise ValueError("summary: it cannot be ok while an invariant does not hold")


def summarise(
    topo: str,
    invariants: Mapping[str, Invariant],
    figures: Mapping[str, Figure],
    claims: Mapping[str, Claim],
    contradicted: bool = False,
) -> Summary:
    """Makes a summary: claims that are not named are not tested, and it is ok if all invariants
    held and, so ``contradicted``, no verdict contradicts what the project expects.
    """
    held = bool(invariants) and all(invariant.held for invariant in invariants.values())
    complete = {name: claims.get(name, NOT_TESTED) for name in CLAIMS}
    unknown = sorted(set(claims) - set(CLAIMS))
    if unknown:
        raise RecordError(f"claim {unknown[0]}: expected one of C1-C11 and E1-E5")
    return Summary(
        SCHEMA, topo, held and not contradicted, dict(invariants), dict(figures), complete
    )


def write_record(folder: Path, record: Record) -> Path:
    """Writes record.json into a run's folder, and its samples as a table beside it."""
    path = _write(folder / RECORD_NAME, record)
    write_samples(folder, record)
    return path


def write_samples(folder: Path, record: Record) -> Path:
    """Writes samples.csv into a run's folder, packed where its record is; see `experiments.records.tidy`."""
    octets = csv_of(record, folder.resolve().name).encode()
    path = folder / SAMPLES_NAME
    if not (folder / RECORD_NAME).exists():
        path, octets = folder / f"{SAMPLES_NAME}.gz", gzip.compress(octets, mtime=0)
    write_atomically(path, octets)
    return path


def write_summary(folder: Path, summary: Summary) -> Path:
    """Writes summary.json into a run's folder."""
    return _write(folder / SUMMARY_NAME, summary)


def load_record(path: Path) -> Record:
    """Loads a record.json, or that of a run's folder; raises RecordError saying what is wrong."""
    return _load(path / RECORD_NAME if path.is_dir() else path, Record)


def load_summary(path: Path) -> Summary:
    """Loads a summary.json, or that of a run's folder; raises RecordError saying what is wrong."""
    return _load(path / SUMMARY_NAME if path.is_dir() else path, Summary)


def relative_arguments(argv: Sequence[str], checkout: Path) -> tuple[str, ...]:
    """Takes absolute paths out of a command line: relative inside the checkout, else the name."""

    def relative(text: str) -> str:
        option, equals, value = text.partition("=")
        if equals and option.startswith("-"):
            return f"{option}={relative(value)}"
        path = Path(text)
        if not path.is_absolute():
            return text
        return str(path.relative_to(checkout)) if path.is_relative_to(checkout) else path.name

    return tuple(relative(text) for text in argv)


def write_atomically(path: Path, octets: bytes) -> None:
    """Writes a file so that a reader sees either the old one or all of the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


_Value = TypeVar("_Value", Record, Summary)


def _write(path: Path, value: Record | Summary) -> Path:
    octets = msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
    home = str(Path.home())
    # Root's home is too short a word to forbid wherever it occurs.
    if home.count("/") > 1 and home.encode() in octets:
        raise RecordError(f"{path.name}: a path in the home folder of this machine's user is in it")
    try:
        write_atomically(path, octets)
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error
    return path


def _load(path: Path, kind: type[_Value]) -> _Value:
    packed = path.with_name(path.name + ".gz")  # as kept in results/reference
    try:
        octets = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
        return msgspec.json.decode(octets, type=kind)
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, gzip.BadGzipFile, EOFError) as error:
        raise RecordError(f"{path}: {error}") from error


def _expect_finite(what: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{what}: expected a finite number, got {value}")


def _expect_schema(schema: int) -> None:
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}: this version reads schema {SCHEMA}")

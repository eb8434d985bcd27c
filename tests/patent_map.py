"""Reads docs/patent-map.toml and the docstring lines `Patent: …`, and says where they do not fit.

The grammar of a line, one for all docstrings:

    line    = "Patent: " item *("; " item) "."
    item    = [figures " "] kind " " numbers [note] | figures [note] | "background" [note]
    figures = "Fig. " number | "Figs. " numbers
    kind    = "step" | "table" | "part" | "claim" | "effect", each with an "s" before several
    numbers = range *(", " range), a range being 709, 709-719, or 6-1 to 6-4 of figures
    note    = " (" words without parentheses, semicolons and reference numbers ")"
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

CHECKOUT = Path(__file__).resolve().parent.parent
MAP = CHECKOUT / "docs" / "patent-map.toml"
PACKAGES = ("protocol", "nodes", "simulator", "topologies", "experiments")
KINDS = ("figure", "step", "table", "part", "claim", "effect")
FIELDS = {"text", "shows", "implemented_by", "tested_by", "not_yet", "omitted"}

_ITEM = re.compile(
    r"(?:(?P<figures>Figs?)\. (?P<shown>[\d-]+(?: to [\d-]+)?(?:, [\d-]+(?: to [\d-]+)?)*))?"
    r"(?:(?:(?<=\d) )?(?P<kind>step|table|part|claim|effect)(?P<several>s?) "
    r"(?P<numbers>[E\d-]+(?:, [E\d-]+)*))?"
    r"(?P<background>(?<!.)background)?"
    r"(?: \((?P<note>[^();]+)\))?"
)
_REFERENCE_NUMBER = re.compile(r"\d{3}")


class Reference(NamedTuple):
    """One entry of the map: ("step", "709"), ("figure", "6-1"), ("effect", "E1")."""

    kind: str
    number: str

    def __str__(self) -> str:
        return f"Fig. {self.number}" if self.kind == "figure" else f"{self.kind} {self.number}"


@dataclass(frozen=True)
class Entry:
    """What the map says of one reference; exactly one of the last four ways tells its state."""

    text: str
    implemented_by: tuple[str, ...] = ()
    tested_by: tuple[str, ...] = ()
    shows: str | None = None
    not_yet: str | None = None
    omitted: str | None = None


@dataclass(frozen=True)
class Citation:
    """A docstring's line `Patent: …`: where it stands and what it names."""

    place: str
    """A module, or ``module:Class.method``."""
    references: frozenset[Reference]


class MapError(ValueError):
    """Says which entry or line breaks a rule, and which."""


Entries = Mapping[Reference, Entry]


def load(text: str) -> dict[Reference, Entry]:
    """Reads the map; raises MapError for an unknown table or field. A key may be a range, 105-107."""
    entries: dict[Reference, Entry] = {}
    for plural, rows in tomllib.loads(text).items():
        kind = plural.removesuffix("s")
        if kind not in KINDS:
            raise MapError(f"[{plural}]: expected one of {', '.join(KINDS)} with an s")
        for key, row in rows.items():
            for number in _row_numbers(kind, key):
                entries[Reference(kind, number)] = _entry(f"{plural}.{key}", row)
    return entries


def _row_numbers(kind: str, key: str) -> list[str]:
    if kind == "part" and "-" in key:
        first, last = key.split("-")
        return [str(number) for number in range(int(first), int(last) + 1)]
    return [key]


def _entry(name: str, row: Mapping[str, Any]) -> Entry:
    surplus = row.keys() - FIELDS
    if surplus or not row.get("text"):
        raise MapError(f"[{name}]: expected text and fields among {sorted(FIELDS)}")
    fields: dict[str, Any] = dict(row)
    for key in ("implemented_by", "tested_by"):
        fields[key] = tuple(fields.get(key, ()))
    return Entry(**fields)


def parse_line(line: str, entries: Entries) -> frozenset[Reference]:
    """Returns all that a line `Patent: …` names; raises MapError when it breaks the grammar."""
    if not line.startswith("Patent: ") or not line.endswith("."):
        raise MapError(f"{line!r}: expected 'Patent: ' before it and a full stop behind it")
    return parse_items(line.removeprefix("Patent: ")[:-1], entries)


def parse_items(text: str, entries: Entries) -> frozenset[Reference]:
    """Returns all that items separated by semicolons name; raises MapError."""
    found: set[Reference] = set()
    for item in text.split("; "):
        found |= _parse_item(item, entries)
    return frozenset(found)


def _parse_item(item: str, entries: Entries) -> set[Reference]:
    match = _ITEM.fullmatch(item)
    if match is None or not (match["shown"] or match["kind"] or match["background"]):
        raise MapError(f"{item!r}: expected an item such as 'Fig. 7-2 steps 709-719'")
    if match["note"] and _REFERENCE_NUMBER.search(match["note"]):
        raise MapError(f"{item!r}: expected reference numbers outside the note")
    figures, others = set(), set()
    if match["shown"]:
        figures = _expand("figure", match["shown"], entries)
        _check_number(item, len(figures) > 1, match["figures"] == "Figs")
    if match["kind"]:
        others = _expand(match["kind"], match["numbers"], entries)
        _check_number(item, len(others) > 1, bool(match["several"]))
    if figures and others:
        _check_shown(item, figures, others, entries)
    return figures | others


def _check_number(item: str, are_several: bool, says_several: bool) -> None:
    if are_several != says_several:
        raise MapError(f"{item!r}: expected singular for one and plural for several")


def _check_shown(
    item: str, figures: Iterable[Reference], others: Iterable[Reference], entries: Entries
) -> None:
    shown: set[Reference] = set()
    for figure in figures:
        shows = entries[figure].shows
        shown |= parse_items(shows, entries) if shows else set()
    for other in others:
        if other not in shown:
            raise MapError(f"{item!r}: expected what the figure shows, got {other}")


def _expand(kind: str, numbers: str, entries: Entries) -> set[Reference]:
    found: set[Reference] = set()
    order = [reference for reference in entries if reference.kind == kind]
    for part in numbers.split(", "):
        if Reference(kind, part) in entries:
            found.add(Reference(kind, part))
            continue
        first, _, last = part.partition(" to " if " to " in part else "-")
        ends = [Reference(kind, end) for end in (first, last)]
        if any(end not in entries for end in ends):
            raise MapError(f"{kind} {part}: expected an entry of the map")
        start, stop = (order.index(end) for end in ends)
        if start >= stop:
            raise MapError(f"{kind} {part}: expected a rising range")
        found.update(order[start : stop + 1])
    return found


def citation_lines(checkout: Path) -> Iterator[tuple[str, str]]:
    """Yields (place, line) for every docstring line that begins with `Patent:`."""
    for package in PACKAGES:
        for path in sorted((checkout / package).rglob("*.py")):
            module = ".".join(path.relative_to(checkout).with_suffix("").parts)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield from _lines_in(tree, module.removesuffix(".__init__"), "")


def _lines_in(node: ast.AST, module: str, qualified_name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        lines = (ast.get_docstring(node) or "").splitlines()
        place = f"{module}:{qualified_name}" if qualified_name else module
        for line in lines:
            if line.startswith("Patent:"):
                is_last = line is lines[-1]
                yield place, line if is_last else f"{line} [not the docstring's last line]"
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", None)
        inner = f"{qualified_name}.{name}".strip(".") if isinstance(name, str) else qualified_name
        yield from _lines_in(child, module, inner)


def problems(entries: Entries, lines: Iterable[tuple[str, str]], checkout: Path) -> list[str]:
    """Returns every place where map, code and tests do not fit; none is the good answer."""
    found: list[str] = []
    citations: dict[str, frozenset[Reference]] = {}
    for place, line in lines:
        try:
            citations[place] = parse_line(line, entries)
        except MapError as error:
            found.append(f"{place}: {error}")
    for reference, entry in entries.items():
        found += [f"{reference}: {text}" for text in _entry_problems(entry, entries)]
        for name in entry.tested_by:
            if not is_test(name, checkout):
                found.append(f"{reference}: {name}: expected a test")
        for name in entry.implemented_by:
            if not resolves(name):
                found.append(f"{reference}: {name}: expected something that can be imported")
            elif not any(reference in citations.get(place, ()) for place in _places(name)):
                found.append(f"{reference}: {name}: expected a line 'Patent: …' that names it")
    return found


def _entry_problems(entry: Entry, entries: Entries) -> Iterator[str]:
    states = [entry.shows, entry.omitted, entry.implemented_by or entry.not_yet]
    if sum(bool(state) for state in states) != 1:
        yield "expected one of shows, omitted, implemented_by (with not_yet for a rest), not_yet"
    if bool(entry.implemented_by) != bool(entry.tested_by):
        yield "expected implemented_by and tested_by together"
    if entry.shows:
        try:
            parse_items(entry.shows, entries)
        except MapError as error:
            yield f"shows: {error}"


def _places(name: str) -> Iterator[str]:
    """Yields the object itself, the classes around it, and its module."""
    module, _, qualified_name = name.partition(":")
    while qualified_name:
        yield f"{module}:{qualified_name}"
        qualified_name = qualified_name.rpartition(".")[0]
    yield module


def resolves(name: str) -> bool:
    """Tells whether ``module`` or ``module:Class.method`` can be imported."""
    module, _, qualified_name = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in filter(None, qualified_name.split(".")):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return True


def is_test(name: str, checkout: Path) -> bool:
    """Tells whether ``tests/….py::test_…`` or ``tests/….py::Class::test_…`` is defined there."""
    file, *names = name.split("::")
    path = checkout / file
    if not path.is_file() or not names or not names[-1].startswith("test_"):
        return False
    scope: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for wanted in names:
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        inside = [node for node in scope if isinstance(node, kinds) and node.name == wanted]
        if not inside:
            return False
        scope = inside[0].body
    return True

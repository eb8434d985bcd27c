"""Holds docs/patent-map.toml, the code's `Patent: …` lines and the tests together."""

from __future__ import annotations

import pytest

from tests.patent_map import (
    CHECKOUT,
    MAP,
    Entry,
    MapError,
    Reference,
    citation_lines,
    load,
    parse_line,
    problems,
)

ENTRIES = load(MAP.read_text(encoding="utf-8"))

STEPS = [*range(701, 720), *range(801, 821)]
TABLES = ["308", "309", "310", "311", "506", "507", "508", "509", "12-1", "12-2", "19"]
FIGURES = [
    *("1", "2", "3-1", "3-2", "4-1", "4-2", "5-1", "5-2", "6-1", "6-2", "6-3", "6-4", "7-1", "7-2"),
    *("8-1", "8-2", "9", "10", "11", "12-1", "12-2", "13", "14", "15", "16", "17", "18", "19"),
]
EXPECTED = [
    *(Reference("step", str(number)) for number in STEPS),
    *(Reference("table", number) for number in TABLES),
    *(Reference("figure", number) for number in FIGURES),
    *(Reference("claim", str(number)) for number in range(1, 12)),
    *(Reference("effect", f"E{number}") for number in range(1, 6)),
]

SOUND = Entry(
    "Receive a packet.",
    implemented_by=("protocol.relay.transfer:Relay.receive_datagram",),
    tested_by=("tests/test_patent_map.py::test_map_code_and_tests_fit",),
)
STEP = Reference("step", "709")
CITED = [("protocol.relay.transfer:Relay", "Patent: step 709.")]


def test_map_code_and_tests_fit() -> None:
    assert problems(ENTRIES, citation_lines(CHECKOUT), CHECKOUT) == []


def test_nothing_of_the_patent_is_missing_from_the_map() -> None:
    assert [str(reference) for reference in EXPECTED if reference not in ENTRIES] == []


def test_the_map_has_no_step_table_figure_claim_or_effect_that_the_patent_has_not() -> None:
    surplus = [str(reference) for reference in ENTRIES if reference.kind != "part"]
    assert sorted(surplus) == sorted(str(reference) for reference in EXPECTED)


def test_the_code_has_lines_to_check() -> None:
    places = {place.split(".")[0] for place, _ in citation_lines(CHECKOUT)}
    assert {"protocol", "nodes", "topologies"} <= places


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Patent: step 709.", {"step 709"}),
        ("Patent: Fig. 7-2 steps 717-719.", {"Fig. 7-2", "step 717", "step 718", "step 719"}),
        (
            "Patent: Figs. 6-1 to 6-3, 9; claim 1.",
            {"Fig. 6-1", "Fig. 6-2", "Fig. 6-3", "Fig. 9", "claim 1"},
        ),
        ("Patent: tables 508, 12-1 (without the key).", {"table 508", "table 12-1"}),
        ("Patent: effects E1, E4; background (by hand).", {"effect E1", "effect E4"}),
    ],
)
def test_a_line_names_what_it_says(line: str, expected: set[str]) -> None:
    assert {str(reference) for reference in parse_line(line, ENTRIES)} == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Patent: step 799.", "step 799: expected an entry of the map"),
        ("Patent: Fig. 20.", "figure 20: expected an entry of the map"),
        ("Patent: Fig. 7.", "figure 7: expected an entry of the map"),
        ("Patent: steps 719-709.", "step 719-709: expected a rising range"),
        ("Patent: steps 701-720.", "step 701-720: expected an entry of the map"),
        ("Patent: step 709, 710.", "expected singular for one and plural for several"),
        ("Patent: Figs. 9.", "expected singular for one and plural for several"),
        ("Patent: Fig. 7-2 step 801.", "expected what the figure shows, got step 801"),
        ("Patent: Fig. 3-2 (312).", "expected reference numbers outside the note"),
        ("Patent: Fig. 7-2, step 709.", "expected an item such as"),
        ("Patent: step 709 and so on.", "expected an item such as"),
        ("Patent: (a note).", "expected an item such as"),
        ("Patent: .", "expected an item such as"),
        ("Patent: step 709", "a full stop behind it"),
        ("Patent: step 709. [not the docstring's last line]", "a full stop behind it"),
    ],
)
def test_a_line_that_breaks_the_grammar_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(MapError) as refusal:
        parse_line(line, ENTRIES)
    assert complaint in str(refusal.value)


def test_a_sound_entry_has_no_problem() -> None:
    assert problems({STEP: SOUND}, CITED, CHECKOUT) == []


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (Entry("Nothing."), "expected one of shows, omitted, implemented_by"),
        (Entry("Both.", not_yet="later", omitted="never"), "expected one of shows, omitted"),
        (Entry("Untested.", implemented_by=SOUND.implemented_by), "together"),
        (Entry("Unwritten.", tested_by=SOUND.tested_by, not_yet="later"), "together"),
        (Entry("Wrong.", shows="step 799"), "shows: step 799: expected an entry"),
    ],
)
def test_an_entry_of_no_clear_state_is_found(entry: Entry, complaint: str) -> None:
    (problem,) = problems({STEP: entry}, CITED, CHECKOUT)
    assert complaint in problem


@pytest.mark.parametrize(
    "name",
    [
        "protocol.relay.transfer:Relay.made_up",
        "protocol.relay.transfer:made_up",
        "protocol.relay.made_up:Relay",
    ],
)
def test_a_missing_function_is_found(name: str) -> None:
    entry = Entry("Gone.", implemented_by=(name,), tested_by=SOUND.tested_by)
    (problem,) = problems({STEP: entry}, CITED, CHECKOUT)
    assert f"{name}: expected something that can be imported" in problem


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_patent_map.py::test_made_up",
        "tests/test_patent_map.py::TestMadeUp::test_map_code_and_tests_fit",
        "tests/test_patent_map.py::ENTRIES",
        "tests/test_patent_map.py",
        "tests/test_made_up.py::test_map_code_and_tests_fit",
    ],
)
def test_a_missing_test_is_found(name: str) -> None:
    entry = Entry("Gone.", implemented_by=SOUND.implemented_by, tested_by=(name,))
    (problem,) = problems({STEP: entry}, CITED, CHECKOUT)
    assert f"{name}: expected a test" in problem


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("protocol.relay.tables", "Patent: step 709."),
        ("protocol.relay.transfer:Relay.receive_batch", "Patent: step 709."),
        ("protocol.relay.transfer:Relay", "Patent: background."),
    ],
)
def test_an_implementation_that_does_not_cite_its_entry_is_found(place: str, line: str) -> None:
    (problem,) = problems({STEP: SOUND}, [(place, line)], CHECKOUT)
    assert "expected a line 'Patent: …' that names it" in problem


def test_a_made_up_step_in_the_code_is_found_where_it_stands() -> None:
    found = problems({STEP: SOUND}, [*CITED, ("nodes.made_up", "Patent: step 799.")], CHECKOUT)
    assert found == ["nodes.made_up: step 799: expected an entry of the map"]


@pytest.mark.parametrize(
    "text",
    ["[stairs.1]\ntext = 'a'", "[steps.1]\ntext = 'a'\ndone = true", "[steps.1]\nnot_yet = 'x'"],
)
def test_a_map_with_an_unknown_table_or_field_is_refused(text: str) -> None:
    with pytest.raises(MapError):
        load(text)

"""The table of claims is whole, and CLAIMS.md says what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.evidence import table
from experiments.evidence.document import document
from experiments.evidence.table import Exactly, TableError, Verdicts, contradictions
from experiments.records.record import CLAIMS, Claim

CHECKOUT = Path(__file__).parents[3]
ROW = """
[[rows]]
name = "{name}"
says = "something"
runs = ["single"]
rule = {{ type = "verdicts" }}
"""
RUN = '[runs.single]\nmake = "make it"\narguments = ["run"]\nminutes = 1\n'


def written(folder: Path, *names: str, more: str = "") -> Path:
    """Writes a table with rows of these names."""
    path = folder / "claims.toml"
    path.write_text(RUN + "".join(ROW.format(name=name) for name in names) + more)
    return path


def test_the_document_is_made_from_the_table() -> None:
    said = (CHECKOUT / "CLAIMS.md").read_text(encoding="utf-8")
    assert said == document(table.load()), "make claims ARGS=--document writes it anew"


def test_every_command_that_is_told_is_the_one_that_is_run() -> None:
    for one in table.load().runs.values():
        for quick in (False, True):
            told, run = one.command(quick), " ".join(one.argv(quick))
            assert ("QUICK=1" in told) == ("--quick" in run)
            for topo in ("single", "subgroups", "multicast", "multiserver", "cascade"):
                assert (f"TOPO={topo} " in f"{told} ") == (f"--topo {topo} " in f"{run} ")


def test_a_quick_run_of_all_takes_less_than_ten_minutes_and_a_full_one_less_than_thirty() -> None:
    runs = table.load().runs.values()
    assert sum(one.time(True) for one in runs) < 10
    assert sum(one.time(False) for one in runs) < 30


def test_whatever_is_expected_to_be_refuted_says_why() -> None:
    for row in table.load().rows:
        assert (row.expected == "refuted") == bool(row.why), row.name


def test_figures_are_expected_from_records_that_are_kept() -> None:
    for row in table.load().rows:
        if isinstance(row.rule, Verdicts):
            continue
        named = [word.strip(",;:") for word in row.source.split() if "/" in word]
        assert all((CHECKOUT / name).exists() for name in named), row.source


def test_a_claims_name_means_its_parts_too() -> None:
    claims = table.load()
    assert {row.name for row in claims.chosen(("E1.cipher",))} == {"E1.cipher"}
    assert {row.claim for row in claims.chosen(("E2", "C3"))} == {"E2", "C3"}
    assert len(claims.chosen(("E2",))) > 1
    assert claims.chosen(()) == claims.rows
    with pytest.raises(TableError, match=r"E9: expected C1, C2"):
        claims.chosen(("E9",))


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        (CLAIMS[1:], "", "missing .'C1'"),
        ((*CLAIMS, "C1"), "", "each name once"),
        ((*CLAIMS, "X1"), "", "row X1: expected a name such as"),
        (CLAIMS, ROW.format(name="E1.x").replace("single", "double"), "row E1.x: runs: expected"),
        (CLAIMS, "[other]\n", "unknown field"),
        (
            CLAIMS,
            ROW.format(name="E1.x").replace(
                '"verdicts"', '"exactly", figure="a", value=1, found=1'
            ),
            "row E1.x: source: expected",
        ),
    ],
    ids=["missing", "twice", "unknown claim", "unknown run", "unknown field", "no source"],
)
def test_a_mistake_in_the_table_is_named(
    tmp_path: Path, names: tuple[str, ...], more: str, said: str
) -> None:
    with pytest.raises(TableError, match=said):
        table.load(written(tmp_path, *names, more=more))


def test_a_sound_table_is_read(tmp_path: Path) -> None:
    claims = table.load(written(tmp_path, *CLAIMS))
    assert [row.name for row in claims.rows] == list(CLAIMS)


@pytest.mark.parametrize(
    ("verdict", "against"),
    [("confirmed", False), ("inconclusive", False), ("not tested", False), ("refuted", True)],
)
def test_only_the_opposite_of_what_is_expected_contradicts(verdict: str, against: bool) -> None:
    claim = Claim(verdict, "because")  # type: ignore[arg-type]
    assert contradictions({"E1": claim}) == ({"E1": claim} if against else {})


def test_the_rules_words_name_the_figure() -> None:
    assert Exactly("frames_lost", 0, 0).words() == "`frames_lost` is 0"


def test_the_document_can_be_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["claims", "--document"]) == 0
    assert capsys.readouterr().out == "written: CLAIMS.md\n"
    assert Path("CLAIMS.md").read_text(encoding="utf-8") == document(table.load())

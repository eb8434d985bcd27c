"""Two runs side by side: what agrees, what does not, and what cannot be compared at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.__main__ import main
from experiments.records.record import Figure, Invariant, summarise, write_record, write_summary
from experiments.reports.compare import CompareError, Run, compare, load, text
from tests.experiments.records.test_record import ENVIRONMENT, a_record
from tests.experiments.reports.test_report import Balance
from tests.experiments.runs import REFERENCE

RATIO = "hub_over_relay.unicast.n3.512"
KEPT = [
    path.parent
    for path in sorted(REFERENCE.glob("*/record.json.gz"))
    if path.parent.name != "claims"
]
"""All but the claims, which are verdicts on the figures of the others."""
HELD = {"delivered": Invariant(True, "12 of 12")}


def ratio(value: float) -> Figure:
    return Figure(value, value - 0.1, value + 0.1, 30, "ratio")


def count(value: float) -> Figure:
    return Figure(value, value, value, 1, "frames")


def a_run(figures: dict[str, Figure], topo: str = "single", **changes: Any) -> Run:
    return Run("somewhere", a_record(topo=topo, **changes), summarise(topo, HELD, figures, {}))


def written(folder: Path, run: Run) -> str:
    folder.mkdir()
    write_record(folder, run.record)
    write_summary(folder, run.summary)
    return str(folder)


SOUND = {RATIO: ratio(1.5), "count.frames": count(30), "startup": Figure(5, 4, 6, 9, "s")}


@pytest.mark.parametrize(
    ("changed", "agree", "said"),
    [
        ({}, True, "1 of 1 intervals overlap; 1 of 1 counts are equal."),
        ({RATIO: ratio(1.69)}, True, "1 of 1 intervals overlap"),
        ({RATIO: ratio(1.71)}, False, "0 of 1 intervals overlap"),
        ({RATIO: ratio(1.29)}, False, "0 of 1 intervals overlap"),
        ({"count.frames": count(31)}, False, "0 of 1 counts are equal"),
        ({"count.others": count(3)}, True, "1 of 1 counts are equal; 1 count is in"),
        ({"startup": Figure(50, 40, 60, 9, "s")}, True, "1 of 1 intervals overlap"),
    ],
    ids=str,
)
def test_intervals_that_overlap_and_equal_counts_agree(
    changed: dict[str, Figure], agree: bool, said: str
) -> None:
    found = compare(a_run(SOUND), a_run({**SOUND, **changed}))
    assert found.agree is agree
    assert said in found.headline()
    assert compare(a_run({**SOUND, **changed}), a_run(SOUND)).agree is agree


def test_a_headline_figure_that_one_run_lacks_does_not_agree() -> None:
    found = compare(a_run(SOUND), a_run({"count.frames": count(30)}))
    assert not found.agree
    assert f"{RATIO}: 1.5 (1.4 to 1.6) | none: only in A" in list(text(found))


def test_counts_that_one_run_alone_has_are_told_of_and_decide_nothing() -> None:
    old = a_run({**SOUND, "count.rows.a.clients": count(4), "count.rows.b.clients": count(6)})
    new = a_run({**SOUND, "count.rows.a.507": count(6)})
    found = compare(old, new)
    assert found.agree
    assert found.headline() == (
        "1 of 1 intervals overlap; 1 of 1 counts are equal; 2 counts are in A alone and not compared; "
        "1 count is in B alone and not compared."
    )
    said = list(text(found))
    assert "count.rows.a.clients: 4 | none: only in A" in said
    assert "count.rows.a.507: none | 6: only in B" in said
    worse = a_run({**SOUND, "count.frames": count(29), "count.rows.a.507": count(6)})
    assert not compare(old, worse).agree


def test_runs_that_share_no_headline_figure_are_refused() -> None:
    with pytest.raises(CompareError, match="they share no headline figure"):
        compare(a_run({"count.frames": count(3)}), a_run({"count.others": count(3)}))


def test_counts_of_different_seeds_are_not_compared() -> None:
    found = compare(a_run(SOUND), a_run({**SOUND, "count.frames": count(31)}, seed=7))
    assert found.agree
    assert "seeds differ, so that counts are not compared" in found.headline()


def test_what_differs_around_the_runs_is_told() -> None:
    machine = type(ENVIRONMENT)("Linux 6.2", "some CPU", 2, "3.11.2", {"msgspec": "2"}, {})
    found = compare(a_run(SOUND), a_run(SOUND, environment=machine, commit="abc"))
    assert set(found.differences) == {
        ("commit", "nogit", "abc"),
        ("kernel", "Linux 6.1", "Linux 6.2"),
        ("packages msgspec", "1", "2"),
        ("settings a.b", "1", "none"),
    }


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"topo": "cascade"}, "cannot compare single with cascade"),
        ({"parameters": {"quick": False}}, "quick = True and False"),
        ({"plan": {"name": "single", "nodes": [1], "links": []}}, "different networks"),
    ],
    ids=str,
)
def test_runs_of_different_kinds_are_refused(other: dict[str, Any], said: str) -> None:
    with pytest.raises(CompareError, match=said):
        compare(a_run(SOUND), a_run(SOUND, **other))


def test_a_network_of_the_users_own_is_compared_by_its_counts() -> None:
    assert compare(a_run(SOUND, "offices"), a_run(SOUND, "offices")).headline() == (
        "1 of 1 counts are equal."
    )


def test_runs_without_any_headline_figure_are_refused() -> None:
    with pytest.raises(CompareError, match="neither has a headline figure"):
        compare(a_run({}), a_run({"startup": count(3)}))


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_every_kept_run_agrees_with_itself_and_not_with_one_in_which_figures_moved(
    folder: Path,
) -> None:
    run = load(folder)
    assert compare(run, run).agree
    moved = {
        name: Figure(one.value + 1e6, one.low + 1e6, one.high + 1e6, one.n, one.unit)
        for name, one in run.summary.figures.items()
    }
    other = Run("moved", run.record, summarise(run.record.topo, HELD, moved, {}))
    found = compare(run, other)
    assert not any(pair.agrees for pair in (*found.ratios, *found.counts))


def test_the_command_tells_writes_a_page_and_says_by_its_code_how_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one = written(tmp_path / "one", a_run(SOUND))
    same = written(tmp_path / "same", a_run(SOUND))
    other = written(tmp_path / "other", a_run({**SOUND, RATIO: ratio(3)}))
    assert main(["compare", one, same]) == 0
    assert main(["compare", one, other]) == 1
    *_, headline, last = capsys.readouterr().out.splitlines()
    assert headline == "0 of 1 intervals overlap; 1 of 1 counts are equal."
    html = Path(last.removeprefix("results: "), "compare.html").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(html)
    assert balance.open == []
    assert "✗ do not overlap" in html
    assert main(["compare", one, str(tmp_path / "none")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compare: ")
    assert "none" in line

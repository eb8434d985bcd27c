"""How a row is judged: by verdicts, by a count, by intervals; and what contradicts."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.evidence.judge import Judgement, judge
from experiments.evidence.table import Beyond, Exactly, Row, Rule, Verdicts
from experiments.records.record import Claim, Figure, Invariant, Summary, summarise

HELD = {"delivered": Invariant(True, "12 of 12")}


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    return Figure(value, value if low is None else low, value if high is None else high, 9, "x")


def a_run(figures: dict[str, Figure] | None = None, **claims: str) -> Summary:
    verdicts: dict[str, Any] = {name: Claim(said, "seen") for name, said in claims.items()}  # type: ignore[arg-type]
    return summarise("single", HELD, figures or {}, verdicts)


def judged(rule: Rule, *runs: Summary, expected: Any = "confirmed", name: str = "E1") -> Judgement:
    names = tuple(f"run{number}" for number in range(len(runs)))
    row = Row(name, "it is so", names, rule, expected, "somewhere")
    return judge(row, dict(zip(names, runs, strict=True)), {})


# -- verdicts


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        (("confirmed", "confirmed"), "confirmed"),
        (("confirmed", "refuted"), "refuted"),
        (("inconclusive", "refuted"), "refuted"),
        (("confirmed", "inconclusive"), "inconclusive"),
        (("confirmed", "not tested"), "inconclusive"),
    ],
)
def test_the_worst_verdict_of_the_runs_counts(others: tuple[str, str], verdict: str) -> None:
    found = judged(Verdicts(), *(a_run(C1=one) for one in others), name="C1")
    assert found.verdict == verdict


def test_a_part_of_a_claim_has_the_claims_verdict() -> None:
    assert judged(Verdicts(), a_run(E1="confirmed"), name="E1.part").verdict == "confirmed"


def test_a_run_that_is_not_there_leaves_the_row_open_and_says_why() -> None:
    row = Row("E1", "it is so", ("single",), Verdicts())
    found = judge(row, {}, {"single": "this machine cannot"})
    assert (found.verdict, found.evidence) == ("inconclusive", "single: this machine cannot")
    assert (found.contradicts, found.said) == (False, "open")


@pytest.mark.parametrize(
    ("fit", "said"),
    [(0.0, "no figure cost: the instrument was not fit, and"), (1.0, "no figure cost")],
)
def test_a_figure_that_is_not_there_for_want_of_an_instrument_says_so(
    fit: float, said: str
) -> None:
    run = a_run({"instrument_fit": figure(fit)})
    for rule in (Exactly("cost", 1, 1), Beyond("cost", "above", 1, (1, 2), 0.1)):
        found = judged(rule, run)
        assert found.verdict == "inconclusive"
        assert found.evidence.startswith(said)
        assert (fit == 0.0) == ("instrument" in found.evidence)


# -- counts


@pytest.mark.parametrize(("value", "verdict"), [(0, "confirmed"), (1, "refuted")])
def test_a_count_is_compared_exactly(value: float, verdict: str) -> None:
    rule = Exactly("lost", 0, found=0)
    found = judged(rule, a_run({"lost": figure(value)}))
    assert (found.verdict, found.within) == (verdict, value == 0)
    assert found.contradicts == (value != 0)


def test_a_count_may_be_expected_to_refute() -> None:
    rule = Exactly("messages", 1, found=129)
    found = judged(rule, a_run({"messages": figure(129)}), expected="refuted")
    assert (found.verdict, found.said) == ("refuted", "as expected")
    found = judged(rule, a_run({"messages": figure(1)}), expected="refuted")
    assert (found.verdict, found.said) == ("confirmed", "contradicts what is expected")


# -- intervals

ABOVE = Beyond("ratio.*", "above", 1.0, (1.4, 1.6), 0.1)


@pytest.mark.parametrize(
    ("cells", "verdict"),
    [
        ([(1.5, 1.4, 1.6), (1.4, 1.3, 1.5)], "confirmed"),
        ([(1.5, 1.4, 1.6), (1.1, 0.9, 1.2)], "inconclusive"),
        ([(1.5, 1.4, 1.6), (0.8, 0.7, 0.9)], "refuted"),
        ([], "inconclusive"),
    ],
    ids=["all above", "one on both sides", "one below", "none"],
)
def test_every_interval_must_be_on_the_claimed_side(
    cells: list[tuple[float, float, float]], verdict: str
) -> None:
    figures = {f"ratio.{number}": figure(*cell) for number, cell in enumerate(cells)}
    assert judged(ABOVE, a_run({**figures, "other": figure(0.1)})).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.5, "confirmed"), (2.0, "refuted")])
def test_below_is_the_other_way_round(value: float, verdict: str) -> None:
    rule = Beyond("time", "below", 1.0, (0.5, 0.5), 0.0)
    assert judged(rule, a_run({"time": figure(value)})).verdict == verdict


@pytest.mark.parametrize(
    ("value", "within"), [(1.4, True), (1.75, True), (1.77, False), (1.25, False)]
)
def test_a_figure_outside_its_tolerance_is_told_and_fails_nothing(
    value: float, within: bool
) -> None:
    found = judged(ABOVE, a_run({"ratio.a": figure(value)}))
    assert (found.verdict, found.within, found.contradicts) == ("confirmed", within, False)
    assert ("outside the tolerance" in found.said) is not within


def test_figures_are_divided_cell_by_cell_with_a_cautious_interval() -> None:
    figures = {
        "cipher.a": figure(2, 1, 3),
        "gap.a": figure(10, 8, 12),
        "cipher.b": figure(5, 4, 6),
        "gap.b": figure(10, 5, 15),
        "cipher.c": figure(5),
    }
    rule = Beyond("cipher.*", "below", 0.5, (0.2, 0.5), 0.0, over="gap.*")
    found = judged(rule, a_run(figures))
    assert [(one.value, one.low, one.high) for one in found.values] == [
        (0.2, 1 / 12, 3 / 8),
        (0.5, 4 / 15, 6 / 5),
    ]
    assert found.verdict == "inconclusive"


def test_a_difference_that_may_be_nothing_bounds_no_quotient() -> None:
    rule = Beyond("cipher", "above", 0.5, (0.2, 0.5), 0.0, over="gap")
    found = judged(rule, a_run({"cipher": figure(2), "gap": figure(1, -1, 3)}))
    assert found.verdict == "confirmed"
    rule = Beyond("cipher", "below", 0.5, (0.2, 0.5), 0.0, over="gap")
    assert judged(rule, a_run({"cipher": figure(1), "gap": figure(4, -1, 9)})).verdict == (
        "inconclusive"
    )

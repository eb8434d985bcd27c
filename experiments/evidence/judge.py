"""Judges a row of the table by the summaries of the runs that show it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from experiments.evidence.table import Beyond, Exactly, Row, Verdicts
from experiments.records.record import Figure, Summary, Verdict


@dataclass(frozen=True)
class Value:
    """One figure that was looked at, with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """What came of one row; ``values`` are the figures that it rests on."""

    row: Row
    verdict: Verdict
    evidence: str
    values: tuple[Value, ...] = ()
    within: bool | None = None
    """Whether all values are as expected within the tolerance; None where there is none."""

    @property
    def contradicts(self) -> bool:
        """Tells whether the verdict is the opposite of the expected one; an open one is not."""
        return self.verdict in ("confirmed", "refuted") and self.verdict != self.row.expected

    @property
    def said(self) -> str:
        """Says whether it is as expected."""
        if self.contradicts:
            return "contradicts what is expected"
        if self.verdict != self.row.expected:
            return "open"
        if self.within is False:
            return "as expected, with figures outside the tolerance"
        return "as expected"


def judge(row: Row, summaries: Mapping[str, Summary], gone: Mapping[str, str]) -> Judgement:
    """Judges one row; ``gone`` says of runs that left no summary why."""
    for name in row.runs:
        if name not in summaries:
            return Judgement(row, "inconclusive", f"{name}: {gone.get(name, 'was not run')}")
    found = [summaries[name] for name in row.runs]
    if isinstance(row.rule, Verdicts):
        return _by_verdicts(row, found)
    figures = {name: figure for one in found for name, figure in one.figures.items()}
    if isinstance(row.rule, Exactly):
        return _by_count(row, row.rule, figures)
    values = tuple(_values(row.rule, figures))
    if not values:
        said = f"no figure {row.rule.figures}{_why_none(figures)}"
        return Judgement(row, "inconclusive", said)
    return _by_intervals(row, row.rule, values)


def _by_verdicts(row: Row, summaries: list[Summary]) -> Judgement:
    """The worst of the runs' own verdicts is the row's."""
    claims = [summary.claims[row.claim] for summary in summaries]
    verdicts = {claim.verdict for claim in claims}
    by_words: dict[str, list[str]] = {}
    for name, claim in zip(row.runs, claims, strict=True):
        by_words.setdefault(claim.evidence or claim.verdict, []).append(name)
    evidence = "; ".join(f"{', '.join(names)}: {words}" for words, names in by_words.items())
    for verdict in ("refuted", "inconclusive", "not tested"):
        if verdict in verdicts:
            return Judgement(row, verdict if verdict == "refuted" else "inconclusive", evidence)
    return Judgement(row, "confirmed", evidence)


def _by_count(row: Row, rule: Exactly, figures: Mapping[str, Figure]) -> Judgement:
    figure = figures.get(rule.figure)
    if figure is None:
        return Judgement(row, "inconclusive", f"no figure {rule.figure}{_why_none(figures)}")
    value = Value(rule.figure, figure.value, figure.low, figure.high)
    verdict: Verdict = "confirmed" if figure.value == rule.value else "refuted"
    evidence = f"{rule.figure} is {figure.value:g}"
    return Judgement(row, verdict, evidence, (value,), figure.value == rule.found)


def _by_intervals(row: Row, rule: Beyond, values: tuple[Value, ...]) -> Judgement:
    sign = 1 if rule.side == "above" else -1
    near = [sign * (one.low if sign > 0 else one.high) for one in values]
    far = [sign * (one.high if sign > 0 else one.low) for one in values]
    bound = sign * rule.limit
    verdict: Verdict = "inconclusive"
    if all(one > bound for one in near):
        verdict = "confirmed"
    elif any(one < bound for one in far):
        verdict = "refuted"
    least, most = min(one.value for one in values), max(one.value for one in values)
    low, high = rule.found
    within = low * (1 - rule.tolerance) <= least and most <= high * (1 + rule.tolerance)
    return Judgement(row, verdict, _range(rule, values, least, most), values, within)


def _why_none(figures: Mapping[str, Figure]) -> str:
    fit = figures.get("instrument_fit")
    said = ": the instrument was not fit, and the run's report says why"
    return said if fit is not None and not fit.value else ""


def _range(rule: Beyond, values: tuple[Value, ...], least: float, most: float) -> str:
    name = f"{rule.figures} over {rule.over}" if rule.over else rule.figures
    if len(values) == 1:
        (one,) = values
        around = "" if one.low == one.high else f" ({one.low:.4g} to {one.high:.4g})"
        return f"{name}: {one.value:.4g}{around}"
    low, high = min(one.low for one in values), max(one.high for one in values)
    return (
        f"{name}: {least:.4g} to {most:.4g} in {len(values)} cells, "
        f"intervals from {low:.4g} to {high:.4g}"
    )


def _values(rule: Beyond, figures: Mapping[str, Figure]) -> Iterator[Value]:
    before, star, _ = rule.figures.partition("*")
    for name, figure in figures.items():
        if not fnmatchcase(name, rule.figures):
            continue
        if not rule.over:
            yield Value(name, figure.value, figure.low, figure.high)
            continue
        under = figures.get(rule.over.replace("*", name.removeprefix(before) if star else ""))
        if under is not None:
            yield _quotient(name, figure, under)


def _quotient(name: str, over: Figure, under: Figure) -> Value:
    """Divides two figures; the interval is a cautious one, without end where the divisor may be 0."""
    value = over.value / under.value if under.value else math.inf
    high = over.high / under.low if under.low > 0 else math.inf
    return Value(name, value, over.low / under.high if under.high > 0 else -math.inf, high)

"""Writes CLAIMS.md from the table of claims."""

from __future__ import annotations

from experiments.evidence.table import Claims, Exactly, Row, Verdicts
from experiments.reports.pages import render


def document(claims: Claims) -> str:
    """Returns the text of CLAIMS.md."""

    def minutes(quick: bool) -> int:
        return round(sum(run.time(quick) for run in claims.runs.values()))

    return render("claims.md", claims=claims, minutes=minutes, figure=figure)


def figure(row: Row) -> str:
    """Says which figure is expected, and how far from it one may be."""
    rule = row.rule
    if isinstance(rule, Verdicts):
        return "–"
    if isinstance(rule, Exactly):
        return f"{rule.found:.4g}"
    low, high = (f"{value:.4g}" for value in rule.found)
    text = low if low == high else f"{low} to {high}"
    return f"{text}, ± {rule.tolerance:.0%}" if rule.tolerance else text

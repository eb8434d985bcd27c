"""Fills the templates of documents and of pages that need nothing from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(template: str, **values: Any) -> str:
    """Fills one of the templates; what it does not know is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    environment.filters["numeric"] = lambda cell: isinstance(cell, (int, float))
    return environment.get_template(template).render(**values)


def number(value: float) -> str:
    """Writes a number for people: whole ones in full, others with four digits that count."""
    if isinstance(value, int) or value == round(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    if abs(value) >= 10_000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.4g}"

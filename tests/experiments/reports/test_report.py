"""Shows that a report stands alone, says what failed, and quotes what people wrote as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.records.record import (
    Claim,
    Figure,
    Invariant,
    RecordError,
    Sample,
    Table,
    summarise,
    write_record,
    write_summary,
)
from experiments.reports.pages import number
from experiments.reports.report import headline, write_report
from tests.experiments.records.test_record import a_record
from topologies.catalog import CATALOG


def written(folder: Path, held: bool = True) -> str:
    """Writes the report of a made-up run and gives its text."""
    samples = (
        Sample("node.load", 4321, "datagrams", {"node": "server"}),
        Sample("link.load", 5678, "frames", {"a": "internet", "b": "server"}),
        Sample("drops", 3, "frames", {"node": "c1", "reason": "source is <external>"}),
        *(Sample("startup", value / 4, "s") for value in range(5)),
    )
    tables = (Table("Addresses", ("MAC", "frames"), (("02:00:00:00:aa:01", 12345),)),)
    plan = CATALOG["single"]().to_json()
    write_record(folder, a_record(plan=plan, samples=samples, tables=tables))
    invariants = {
        "delivered": Invariant(True, "12 of 12"),
        "blind": Invariant(held, "packet 17 holds <marker>"),
    }
    figures = {"cost": Figure(2143.7, 2101.2, 2190.4, 30, "ns")}
    claims = {"C1": Claim("confirmed", "delivered & blind")}
    write_summary(folder, summarise("single", invariants, figures, claims))
    return write_report(folder).read_text(encoding="utf-8")


class Balance(HTMLParser):
    """Checks that elements close in the order in which they opened."""

    void = frozenset({"meta", "br", "hr", "img", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_report_needs_nothing_from_outside(tmp_path: Path) -> None:
    html = written(tmp_path)
    assert not re.findall(r"<(?:script|link|img|iframe)\b", html)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", html)
    assert not re.findall(r"url\((?!#)|@import", html)


def test_a_report_is_well_formed_and_shows_all_there_is(tmp_path: Path) -> None:
    html = written(tmp_path)
    balance = Balance()
    balance.feed(html)
    assert balance.open == []
    for part in (
        "All 2 invariants held.",
        "4\u202f321",
        "5\u202f678",
        "2101 to 2190",
        "source is &lt;external&gt;",
        "delivered &amp; blind",
        "12\u202f345",
        "some CPU",
        "Counts: at nodes datagrams; at links frames.",
    ):
        assert part in html
    assert html.count("<svg") == 1
    assert 'role="img" aria-label="Topology single: 1 server (server)' in html
    assert {"topology.svg", "topology.png"} <= {path.name for path in tmp_path.iterdir()}


def test_what_failed_stands_at_the_top(tmp_path: Path) -> None:
    html = written(tmp_path, held=False)
    assert "1 of 2 invariants does not hold." in html
    assert html.index("blind: packet 17 holds &lt;marker&gt;") < html.index("<main>")


def test_results_stand_before_what_they_rest_on(tmp_path: Path) -> None:
    html = written(tmp_path)
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", html)
    assert headings == [
        "Topology",
        "Claims and effects",
        "Addresses",
        "Invariants",
        "Figures",
        "Drops by reason",
        "Raw samples",
        "How it was run",
    ]


def test_claims_that_a_run_does_not_test_are_named_and_no_more(tmp_path: Path) -> None:
    html = written(tmp_path)
    assert "Not tested by this run: C2, C3, " in html
    assert "not tested" not in html
    write_summary(tmp_path, summarise("single", {"a": Invariant(True, "")}, {}, {}))
    assert "Claims and effects" not in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_refuted_claim_is_told_in_the_headline() -> None:
    claims = {"E1": Claim("refuted", "the hub was faster")}
    summary = summarise("single", {"a": Invariant(True, "")}, {}, claims, contradicted=True)
    told = headline(summary)
    assert not told.ok
    assert told.faults == ("E1 refuted: the hub was faster",)
    assert not headline(summarise("single", {}, {}, {})).ok


def test_a_folder_without_a_record_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record\.json"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_counts_of_scripted_frames_are_folded_away_from_the_figures(tmp_path: Path) -> None:
    counts = {f"count.packets.a-{n}": Figure(n, n, n, 1, "count") for n in range(3)}
    figures = {"cost": Figure(2.5, 2.4, 2.6, 30, "ns"), **counts}
    write_record(tmp_path, a_record(plan=CATALOG["single"]().to_json()))
    write_summary(tmp_path, summarise("single", {"a": Invariant(True, "")}, figures, {}))
    html = write_report(tmp_path).read_text(encoding="utf-8")
    table, folded = html.split("<details>")
    assert "cost" in table
    assert "packets.a" not in table
    assert "3 counts of scripted frames" in folded
    assert folded.index("packets.a-2") < folded.index("</details>")
    assert "count.packets" not in html


def test_without_counts_nothing_is_folded(tmp_path: Path) -> None:
    assert "<details>" not in written(tmp_path)


def test_pictures_of_several_servers_stand_in_the_report(tmp_path: Path) -> None:
    figures = {
        f"busiest_datagrams.{name}": Figure(value, value, value, 1, "datagrams/s")
        for name, value in (("single.1x6", 840), ("multiserver.3x6", 280))
    }
    write_record(tmp_path, a_record(plan=CATALOG["multiserver"]().to_json(), topo="multiserver"))
    write_summary(tmp_path, summarise("multiserver", {"a": Invariant(True, "")}, figures, {}))
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "The busiest server" in html
    assert "Relay against hub" not in html
    assert html.count("<svg") == 2
    assert "single: 840; multiserver, 3 servers: 280" in html
    balance = Balance()
    balance.feed(html)
    assert balance.open == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567.0, "1\u202f234\u202f567"), (0.012345, "0.01235"), (98765.4, "98\u202f765")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text

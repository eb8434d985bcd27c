"""One page over all kept runs: it stands alone, and leaves out what is not there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from experiments.records.record import (
    Figure,
    Invariant,
    RecordError,
    Sample,
    load_summary,
    summarise,
    write_record,
    write_summary,
)
from experiments.reports.overview import write
from tests.experiments.records.test_record import a_record
from tests.experiments.reports.test_report import Balance
from tests.experiments.runs import REFERENCE
from topologies.catalog import CATALOG


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Writes the page over two kept runs and a made-up one."""
    folder = tmp_path_factory.mktemp("kept")
    for name in ("single", "subgroups"):
        (folder / name).mkdir()
        for file in ("record.json.gz", "summary.json"):
            shutil.copy(REFERENCE / name / file, folder / name)
    made_up = folder / "zoo"
    made_up.mkdir()
    latencies = [
        Sample("peers.latency", 1e6 * (1 + share), "ns", {"system": "tinc", "quantile": str(share)})
        for share in (0.0, 0.5, 1.0)
    ]
    loads = (Sample("node.load", 4321, "datagrams", {"node": "server"}),)
    plan = CATALOG["single"]().to_json()
    write_record(made_up, a_record(topo="zoo", plan=plan, samples=(*latencies, *loads)))
    broken = {"blind": Invariant(False, "packet 17")}
    write_summary(made_up, summarise("zoo", broken, {"n": Figure(1, 1, 1, 1, "")}, {}))
    (folder / "counts.json").write_text("{}")
    return write(folder).read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_outside_and_is_well_formed(page: str) -> None:
    assert not re.findall(r"<(?:script|link|img|iframe)\b", page)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_pictures_tables_and_loads_of_all_runs_are_there(page: str) -> None:
    assert page.count("CPU time per frame, hub / relay") == 2
    assert "Relay against hub" in page
    assert "In ms, the middle frame: tinc 1.0 (switch, via the hub) 1.5." in page
    assert "4\u202f321" in page
    assert page.count('aria-label="Topology') == 3


def test_every_claim_is_judged_and_what_no_run_shows_is_open(page: str) -> None:
    confirmed = re.search(r">C2</th>.*?</tr>", page, re.S)
    still_open = re.search(r">E3</th>.*?</tr>", page, re.S)
    assert confirmed is not None
    assert "✓ confirmed" in confirmed[0]
    assert still_open is not None
    assert "? inconclusive" in still_open[0]
    hub = load_summary(REFERENCE / "single").figures["hub_over_relay.unicast.n3.64"]
    assert f"{hub.value:.4g}" in page


def test_a_run_that_did_not_hold_is_named_at_the_top(page: str) -> None:
    top = page[: page.index("<main>")]
    assert "did not hold what they must: zoo" in " ".join(top.split())


def test_what_is_lost_is_told(page: str) -> None:
    assert "140 to 143: 219% of 64" in page
    assert "unreadable_copies.patent in the record of subgroups" in page
    assert "in the record of cascade" not in page


@pytest.mark.parametrize("there", [False, True])
def test_without_a_run_there_is_no_page(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "kept"
    if there:
        folder.mkdir()
    with pytest.raises(RecordError, match="expected folders of runs"):
        write(folder)

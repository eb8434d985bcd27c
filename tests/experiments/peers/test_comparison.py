"""What a throughput is, and what the table says of systems that are there, fail or are missing."""

from __future__ import annotations

from typing import Any, cast

import pytest

from experiments.instrument.statistics import Block, Blocks
from experiments.peers import comparison, results
from experiments.peers.comparison import QUICK, throughput
from experiments.peers.own import OWN
from experiments.peers.results import COLUMNS, Measured, Results, invariant_name
from experiments.peers.windows import Passage
from experiments.records.record import Invariant

NOBODY = cast(Any, None)


def offered(monkeypatch: pytest.MonkeyPatch, capacity: float, late_ns: int, loss: float) -> float:
    """Returns the throughput of a system that is late, or loses, above a capacity."""

    def offer(_running: object, _cast: str, rate: float, seconds: float) -> Passage:
        sent = round(rate * seconds)
        over = rate > capacity
        arrived = round(sent * (1 - loss)) if over else sent
        return Passage(sent, sent, arrived, 1, 1, late_ns if over else 1, False)

    monkeypatch.setattr(comparison, "offer", offer)
    monkeypatch.setattr(comparison, "speak", lambda _running: None)
    return throughput(NOBODY, QUICK)


def test_throughput_ends_where_frames_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 4_000 < offered(monkeypatch, 6_000, late_ns=1, loss=0.1) <= 6_000
    assert offered(monkeypatch, 6_000, late_ns=1, loss=0.004) == results.HIGHEST_RATE


def test_throughput_ends_where_buffers_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 4_000 < offered(monkeypatch, 6_000, late_ns=40_000_000, loss=0.0) <= 6_000


def test_a_system_that_bears_nothing_has_no_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(monkeypatch, 10, late_ns=1, loss=0.5) == 0.0


def compared() -> Results:
    """Makes the results of two systems in three blocks, and of two that did not run."""

    def measured(name: str, cost: float) -> Measured:
        return Measured(name, cost, 2 * cost, cost, 5_000, 9_000, 1.25e8)

    blocks = []
    for turn in range(3):
        pairs = {
            name: (measured(name, cost + turn), measured(name, cost + turn + 1))
            for name, cost in (("hub", 2_000.0), ("tinc", 4_000.0))
        }
        blocks.append(Block(("hub", "tinc"), pairs))
    return Results(
        throughput={"hub": 9_000.0, "tinc": 7_000.0},
        load=3_500.0,
        blocks=Blocks(tuple(blocks)),
        invariants={
            invariant_name("hub"): Invariant(True, ""),
            invariant_name("tinc"): Invariant(True, ""),
            invariant_name("fastd"): Invariant(False, "frames do not cross"),
        },
        absent={"relay-kernel": "this machine forwards by batch, not kernel"},
    )


def test_every_raw_value_is_a_sample() -> None:
    samples = list(compared().samples())
    assert len(samples) == 2 + 3 * 2 * 2 * len(COLUMNS)
    (first, *_) = [one for one in samples if one.name == "peers.unicast_frame"]
    assert first.labels == {"system": "hub", "block": "0", "turn": "0", "flags": ""}


def test_figures_have_intervals_around_them() -> None:
    figure = compared().figures()["peers_tinc_unicast_frame"]
    assert figure.value == pytest.approx(4_001.5)
    assert figure.low <= figure.value <= figure.high
    assert (figure.n, figure.unit) == (3, "ns")


def test_a_throughput_that_the_generator_ends_is_told_as_at_least_that() -> None:
    found = compared()
    found.throughput["tinc"] = results.HIGHEST_RATE
    (table,) = found.tables()
    rates = {str(row[0]).split(" ")[0]: row[2] for row in table.rows}
    assert rates["tinc"] == "at least 40000"


def test_each_block_is_a_round_so_that_intervals_hold_what_changes_in_minutes() -> None:
    blocks = comparison.in_rounds(compared().blocks)
    assert [block.round for block in blocks.blocks] == [0, 1, 2]


def test_the_table_says_what_failed_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "absent", lambda: {"n2n": "missing: n2n"})
    (table,) = compared().tables()
    remarks = {str(row[0]).split(" ")[0]: str(row[-1]) for row in table.rows[len(OWN) :]}
    assert remarks["fastd"] == "frames do not cross: see the invariants"
    assert remarks["n2n"] == "missing: n2n"
    assert "openvpn" not in remarks  # nobody asked for it
    kernel = next(row for row in table.rows if row[0] == "our relay, kernel")
    assert kernel[-1] == "this machine forwards by batch, not kernel"
    assert "3500 frames a second" in table.note

"""What TCP carried: ours over theirs, judged by whole intervals."""

from __future__ import annotations

import math

import pytest

from experiments.instrument.statistics import Block, Blocks
from experiments.planes.tcp import BARS, OURS, THEIRS, Carried, TcpBar, TcpResults


def blocks(**octets: list[float]) -> Blocks:
    """Returns a block a round, in which each system carried so much twice."""
    found = Blocks(())
    for number in range(len(next(iter(octets.values())))):
        pairs = {
            name.replace("_", "-"): (Carried(values[number]), Carried(values[number]))
            for name, values in octets.items()
        }
        found = found.then(Blocks((Block(tuple(pairs), pairs),)))
    return found


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(3.1, 4.0, "met"), (2.0, 2.9, "missed"), (2.9, 3.1, "open"), (-1.0, 9.0, "open")],
)
def test_a_bar_asks_for_so_many_times(low: float, high: float, word: str) -> None:
    assert TcpBar("ours", "theirs", 3.0).judge(low, high) == word


def test_every_system_of_ours_is_set_against_each_of_the_others() -> None:
    assert {(bar.ours, bar.theirs) for bar in BARS} == {
        (ours, theirs) for ours in OURS for theirs in THEIRS
    }


def test_bars_come_out_of_blocks_that_have_both_sides() -> None:
    results = TcpResults(
        {
            "segmented": blocks(
                relay_batch=[4e7, 4.1e7, 3.9e7, 4e7],
                relay_kernel=[1e7, 1.1e7, 0.9e7, 1e7],
                openvpn=[1e7, 1.01e7, 0.99e7, 1e7],
            )
        }
    )
    found = {bar.name: (figure, word) for _, bar, figure, word in results.bars()}
    assert set(found) == {"tcp_relay-batch_over_openvpn", "tcp_relay-kernel_over_openvpn"}
    figure, word = found["tcp_relay-batch_over_openvpn"]
    assert figure.value == pytest.approx(4.0, rel=0.01)
    assert figure.n == 4
    assert word == "met"
    assert found["tcp_relay-kernel_over_openvpn"][1] == "missed"
    figures = results.figures()
    assert figures["tcp.segmented.openvpn"].value == pytest.approx(1e7)
    assert "bar.tcp_relay-batch_over_openvpn.segmented" in figures
    assert len(list(results.samples())) == 3 * 4 * 2
    assert [row[0] for row in results.table().rows] == ["relay-batch", "relay-kernel", "openvpn"]


def test_a_system_that_did_not_come_up_again_is_left_out() -> None:
    both, one = blocks(relay_batch=[4e7], openvpn=[1e7]), blocks(relay_batch=[4e7, 4e7])
    results = TcpResults({"segmented": both.then(one)}, {"openvpn": "no reason"})
    assert list(results.figures()) == ["tcp.segmented.relay-batch"]
    assert list(results.bars()) == []
    assert [row[0] for row in results.table().rows] == ["relay-batch"]


def test_a_connection_that_carried_nothing_is_flagged_and_has_no_figure() -> None:
    assert Carried(0.0).flags == ("nothing came",)
    assert math.isnan(Carried(0.0).ns_per_frame)


def test_without_any_system_there_is_a_table_that_says_why() -> None:
    results = TcpResults(absent={"openvpn": "no reason"})
    assert results.figures() == {}
    assert results.table().rows == ()
    assert "openvpn: not measured: no reason" in results.table().note

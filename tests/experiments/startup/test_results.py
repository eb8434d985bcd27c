"""What starts give: figures by control and number of clients, and what must hold of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.records import headlines
from experiments.records.figures import mean
from experiments.startup.measure import Client, Control, Start
from experiments.startup.results import bar_lines, bars, figures, invariants, table

MEBIBYTE = 2**20
TLS = {"TLS": 12, "IKE": 0, "ESP": 0}
IKE = {"TLS": 0, "IKE": 10, "ESP": 6}


def start(control: Control, repetition: int, *joined: float) -> Start:
    packets = TLS if control == "tls" else IKE
    octets = {protocol: 100 * count for protocol, count in packets.items()}
    charon = 0 if control == "tls" else 3 * MEBIBYTE
    clients = {
        f"c{number}": Client(after, after / 10, packets, octets, 20 * MEBIBYTE, charon)
        for number, after in enumerate(joined, 1)
    }
    return Start(control, repetition, clients, 30 * MEBIBYTE, charon, dict.fromkeys(clients, 0))


STARTS = [start("tls", 0, 1.0, 2.0), start("tls", 1, 1.0, 3.0), start("ike", 0, 4.0, 2.0)]


def test_each_figure_is_a_mean_over_starts_of_one_kind() -> None:
    found = figures([*STARTS, start("tls", 0, 9.0, 9.0, 9.0)])
    assert found["ready.tls.2"].value == 2.5
    assert found["ready.tls.2"].n == 2
    assert found["ready.ike.2"].value == 4.0
    assert found["ready.tls.3"].value == 9.0
    assert found["time_to_register.tls.2"].value == pytest.approx(175)
    assert found["packets_to_register.ike.2"].value == 16
    assert found["ike_messages.ike.2"].value == 10
    assert found["ike_messages.tls.2"].value == 0
    assert found["octets_to_register.tls.2"].value == 1200
    assert found["client_charon_memory.ike.2"].value == 3
    assert found["server_memory.tls.2"].value == 30
    assert "ready.ike.3" not in found


def test_ike_is_set_against_tls_within_each_repetition() -> None:
    late = start("ike", 1, 6.0, 1.0)
    found = figures([*STARTS, late, start("tls", 0, 9.0, 9.0, 9.0)])
    assert found["ike_over_tls.ready.2"].value == pytest.approx((4 / 2 + 6 / 3) / 2)
    assert found["ike_over_tls.ready.2"].n == 2
    assert "ike_over_tls.ready.2" in headlines.ratios("startup", found)
    assert found["ike_over_tls.octets_to_register.2"].value == pytest.approx(1600 / 1200)
    assert not any(name.startswith("ike_over_tls") for name in figures([start("tls", 0, 9.0)]))


def test_the_table_has_a_row_for_each_kind() -> None:
    assert [row[:3] for row in table(STARTS).rows] == [("tls", 2, 2), ("ike", 2, 1)]


def bar_of(*ready: float) -> str:
    return bars({"ready.tls.3": mean(ready, "s")})["bar.ready.tls.3"].unit


def test_a_bar_is_judged_by_its_interval_alone() -> None:
    assert bar_of(1.0, 1.1, 1.2, 1.1, 1.0) == "s, at most 2: met"
    assert bar_of(2.9, 3.1, 3.0, 2.9, 3.2) == "s, at most 2: missed"
    assert bar_of(1.0, 3.1, 1.0, 3.1, 1.9) == "s, at most 2: open"
    assert bar_of(1.0) == "s, at most 2: open"


def test_only_what_was_measured_by_tls_is_set_against_a_bar() -> None:
    assert bars(figures([*STARTS, start("ike", 0, 1.0, 1.0, 1.0)])) == {}
    found = bars(figures([start("tls", 0, *[1.0] * 64), start("tls", 0, 1.0, 1.0, 1.0)]))
    assert set(found) == {"bar.ready.tls.3", "bar.ready.tls.64"}


def test_a_missed_bar_does_not_make_a_run_fail() -> None:
    late = [start("tls", number, 9.0, 9.0, 9.0) for number in range(3)]
    (line,) = bar_lines(bars(figures(late)))
    assert line.startswith("bar.ready.tls.3: 9.00 ")
    assert line.endswith(" missed")
    assert all(one.held for one in invariants(late).values())


def test_samples_are_all_different() -> None:
    samples = [sample for one in STARTS for sample in one.samples()]
    keys = {(sample.name, *sorted(sample.labels.items())) for sample in samples}
    assert len(keys) == len(samples) > 0


def test_all_holds_of_starts_in_order() -> None:
    assert all(one.held for one in invariants(STARTS).values())


def test_a_process_that_ends_badly_is_told() -> None:
    bad = replace(STARTS[0], codes={"c1": 0, "c2": -9})
    found = invariants([*STARTS, bad])
    assert [name for name, one in found.items() if not one.held] == ["processes_end_in_order"]


def test_a_registration_by_the_other_control_is_told() -> None:
    wrong = replace(STARTS[2].clients["c1"], packets={**IKE, "TLS": 1})
    bad = replace(STARTS[2], clients={"c1": wrong})
    found = invariants([*STARTS, bad])
    broken = [name for name, one in found.items() if not one.held]
    assert broken == ["registrations_go_by_their_control_alone"]


def test_no_start_shows_nothing() -> None:
    assert not any(one.held for one in invariants([]).values())

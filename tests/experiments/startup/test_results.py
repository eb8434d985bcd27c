"""What starts give: figures by control and number of clients, and what must hold of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.startup.measure import Client, Control, Start
from experiments.startup.results import figures, invariants, table

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


def test_the_table_has_a_row_for_each_kind() -> None:
    assert [row[:3] for row in table(STARTS).rows] == [("tls", 2, 2), ("ike", 2, 1)]


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

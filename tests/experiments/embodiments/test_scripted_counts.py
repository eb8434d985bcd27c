"""Scripted counts: probe frames by interface and terminal, and rows of tables; nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.embodiments.scripted_counts import scripted_counts
from experiments.embodiments.seen import Seen
from experiments.records.record import COUNT, Figure
from tests.experiments.embodiments import seen as made


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return made.good(tmp_path_factory.mktemp("counted"))


def counted(seen: Seen) -> dict[str, float]:
    """Gives the counts without the beginning of their names."""
    return {
        name.removeprefix(COUNT): figure.value for name, figure in scripted_counts(seen).items()
    }


def test_packets_frames_and_rows_are_counted(good: Seen) -> None:
    counts = counted(good)
    frames = len(good.probes.round.frames())
    packets = {name: value for name, value in counts.items() if name.startswith("packets.")}
    # Every frame is captured on its way to the server and on its way from it.
    assert list(packets.values()) == [2 * frames]
    assert counts["frames.t1a"] == len(good.probes.received["t1a"]) > 0
    assert counts["rows.server.508"] == 2
    assert counts["rows.c1.308"] == counts["rows.c1.309"] == 1


def test_other_frames_in_the_capture_do_not_count(good: Seen, tmp_path: Path) -> None:
    plan, sent = good.plan, good.probes.round
    payload = made.payload_of(plan, "c1", made.association_of(1001, 77), bytes(80))
    stray = made.Datagram(made.address_of(plan, "c1"), made.address_of(plan, "server"), payload)
    path = tmp_path / "more.pcap"
    made.write_outside(path, [*made.sealed(plan, sent), stray])
    with_noise = replace(good, outside=path)
    assert len(with_noise.decoded) == len(good.decoded) + 1
    assert counted(with_noise) == counted(good)


def test_rows_of_who_was_counted_do_not_count(good: Seen) -> None:
    table = {"columns": ["client"], "rows": [[1], [2]]}
    statuses = {
        node: {**status, "tables": {**status["tables"], "clients counted": table}}
        for node, status in good.statuses.items()
    }
    assert counted(replace(good, statuses=statuses)) == counted(good)


def test_every_count_is_a_figure_that_is_exact(good: Seen) -> None:
    for name, figure in scripted_counts(good).items():
        assert name.startswith(COUNT)
        assert figure == Figure(figure.value, figure.value, figure.value, 1, "count")

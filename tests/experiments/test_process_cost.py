"""What a running server pays for a datagram: two looks, and what lies between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments import process_cost
from experiments.process_cost import Reading, between, main


def counting(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Has a process answer whose counters grow by ``step`` with each look."""
    seen = iter(range(100))

    def fetch(_: Path) -> dict[str, dict[str, int]]:
        value = next(seen) * step
        return {"counters": {"datagrams_in": value, "copies_out": 2 * value}}

    monkeypatch.setattr(process_cost, "fetch_status", fetch)


def test_the_difference_of_two_looks_is_the_cost() -> None:
    found = between(Reading(0, 1_000, 10, 20), Reading(2_000_000_000, 51_000, 15, 30))
    assert (found.seconds, found.datagrams_in, found.copies_out) == (2.0, 5, 10)
    assert found.ns_per_datagram_in == 10_000
    assert "5 datagrams in, 10 copies out" in found.describe()


def test_the_command_watches_a_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counting(monkeypatch, 7)
    assert main(["server.socket", str(os.getpid()), "--seconds", "0.01"]) == 0
    assert "7 datagrams in, 14 copies out" in capsys.readouterr().out


def test_without_a_datagram_there_is_no_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counting(monkeypatch, 0)
    assert main(["server.socket", str(os.getpid()), "--seconds", "0.01"]) == 1
    assert capsys.readouterr().err.startswith("process_cost: no datagram came in within")


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.socket", str(os.getpid())]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("process_cost: status socket nowhere.socket: ")

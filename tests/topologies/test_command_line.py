"""Mininet's command line understands the names that Plans may give to nodes."""

from __future__ import annotations

import pytest

from topologies.emulate import CommandLine


@pytest.mark.parametrize("name", ["c1", "guest-o", "office_k", "v1.2"])
def test_every_name_that_a_plan_allows_is_taken_for_one(name: str) -> None:
    line = CommandLine.__new__(CommandLine)  # its making would open it
    assert line.parseline(f"{name} ping -c 1 t2a")[:2] == (name, "ping -c 1 t2a")

"""What is said where strongSwan is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import __main__ as command
from nodes.ike import machine


def test_missing_files_are_told_by_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.touch()
    needed = {there: "one", tmp_path / "a": "two", tmp_path / "b": "two", tmp_path / "c": "three"}
    monkeypatch.setattr(machine, "NEEDED", needed)
    monkeypatch.setattr(machine, "PROGRAMS", {})
    assert machine.missing_packages() == ("two", "three")
    with pytest.raises(machine.IkeMissingError, match="missing Debian packages: two three"):
        machine.check_packages()


def test_an_experiment_without_the_packages_ends_with_3_and_their_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "missing_packages", lambda: ("strongswan-charon",))
    assert command.main(["run", "--topo", "single", "--control", "ike"]) == 3
    assert "CONTROL=ike: missing Debian packages: strongswan-charon" in capsys.readouterr().err

"""The whole command on an emulated network, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.records.record import load_record, load_summary
from experiments.startup import command
from nodes.ike.machine import missing_packages
from tests.experiments.runs import end, started

CONTROLS = ("tls",) if missing_packages() else ("tls", "ike")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (("--clients", "1"), "argument --clients: expected a whole number from 2 to 64, got 1"),
        (("--clients", "65"), "argument --clients: expected a whole number from 2 to 64, got 65"),
        (("--clients", "x"), "argument --clients: expected a whole number from 2 to 64, got x"),
        (("--control", "ssh"), "argument --control: invalid choice: 'ssh'"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    argument: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["startup", *argument])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_ike_without_its_packages_ends_with_3_and_their_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "missing_packages", lambda: ("strongswan-charon",))
    assert main(["startup", "--control", "ike"]) == 3
    assert "CONTROL=ike: missing Debian packages: strongswan-charon" in capsys.readouterr().err


@pytest.mark.emulated
def test_clients_are_started_and_measured_by_both_controls(tmp_path: Path) -> None:
    with started(tmp_path, "startup", "--quick", "--clients", "2") as process:
        ended = end(process)
    assert ended.code == 0, ended
    summary = load_summary(tmp_path / ended.folder)
    assert summary.ok
    figures = summary.figures
    assert figures["ready.tls.2"].n == 2
    assert figures["packets_to_register.tls.2"].value > 4
    assert figures["ike_messages.tls.2"].value == figures["client_charon_memory.tls.2"].value == 0
    assert len(load_record(tmp_path / ended.folder).tables[0].rows) == len(CONTROLS)
    if "ike" in CONTROLS:
        assert figures["ike_messages.ike.2"].value >= 4
        assert figures["client_charon_memory.ike.2"].value > 0
        assert figures["server_charon_memory.ike.2"].value > 0

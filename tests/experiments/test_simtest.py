"""The search for scripts of faults, as it is called."""

from __future__ import annotations

import shlex

import pytest

from experiments.simtest import main
from protocol.client.transfer import Transfer

REPLAYED = '["single", 1, [[2000, "replay", 0, 0, 30]]]'


def test_a_search_that_finds_nothing_says_what_it_has_reached(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--scripts", "25"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("25 scripts in ")
    assert "nothing violated" in said
    assert "crash" in said


def test_a_script_is_played_again_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    traces = []
    for _ in range(2):
        assert main(["--replay", REPLAYED]) == 0
        traces.append(capsys.readouterr().out)
    assert traces[0] == traces[1]


def test_what_is_found_is_short_and_printed_with_the_command_that_shows_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Transfer, "open", lambda *_: b"\xff" * 60)
    assert main(["--scripts", "20", "--topo", "single"]) == 1
    *violations, trace, again = capsys.readouterr().out.splitlines()
    assert any("opened a frame that nobody sent" in one for one in violations)
    command = shlex.split(again)
    assert command == [
        *("again:", "python", "-m", "experiments.simtest", "--replay"),
        '["single", 0, []]',
    ]
    assert main(command[4:]) == 1
    assert trace in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["{", '["nowhere", 1, []]', '["single", 1, [[0, "melt", 0, 0, 0]]]']
)
def test_a_script_that_is_none_is_refused_in_one_line(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--replay", text]) == 2
    said = capsys.readouterr().err
    assert said.startswith("simtest: script")
    assert said.count("\n") == 1

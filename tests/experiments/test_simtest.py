"""The search for scripts of faults, as it is called."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from experiments import simtest
from experiments.simtest import main
from protocol.client.transfer import Transfer
from simulator.faults import Script
from simulator.search import Played
from tests.experiments.planted import PLANTED
from tests.programs import CHECKOUT

REPLAYED = '["single", 1, [[2000, "replay", 0, 0, 30]], {"strip": "patent"}]'


def test_a_search_that_finds_nothing_says_what_it_has_reached(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--scripts", "25"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("25 scripts in ")
    assert "nothing violated" in said
    assert "reached: an SA is made" in said
    assert "all traces: " in said


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
        '["single", 0, [], {}]',
    ]
    assert main(command[4:]) == 1
    assert trace in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '["single", 1, []]',
        '["nowhere", 1, [], {}]',
        '["single", 1, [[0, "melt", 0, 0, 0]], {}]',
        '["single", 1, [], {"rekey": "sometimes"}]',
        '["single", 1, [], {"mac_reports": 1}]',
        '["single", 1, [], {"colour": "red"}]',
    ],
)
def test_a_script_that_is_none_is_refused_in_one_line(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--replay", text]) == 2
    said = capsys.readouterr().err
    assert said.startswith("simtest: script")
    assert said.count("\n") == 1


@pytest.mark.parametrize("option", ["--scripts", "--workers"])
def test_a_number_that_is_none_is_refused_in_one_line(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option, "0"])
    assert ended.value.code == 2
    said = f"argument {option}: expected a whole number from 1, got 0\n"
    assert capsys.readouterr().err == f"python -m experiments.simtest: {said}"


def test_any_number_of_workers_plays_the_same_scripts_under_any_hash_seed() -> None:
    said = []
    for hash_seed, workers in (("1", "1"), ("2", "2")):
        options = ("--scripts", "51", "--topo", "multicast", "--workers", workers)
        outcome = subprocess.run(
            [sys.executable, "-m", "experiments.simtest", *options],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=250,
            check=True,
        )
        said.append(outcome.stdout.splitlines()[1:])
    assert said[0] == said[1]
    assert said[0][-1].startswith("all traces: ")


@pytest.mark.parametrize("what", PLANTED)
def test_each_invariant_is_seen_to_break_and_shown_again(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left of the script has no more faults than the first that broke something.

    Hypothesis also draws numbers that stand in modules which happen to be loaded, so which scripts are drawn
    depends on the tests around: there are enough of them for any draw.
    """
    plant, topo, said = PLANTED[what]
    plant(monkeypatch)
    monkeypatch.setattr(simtest, "FAULTS", 4)
    monkeypatch.setattr(simtest, "LONGEST_MS", 2_000)
    monkeypatch.setattr(simtest, "STEPS", 60)
    broken: list[Script] = []
    original = simtest.play

    def play(script: Script) -> Played:
        played = original(script)
        if played.violations:
            broken.append(script)
        return played

    monkeypatch.setattr(simtest, "play", play)
    assert main(["--scripts", "500", "--topo", topo]) == 1
    *violations, trace, again = capsys.readouterr().out.splitlines()
    assert any(said in one for one in violations)
    replayed = shlex.split(again)[-1]
    assert len(Script.from_text(replayed).faults) <= len(broken[0].faults)
    assert main(["--replay", replayed]) == 1
    assert trace in capsys.readouterr().out

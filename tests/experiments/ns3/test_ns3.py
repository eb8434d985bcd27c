"""One scenario in three simulators: arrays, the engine's links, and ns-3 where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.isolation import MachineError
from experiments.ns3 import programs
from experiments.ns3.arrays import Outcome, simulate
from experiments.ns3.comparison import Compared
from experiments.ns3.scenario import Scenario, fan_out, read
from simulator.chance import Chance
from simulator.engine import Engine
from simulator.links import FRAMING, Direction
from simulator.packets import UDP, Packet

HEADERS = Packet(ip_address("3ffe::1"), ip_address("3ffe::2"), UDP, b"").length
END = 1 << 62
NO_NS3 = "ns-3 is not installed: Debian packages g++ and libns3-dev"


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return fan_out((2, 3, 2), frames=60, seed=3)


class Events:
    """The scenario in the engine, a packet at a time."""

    def __init__(self, scenario: Scenario) -> None:
        self.engine = Engine()
        self.scenario = scenario
        self.arrivals = np.full((len(scenario.times), len(scenario.clients)), -1, np.int64)
        self.loads = np.zeros((len(scenario.parents), 2, 2), np.int64)
        chance = Chance(1).stream("link")
        self.directions = {
            (link, side): Direction(
                self.engine, chance, partial(self._arrive, link, side), int(delay), int(rate), END
            )
            for link, (rate, delay) in enumerate(zip(scenario.rates, scenario.delays, strict=True))
            for side in (0, 1)
        }
        self.ways = [scenario.way_up(client) for client in range(len(scenario.clients))]
        for number, sender in enumerate(scenario.senders.tolist()):
            first = self.ways[sender][0]
            self.engine.at(int(scenario.times[number]), self._send, first, 0, number, sender)
        self.engine.run_while(lambda: len(self.engine) > 0, END)

    def _send(self, link: int, side: int, number: int, client: int) -> None:
        octets = int(self.scenario.octets[number])
        name = number.to_bytes(4, "big") + client.to_bytes(4, "big")
        payload = name.ljust(octets - HEADERS - FRAMING, b"\0")
        self.loads[link, side] += (1, octets)
        packet = Packet(ip_address("3ffe::1"), ip_address("3ffe::2"), UDP, payload)
        self.directions[link, side].send(packet)

    def _arrive(self, link: int, side: int, packet: Packet) -> None:
        number, client = (int.from_bytes(packet.payload[i : i + 4], "big") for i in (0, 4))
        way = self.ways[client]
        place = way.index(link)
        if side == 0 and link != way[-1]:
            self._send(way[place + 1], 0, number, client)
        elif side == 0:
            for other in range(len(self.ways)):
                if other != client:
                    self._send(self.ways[other][-1], 1, number, other)
        elif place:
            self._send(way[place - 1], 1, number, client)
        else:
            self.arrivals[number, client] = self.engine.now


def test_arrays_say_what_the_engine_says(scenario: Scenario) -> None:
    events, outcome = Events(scenario), simulate(scenario)
    assert np.array_equal(outcome.arrivals, events.arrivals)
    assert np.array_equal(outcome.loads, events.loads)
    assert np.sum(outcome.arrivals >= 0) == 60 * 11


def test_ns3_says_what_arrays_say(scenario: Scenario, tmp_path: Path) -> None:
    if shutil.which("g++") is None or not Path("/usr/include/ns3/core-module.h").exists():
        pytest.skip(NO_NS3)
    program = programs.compile_fanout(tmp_path)
    scenario.write(tmp_path / "small.txt")
    shape = (60, 12)
    ours = programs.run_arrays(tmp_path / "small.txt", shape)
    for scheduler in programs.SCHEDULERS:
        theirs = programs.run_ns3(program, tmp_path / "small.txt", shape, scheduler)
        assert np.array_equal(ours.arrivals, theirs.arrivals)
        assert np.array_equal(ours.loads, theirs.loads)


def test_a_scenario_is_read_as_it_was_written(scenario: Scenario, tmp_path: Path) -> None:
    scenario.write(tmp_path / "a.txt")
    again = read(tmp_path / "a.txt")
    assert all(np.array_equal(getattr(scenario, one), getattr(again, one)) for one in vars(again))
    text = (tmp_path / "a.txt").read_text(encoding="ascii")
    (tmp_path / "a.txt").write_text(text.rsplit(" ", 1)[0], encoding="ascii")
    with pytest.raises(ValueError, match="a.txt: expected a scenario"):
        read(tmp_path / "a.txt")


def test_the_busiest_link_is_as_busy_as_was_asked() -> None:
    scenario = fan_out((4, 8), frames=4_000, seed=1, load=0.5)
    busy = simulate(scenario).loads[:4, 1, 1] * 8 * 10**9 / scenario.rates[:4]
    assert busy.max() / scenario.times[-1] == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    ("fan", "frames", "load"), [((), 1, 0.5), ((1,), 1, 0.5), ((2, 0), 1, 0.5), ((2,), 1, 1.0)]
)
def test_a_tree_that_cannot_be_is_refused(fan: tuple[int, ...], frames: int, load: float) -> None:
    with pytest.raises(ValueError, match="fan-out: expected"):
        fan_out(fan, frames, 1, load)


def _one_packet_more(outcome: Outcome) -> Outcome:
    loads = outcome.loads.copy()
    loads[0, 0, 0] += 1
    return replace(outcome, loads=loads)


def _later(share: float, scenario: Scenario, outcome: Outcome) -> Outcome:
    arrivals = outcome.arrivals.copy()
    client = 0 if arrivals[0, 0] >= 0 else 1
    arrivals[0, client] += round(share * (arrivals[0, client] - scenario.times[0]))
    return replace(outcome, arrivals=arrivals)


def _missing(outcome: Outcome) -> Outcome:
    arrivals = outcome.arrivals.copy()
    arrivals[arrivals >= 0] = np.where(
        np.arange(np.sum(arrivals >= 0)) == 0, -1, arrivals[arrivals >= 0]
    )
    return replace(outcome, arrivals=arrivals)


@pytest.mark.parametrize(
    ("spoil", "broken"),
    [
        (lambda _, outcome: outcome, set()),
        (lambda _, outcome: _one_packet_more(outcome), {"x.loads_of_links_are_equal"}),
        (partial(_later, 0.005), set()),
        (partial(_later, 0.02), {"x.latencies_are_within_1_percent"}),
        (lambda _, outcome: _missing(outcome), {"x.latencies_are_within_1_percent"}),
    ],
)
def test_a_difference_breaks_its_invariant(
    scenario: Scenario, spoil: Callable[[Scenario, Outcome], Outcome], broken: set[str]
) -> None:
    found = Compared("x", "2 x 3 x 2", scenario)
    outcome = simulate(scenario)
    found.compare(outcome, spoil(scenario, outcome))
    assert {name for name, invariant in found.invariants() if not invariant.held} == broken


def test_without_a_compiler_the_machine_cannot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["ns3"]) == 3
    assert "missing program: g++ (Debian packages g++ and libns3-dev)" in capsys.readouterr().err


def test_without_ns3_the_machine_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "g++"
    compiler.write_text(
        "#!/bin/sh\necho 'fatal error: ns3/core-module.h: No such file or directory' >&2\nexit 1\n"
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MachineError, match="missing Debian package: libns3-dev"):
        programs.compile_fanout(tmp_path)


def test_a_negative_seed_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ns3", "--seed", "-1"])
    assert ended.value.code == 2
    assert "expected a whole number from 0, got -1" in capsys.readouterr().err

"""The search plays scripts, and its monitor sees each thing that must never be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.client.transfer import Transfer
from protocol.relay import Forward, Relay
from protocol.relay.verdicts import Verdict
from protocol.replay import ReplayWindow
from simulator.faults import KINDS, Fault, Script
from simulator.search import Play, Played
from simulator.world import WorldSettings
from topologies.catalog import CATALOG


def play(topo: str, *faults: Fault, settings: WorldSettings | None = None, seed: int = 1) -> Played:
    plan = CATALOG[topo](clients=4 if topo == "subgroups" else 3, terminals=1)
    return Play(plan, Script(topo, seed, faults), settings).run()


@pytest.mark.parametrize("topo", CATALOG)
def test_nothing_is_violated_when_nothing_goes_wrong(topo: str) -> None:
    assert play(topo).violations == ()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_is_survived(kind: str) -> None:
    played = play("cascade", *(Fault(500 * i, kind, i, 3_000, 31) for i in range(4)))
    assert played.violations == ()
    assert played.reached[kind] == 4


def test_everybody_comes_back_when_the_representative_does() -> None:
    assert play("cascade", Fault(0, "crash", 0, 10_000)).violations == ()


def test_a_probe_that_was_altered_on_its_way_is_counted() -> None:
    """A script that the search has found: the relay drops such a probe as a datagram."""
    again = tuple(Fault(0, "expel", 0, 0, 0) for _ in range(9))
    assert play("multiserver", *again, Fault(0, "corrupt", 1, 41, 59), seed=0).violations == ()


def test_the_same_script_has_the_same_fingerprint() -> None:
    faults = (Fault(0, "lose", 2, 5_000, 40), Fault(100, "crash", 1, 2_000))
    assert play("cascade", *faults).fingerprint == play("cascade", *faults).fingerprint


# -- negative controls: a world with one thing spoilt


def test_a_client_that_opens_what_nobody_sent_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transfer, "open", lambda *_: b"\xff" * 60)
    violations = play("single").violations
    assert any("opened a frame that nobody sent" in one for one in violations)


def test_a_window_that_takes_everything_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReplayWindow, "check", lambda *_: True)
    violations = play("single", Fault(2_000, "replay", 0, 0)).violations
    assert any("twice" in one for one in violations)


def test_a_relay_that_sends_more_than_it_counts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Relay.receive_datagram

    def doubled(self: Relay, datagram: Any, source: tuple[str, int], now: int) -> Verdict:
        verdict = original(self, datagram, source, now)
        if not verdict.destinations:
            return verdict
        return Forward((*verdict.destinations, verdict.destinations[0]))

    monkeypatch.setattr(Relay, "receive_datagram", doubled)
    violations = play("single").violations
    assert any("took" in one and "counted" in one for one in violations)


def test_a_client_that_does_not_show_where_it_is_is_lost_with_its_port() -> None:
    literal = WorldSettings(bindings=False)
    violations = play("single", Fault(0, "port", 0), settings=literal).violations
    assert any("after the quiet phase" in one and "0 times, due 1" in one for one in violations)


def test_without_a_rekey_an_expelled_client_is_still_kept_out() -> None:
    settings = replace(WorldSettings(), rekey="never")
    assert play("single", Fault(0, "expel", 0, 20_000), settings=settings).violations == ()


def test_the_texts_rule_of_forwarding_between_servers_loops() -> None:
    """Hole 2: without split horizon a frame goes round three servers for ever."""
    plan = CATALOG["cascade"](clients=3, terminals=1)
    literal = WorldSettings(split_horizon=False)
    played = Play(plan, Script("cascade", 1), literal, most_events=20_000).run()
    assert played.violations == ("more than 20000 events: a storm",)
    assert Play(plan, Script("cascade", 1), most_events=20_000).run().violations == ()

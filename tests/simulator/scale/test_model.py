"""Tests of simulator.scale.model, rekeying, latency, sizes and tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from simulator.scale.latency import draw_pairs, fan_out_ns
from simulator.scale.loads import WAYS, Way
from simulator.scale.model import Scenario, evaluate, exactness_of
from simulator.scale.networks import network
from simulator.scale.placement import place
from simulator.scale.rekeying import octets_to, rekey_cost
from simulator.scale.sizes import SizeError, sizes
from simulator.scale.trees import Paths

SMALL = Scenario(network="sndlib/germany50", clients=600, group_size=20, servers=5, seed=2)


def value(way: Way, name: str, scenario: Scenario = SMALL) -> float:
    """Returns a field's value, which must be there."""
    found = evaluate(replace(scenario, ways=(way,))).outcomes[way].fields[name].value
    assert found is not None
    return found


def test_the_same_scenario_gives_the_same_result_and_another_seed_another() -> None:
    one, same, other = (evaluate(replace(SMALL, seed=seed)).to_json() for seed in (1, 1, 2))
    assert json.dumps(one) == json.dumps(same)
    assert one["fields"] != other["fields"]


def test_every_field_says_how_exact_it_is() -> None:
    found = exactness_of([evaluate(SMALL)])
    assert {exactness for exactness, _ in found.values()} == {"exact", "asymptotic", "approximate"}
    assert found["busiest_server"][0] == found["link_octets"][0] == "exact"
    assert found["delay_p95"][0] == "approximate"
    assert all(note for exactness, note in found.values() if exactness != "exact")


def test_a_hub_carries_what_a_relay_does() -> None:
    result = evaluate(replace(SMALL, ways=("single", "hub")))
    assert result.outcomes["hub"].loads.links is result.outcomes["single"].loads.links


def test_servers_share_the_load_and_by_cascade_hold_fewer_rows() -> None:
    single, several, cascade = (
        value(way, "busiest_server") for way in WAYS if way not in ("hub", "multicast")
    )
    assert several < cascade < single
    assert value("cascade", "most_rows_507") < value("multiserver", "most_rows_507") == 600
    assert value("multicast", "busiest_server") == 0


def test_the_straight_way_has_no_stretch_and_a_detour_has() -> None:
    assert value("multicast", "stretch_p95") == 1
    assert value("single", "stretch_p95") > value("multiserver", "stretch_p95") > 1


def test_a_delivery_takes_as_long_as_the_links_on_its_way() -> None:
    paths = Paths(network(SMALL.network))
    placed = place(paths, 60, 6, 3, seed=1)
    pairs = draw_pairs(paths, placed, seed=1, count=500)
    assert np.array_equal(placed.groups[pairs.senders], placed.groups[pairs.receivers])
    assert (pairs.senders != pairs.receivers).all()
    for sender, receiver, straight in zip(*(vars(pairs)[k][:50] for k in vars(pairs)), strict=True):
        tree = paths.tree(int(placed.routers[sender]))
        arcs = tree.path(int(placed.routers[receiver]))
        assert straight == paths.routers.delays[arcs].sum()


def test_copies_leave_one_after_the_other() -> None:
    assert fan_out_ns(1000, 10, 1) == (1010, 1010)
    assert fan_out_ns(1000, 10, 99) == (1500, 1990)


def test_a_rekey_tells_all_who_stay() -> None:
    groups = np.array([3, 10])
    cost = rekey_cost("single", "on-leave", groups, 3600)
    assert cost.messages == 2 + 9
    assert rekey_cost("single", "on-change", groups, 3600).messages == 2 * cost.messages
    assert rekey_cost("single", "never", groups, 3600).messages == 0
    assert rekey_cost("hub", "on-leave", groups, 3600).messages == 0
    assert octets_to(12) - octets_to(11) == octets_to(1) + 1


def test_at_low_churn_each_leaving_is_a_rekey_and_at_high_churn_one_serves_for_many() -> None:
    groups = np.array([1000])
    assert rekey_cost("single", "on-leave", groups, 1e9).messages_a_second == pytest.approx(
        999 * 1000 / 1e9, rel=1e-3
    )
    assert rekey_cost("single", "on-leave", groups, 1.0).messages_a_second < 999 / 2


def test_a_group_with_more_members_than_sender_ids_has_no_rekey_to_speak_of() -> None:
    result = evaluate(replace(SMALL, clients=70_000, group_size=70_000, ways=("single", "hub")))
    field = result.outcomes["single"].fields["rekey_on-leave_messages"]
    assert field.value is None
    assert "sender IDs" in field.note
    assert result.outcomes["hub"].fields["rekey_on-leave_messages"].value == 0


def test_frames_that_need_cutting_are_refused() -> None:
    assert sizes(1360).to_server <= 1500
    assert sizes(1400, 4).multicast < sizes(1400, 4).to_server <= 1500
    with pytest.raises(SizeError, match="frames of 1361 octets: expected 14 to 1360"):
        sizes(1361)

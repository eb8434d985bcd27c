"""Who is due which probe frames: those of the sender's group and Sub ID."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from experiments.traffic.deliveries import Delivery
from experiments.traffic.probe import SIZES
from experiments.traffic.probing import BROADCAST, Round, mac_of, plan_round
from topologies.catalog import single, subgroups
from topologies.plan import Plan

PLAN = subgroups(terminals=2, second_group=2)
COUNT = 3


def planned(plan: Plan) -> Round:
    return plan_round(plan, COUNT, random.Random(1))


def due(plan: Plan, deliveries: Iterable[Delivery], sender: str) -> Counter[str]:
    """Counts what each terminal is due of one sender's frames to all."""
    number = planned(plan).plans[sender].sender
    return Counter(
        one.receiver
        for one in deliveries
        if one.frame.sender == number and one.frame.destination == bytes([0xFF] * 6)
    )


def test_a_frame_to_all_is_due_to_the_same_sub_id_and_to_no_other() -> None:
    expected = planned(PLAN).expected(PLAN)
    each = COUNT * len(SIZES)
    assert due(PLAN, expected, "t1a") == dict.fromkeys(("t1b", "t2a", "t2b", "t4a", "t4b"), each)
    assert due(PLAN, expected, "t3a") == {"t3b": each}
    assert due(PLAN, expected, "t5a") == dict.fromkeys(("t5b", "t6a", "t6b"), each)


def test_without_sub_ids_it_is_due_to_the_whole_group() -> None:
    plan = single(clients=4, terminals=2, second_group=2)
    reached = set(due(plan, planned(plan).expected(plan), "t1a"))
    assert reached == {"t1b", "t2a", "t2b", "t3a", "t3b", "t4a", "t4b"}


def test_a_frame_to_one_goes_to_the_next_client_of_the_same_sub_id() -> None:
    macs = {mac_of(PLAN, node): node.name for node in PLAN.terminals(1001)}
    targets = {
        sender: {
            macs[stream.destination] for stream in plan.streams if stream.destination != BROADCAST
        }
        for sender, plan in planned(PLAN).plans.items()
        if PLAN.node(sender).vpn_id == 1001
    }
    clients = {
        sender: {PLAN.client_of(one).name for one in found} for sender, found in targets.items()
    }
    assert clients == {"t1a": {"c2"}, "t2a": {"c4"}, "t3a": set(), "t4a": {"c1"}}

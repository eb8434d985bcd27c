"""A Plan in which two clients share a LAN."""

from __future__ import annotations

import pytest

from topologies.catalog import single
from topologies.plan import PlanError, Role
from topologies.shared_lan import share_lan

PLAN = single(clients=3, terminals=1, second_group=0)


def test_the_guest_hangs_on_the_others_lan_and_its_own_is_gone() -> None:
    plan = share_lan(PLAN, "c1", "c2")
    assert [node.name for node in plan.neighbours("l1", Role.CLIENT)] == ["c1", "c2"]
    assert [node.name for node in plan.terminals()] == ["t1a", "t3a"]
    assert plan.data_address("c2") == PLAN.data_address("c2")
    assert [node.name for node in plan.with_role(Role.LAN)] == ["l1", "l3"]


def test_a_guest_on_that_lan_already_has_none_of_its_own() -> None:
    with pytest.raises(PlanError, match="node c2: expected a LAN of its own, got that of c1"):
        share_lan(share_lan(PLAN, "c1", "c2"), "c1", "c2")


def test_the_guests_terminals_may_come_along() -> None:
    plan = single(clients=3, terminals=2)
    shared = share_lan(plan, "c1", "c2", with_terminals=True)
    on_it = {"t1a", "t1b", "t2a", "t2b"}
    assert {one.name for one in shared.terminals_of("c1")} == on_it
    assert {one.name for one in shared.terminals_of("c2")} == on_it
    assert shared.lan_interface("t2a") == plan.lan_interface("t2a")
    assert shared.terminals() == plan.terminals()

"""The rig, whole: real server, real members, counted and dropped where it must be."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from experiments.instrument.settings import choose_cores, kept_to
from experiments.isolation import MachineError
from tests.programs import output_of
from topologies.plan import PlanError
from topologies.rig import rig, unknown_neighbour


def test_the_plan_holds_every_server_behind_a_bridge_of_its_own() -> None:
    plan = rig(("null", "relay"), (3, 8))
    assert [server.name for server in plan.servers] == ["null", "relay"]
    assert [group.vpn_id for group in plan.groups] == [1003, 1008]
    assert len(plan.interfaces("members")[0].addresses) == 11
    assert unknown_neighbour(plan, "relay")[0] == "3ffe:2::dead"


@pytest.mark.parametrize("groups", [(3, 3), (1,), (64, 33), ()])
def test_groups_that_do_not_fit_are_refused(groups: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match="rig: groups"):
        rig(("relay",), groups)


def test_one_core_is_too_few() -> None:
    with kept_to(min(os.sched_getaffinity(0))), pytest.raises(MachineError, match="needs 2"):
        choose_cores()


def test_cores_are_put_back() -> None:
    before = os.sched_getaffinity(0)
    with kept_to(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


@pytest.mark.emulated
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nftables")
def test_a_window_counts_every_frame_and_copy_and_the_floor_none() -> None:
    found = json.loads(output_of("tests.experiments.instrument.rig_program"))
    assert found["unicast"] == [200, 200]
    assert found["broadcast"] == [200, 400]
    assert found["batches"] == [1000, 0, 1000, 2000]
    unicast, broadcast, floor = found["cpu"]
    assert 0 < floor + unicast < broadcast + unicast
    assert floor < unicast / 5
    assert found["floor"] == [200, 0]
    assert found["alone"]
    assert found["restored"]
    assert found["steered"] == [found["measured"]]

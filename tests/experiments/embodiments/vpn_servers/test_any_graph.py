"""On any graph faults, choices and invariants do their work, or say in words why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from experiments.deployment import Deployment, Settings
from experiments.embodiments.course import Parameters
from experiments.embodiments.seen import Seen
from experiments.embodiments.vpn_servers import addition, course, faults, invariants
from experiments.embodiments.vpn_servers.nearest import (
    Choices,
    choosers,
    equally_near,
    exchange,
    register_again,
)
from nodes.sections import DEFAULT_DATA_PORT
from tests.experiments.runs import end, started
from tests.topologies.test_graphml import COASTS, Edge, Given, written
from topologies.catalog import cascade, multiserver
from topologies.graphml import read_plan
from topologies.plan import Node, Plan
from topologies.sites import swap_delays

ROUTER: Given = {"role": "router"}
SITE: dict[str, Given] = {
    "r": ROUTER,
    "s": {"role": "server"},
    "v": {"role": "relay"},
    "one": {"role": "client", "vpn_id": 7},
    "two": {"role": "client", "vpn_id": 7},
}
SITE_EDGES: list[Edge] = [(name, "r", {}) for name in SITE if name != "r"]
PARAMETERS = Parameters(True, 1, False, "segmented", Settings())


def planned(folder: Path, nodes: Mapping[str, Given], edges: list[Edge]) -> Plan:
    """One site with a VPN server and two clients, and what else there is."""
    graph = {"topo": "cascade"}
    return read_plan(written(folder, {**SITE, **nodes}, [*SITE_EDGES, *edges], graph), terminals=1)


class Placed:
    """A deployment whose clients say that they have the servers that they are given."""

    def __init__(self, plan: Plan, servers: Mapping[str, str]) -> None:
        self.plan = plan
        self.servers = dict(servers)
        self.started: Counter[str] = Counter()

    def status(self, client: str) -> dict[str, Any]:
        address = self.plan.data_address(self.servers[client])
        rows = [[f"[{address}]:{DEFAULT_DATA_PORT}"]]
        return {"tables": {"309 VPN information": {"columns": ["server"], "rows": rows}}}

    def start(self, client: Node) -> None:
        self.started[client.name] += 1

    def end(self, client: str) -> None:
        assert client in self.servers

    def wait(self, client: str, state: str) -> None:
        assert (client in self.servers, state) == (True, "registered")

    def as_deployment(self) -> Deployment:
        return cast(Deployment, self)


# -- which servers are the nearest


@pytest.mark.parametrize(
    ("delay_ms", "names"),
    [(0, {"v", "w"}), (0.25, {"v", "w"}), (0.251, {"v"}), (5, {"v"})],
)
def test_servers_whose_round_trips_differ_by_half_a_millisecond_are_equally_near(
    tmp_path: Path, delay_ms: float, names: set[str]
) -> None:
    edges: list[Edge] = [("w", "r", {"delay_ms": delay_ms})]
    plan = planned(tmp_path, {"w": {"role": "relay"}}, edges)
    assert equally_near(plan, "one") == names
    assert bool(choosers(plan)) == (names == {"v"})


def test_in_the_example_the_two_servers_of_the_east_are_equally_near() -> None:
    plan = read_plan(COASTS)
    east = {"vpn-e1", "vpn-e2"}
    near = {client.name: equally_near(plan, client.name) for client in plan.clients()}
    assert near.pop("harbour") == near.pop("guest-w") == {"vpn-w"}
    assert set(map(frozenset, near.values())) == {frozenset(east)}
    swapped = exchange(plan)
    assert swapped is not None
    assert (swapped.one, swapped.other) == ("vpn-w", "vpn-e1")
    # Those of the east have the other server there still: only the west's two change for certain.
    assert swapped.clients == ["harbour", "guest-w"]


@pytest.mark.parametrize("servers", [2, 3, 4])
def test_the_exchange_that_shows_most_is_of_two_servers_with_clients(servers: int) -> None:
    plan = multiserver(clients=6, terminals=1, servers=servers)
    found = exchange(plan)
    assert found is not None
    assert found.plan == swap_delays(plan, found.one, found.other)
    assert {plan.nearest(client) for client in found.clients} == {found.one, found.other}


def test_without_a_difference_of_delay_there_is_no_exchange_and_nobody_has_a_choice(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, {"w": {"role": "relay"}}, [("w", "r", {})])
    assert exchange(plan) is None
    made = register_again(Placed(plan, {"one": "v", "two": "w"}).as_deployment(), 20)
    assert made == Choices(0, 0)


def test_one_server_is_nothing_to_choose_from() -> None:
    plan = cascade(clients=2, terminals=1, servers=1)
    assert exchange(plan) is None
    assert choosers(plan) == []


def test_only_clients_that_have_a_choice_register_again_and_each_choice_counts(
    tmp_path: Path,
) -> None:
    nodes: dict[str, Given] = {
        "far": ROUTER,
        "q": ROUTER,
        "w": {"role": "relay"},
        "mid": {"role": "client", "vpn_id": 7},
    }
    edges: list[Edge] = [
        ("far", "r", {"delay_ms": 3}),
        ("w", "far", {}),
        ("q", "r", {"delay_ms": 2}),
        ("q", "far", {"delay_ms": 2}),
        ("mid", "q", {}),
    ]
    plan = planned(tmp_path, nodes, edges)
    assert [client.name for client in choosers(plan)] == ["one", "two"]
    placed = Placed(plan, {"one": "v", "two": "w", "mid": "w"})
    assert register_again(placed.as_deployment(), 6) == Choices(3, 6)
    assert placed.started == {"one": 2, "two": 2}


# -- faults


def test_the_stream_goes_to_a_client_with_another_server_where_there_is_one() -> None:
    plan = cascade(clients=3, terminals=1, second_group=0, servers=2)
    placed = Placed(plan, {"c1": "a", "c2": "a", "c3": "b"})
    assert faults.far_apart(placed.as_deployment()) == ("t1a", "t3a")
    placed.servers["c3"] = "a"
    assert faults.far_apart(placed.as_deployment()) == ("t1a", "t2a")


def test_without_a_client_that_the_stream_does_not_need_nobody_starts_anew(tmp_path: Path) -> None:
    plan = planned(tmp_path, {}, [])
    assert faults._bystander(plan, "t1a", "t2a") is None
    three = cascade(clients=3, terminals=1, second_group=0)
    found = faults._bystander(three, "t1a", "t3a")
    assert found is not None
    assert found.name == "c2"


@pytest.mark.parametrize(
    ("waited", "held", "said"),
    [
        (True, True, "registered again"),
        (False, False, "registered again"),
        (None, True, "not applicable: "),
    ],
)
def test_a_registration_that_did_not_wait_breaks_and_one_that_was_not_made_does_not(
    waited: bool | None, held: bool, said: str
) -> None:
    lost = faults.RepresentativeLoss(4.0, 0, 0, frozenset("a"), frozenset("b"), [], waited)
    found = addition._of_representative(lost)["registrations_wait_for_the_representative"]
    assert found.held is held
    assert found.detail.startswith(said)


def test_a_fault_that_cannot_be_made_and_choices_that_nobody_has_are_said() -> None:
    (lost,) = addition._of_server(None).values()
    assert (lost.held, lost.detail) == (True, "not applicable: there is no other server")
    nobody = addition._as_invariant(Choices(0, 0))
    assert nobody.held
    assert nobody.detail.startswith("not applicable: ")
    assert not addition._as_invariant(Choices(19, 20)).held
    assert not addition._as_invariant(Choices(19, 19)).held


def test_a_network_without_an_exchange_is_not_built_again() -> None:
    found = course._swapped(cascade(clients=2, terminals=1, servers=1), PARAMETERS)
    assert found.held
    assert found.detail.startswith("not applicable: ")


# -- invariants


def seen_with(plan: Plan, servers: Mapping[str, str], copies: int = 0) -> Seen:
    """What is seen of clients that have these servers, which have sent each other ``copies``."""
    placed = Placed(plan, servers)

    def column(client: str, table: str, name: str) -> list[str]:
        assert (table, name) == ("309", "server")
        rows = placed.status(client)["tables"]["309 VPN information"]["rows"]
        return [row[0] for row in rows]

    seen = SimpleNamespace(
        plan=plan,
        clients=[client.name for client in plan.clients()],
        forwarders=[relay.name for relay in plan.relays],
        column=column,
        counter=lambda *_: copies,
        outside=None,
    )
    return cast(Seen, seen)


def test_either_of_two_equally_near_servers_is_a_clients_nearest(tmp_path: Path) -> None:
    nodes: dict[str, Given] = {"w": {"role": "relay"}, "x": {"role": "relay"}}
    plan = planned(tmp_path, nodes, [("w", "r", {}), ("x", "r", {"delay_ms": 5})])
    check = invariants.clients_have_their_nearest
    assert check(seen_with(plan, {"one": "v", "two": "w"})).held
    assert check(seen_with(plan, {"one": "w", "two": "w"})).held
    found = check(seen_with(plan, {"one": "v", "two": "x"}))
    assert not found.held
    assert found.detail.endswith("nearest is v or w")


@pytest.mark.parametrize(("copies", "held"), [(0, True), (1, False)])
def test_where_one_server_holds_each_group_no_copy_may_go_to_another(
    monkeypatch: pytest.MonkeyPatch, copies: int, held: bool
) -> None:
    plan = cascade(clients=2, terminals=1, second_group=2, servers=2)
    monkeypatch.setattr(invariants, "udp_payloads", lambda *_: [])
    seen = seen_with(plan, {"c1": "a", "c2": "a", "c3": "b", "c4": "b"}, copies)
    found = invariants.one_copy_to_each_server(seen)
    assert found.held is held
    assert found.detail.startswith("not applicable: ")
    spread = seen_with(plan, {"c1": "a", "c2": "b", "c3": "b", "c4": "b"}, 1)
    # One group is held by two servers: then silence between them is a fault.
    assert not invariants.one_copy_to_each_server(spread).held


# -- the whole course


@pytest.mark.emulated
@pytest.mark.timeout(600)
def test_one_vpn_server_and_two_clients_are_enough_for_the_whole_course(tmp_path: Path) -> None:
    path = written(tmp_path, SITE, SITE_EDGES, {"topo": "cascade"})
    arguments = ("run", "--quick", "--topo", str(path), "--terminals", "1")
    module = "tests.experiments.embodiments.vpn_servers.small_run"
    with started(tmp_path, *arguments, module=module) as process:
        ended = end(process, 500)
    assert ended.code == 0, ended
    summary = msgspec.json.decode((tmp_path / ended.folder / "summary.json").read_bytes())
    not_applicable = {
        name
        for name, invariant in summary["invariants"].items()
        if invariant["detail"].startswith("not applicable: ")
    }
    assert not_applicable == {
        "clients_of_a_lost_server_go_on_by_another",
        "group_with_same_addresses_is_not_touched",
        "one_copy_to_each_server",
        "registrations_wait_for_the_representative",
        "the_nearest_is_chosen_each_time",
        "the_nearest_is_chosen_when_delays_are_swapped",
    }

"""What a run with cut links says of the gaps."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from experiments.deployment import Settings
from experiments.embodiments.course import Parameters
from experiments.embodiments.multicast import link_cuts, pim_addition
from experiments.embodiments.multicast.link_cuts import LinkCut, cut_links
from experiments.embodiments.multicast.pim_addition import PimAddition
from tests.topologies.test_graphml import Edge, Given, written
from topologies.emulate import Network
from topologies.graphml import read_plan
from topologies.plan import Link


def addition(monkeypatch: pytest.MonkeyPatch, cuts: list[LinkCut]) -> tuple[PimAddition, Any]:
    """Makes the addition and lets it "cut" links; returns it and the invariant."""
    done: list[str] = []
    monkeypatch.setattr(pim_addition, "raise_trees", lambda *_: done.append("raised"))
    # Links are cut of trees that stand, or there is none to cut.
    monkeypatch.setattr(pim_addition, "cut_links", lambda *_: cuts if done == ["raised"] else [])
    made = PimAddition(Parameters(True, 1, False, "segmented", Settings()))
    deployment = cast(Any, type("Nothing", (), {"network": None}))
    progress = cast(Any, type("Silent", (), {"step": lambda *_, **__: None})())
    (held,) = made.after(deployment, Path(), progress).values()
    return made, held


def test_every_cut_passed_by_holds_and_gives_the_mean_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = [LinkCut("m1-m2", True, True, 0.01, gap) for gap in (0.1, 0.2, 0.6)]
    cuts.append(LinkCut("m1-m3", False, True, 0.02, 3.0))
    made, invariant = addition(monkeypatch, cuts)
    assert invariant.held
    figures = made.figures()
    after = figures["gap_after_link_cut"]
    assert after.value == pytest.approx(0.3)
    assert after.low < after.value < after.high
    assert (after.n, after.unit) == (3, "s")
    assert figures["gap_after_unseen_link_cut"].value == 3.0
    assert figures["gap_before_link_cut"].n == 4
    assert len(list(made.samples())) == 8


def test_where_no_link_has_a_way_round_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made, invariant = addition(monkeypatch, [])
    assert invariant.held
    assert invariant.detail.startswith("not applicable: ")
    assert made.figures() == {}


def test_one_cut_that_frames_do_not_pass_breaks_the_invariant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, invariant = addition(monkeypatch, [LinkCut("m1-m2", True, False, 0.01, 0.0)])
    assert not invariant.held
    assert "m1-m2 (seen): no frames any more" in invariant.detail
    assert list(made.figures()) == ["gap_before_link_cut"]


MULTICAST: Given = {"role": "router", "multicast": "true"}
TAILED: dict[str, Given] = {
    "s": {"role": "server"},
    **dict.fromkeys(("ma", "mb", "mc", "tail"), MULTICAST),
    **{name: {"role": "client", "vpn_id": 1} for name in ("a", "b")},
    **{name: {"role": "client", "vpn_id": 2} for name in ("x", "y", "z")},
}
TAILED_EDGES: list[Edge] = [
    *((one, other, {}) for one, other in (("s", "ma"), ("mc", "tail"), ("ma", "mb"), ("mb", "mc"))),
    *((name, "tail", {}) for name in ("a", "b", "y")),
    *((name, router, {}) for name, router in (("x", "ma"), ("z", "mc"))),
]


@pytest.mark.parametrize(
    ("closing", "cut"), [([], set()), ([("mc", "ma", {})], {"ma-mc"})], ids=["line", "ring"]
)
def test_only_links_with_a_way_round_are_cut_of_the_first_tree_that_has_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closing: list[Edge], cut: set[str]
) -> None:
    plan = read_plan(written(tmp_path, TAILED, [*TAILED_EDGES, *closing]), terminals=1)
    routes = {router: plan.multicast_routes(router) for router in plan.multicast_routers}
    monkeypatch.setattr(link_cuts, "read_routes", lambda *_: routes)
    made: list[tuple[str, str]] = []

    def cut_once(stage: Any, _whole: Any, link: Link, seen: bool) -> LinkCut:
        made.append((stage.source.name, link.name))
        assert stage.receivers == ["t4a", "t5a"]
        return LinkCut(link.name, seen, True, 0.0, 0.1)

    monkeypatch.setattr(link_cuts, "_cut_once", cut_once)
    network = cast(Network, SimpleNamespace(plan=plan, pid=None))
    found = cut_links(network, tmp_path / "cuts", random.Random(1), 5, 5)
    # The first group's clients are all on one router, and only the tail's link leads there.
    assert {link for _, link in made} == cut
    assert {source for source, _ in made} == ({"x"} if cut else set())
    assert len(found) == (10 if cut else 0)

"""Embodiment 2: the course of a run, its figures, and the verdicts on C2 and E2.

Patent: Figs. 11, 12-1, 12-2; claim 2; effect E2.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from experiments.deployment import Deployment, deploy
from experiments.embodiments import claims
from experiments.embodiments.addition import Addition
from experiments.embodiments.course import (
    STEPS,
    Parameters,
    Vantage,
    counts,
    memory_figures,
    record_of,
    walk,
)
from experiments.embodiments.scripted_counts import scripted_counts
from experiments.embodiments.seen import Seen
from experiments.embodiments.subgroups.costs import rekey_costs
from experiments.embodiments.subgroups.invariants import SUBGROUP_INVARIANTS
from experiments.embodiments.subgroups.moves import (
    FLOWING_FRAMES,
    Delivered,
    Expulsion,
    Moves,
    delivered,
    expel,
    move_there_and_back,
)
from experiments.embodiments.subgroups.page import administering
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.environment import utc_now
from experiments.records.record import Claim, Figure, Invariant, Record, Sample, Summary, summarise
from experiments.traffic.steady import streaming
from topologies.emulate import Network, emulate
from topologies.plan import Kind, Plan

QUICK_MOVES, FULL_MOVES = 2, 20
MOVING = ("a user is moved there and back", "a user is expelled", "delivery to holders alone")
_SHOWS_C2 = (
    "moved_user_opens_the_next_frames",
    "user_moved_back_opens_none",
    "those_who_stay_lose_no_frame",
    "expelled_users_keys_open_nothing",
)


def steps(quick: bool) -> int:
    """Returns how many steps a run and its report have."""
    return len(STEPS) + 3


class MovesAddition(Addition):
    """Moves and expels users once everything common was seen."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.moves: Moves | None = None
        self.expulsion: Expulsion | None = None

    def after(
        self, deployment: Deployment, private: Path, progress: Progress
    ) -> dict[str, Invariant]:
        """Has an administrator change Sub IDs on the page while frames flow, and then expel a user."""
        times = QUICK_MOVES if self._parameters.quick else FULL_MOVES
        vpn_id = deployment.plan.groups[0].vpn_id
        with administering(deployment, vpn_id) as page:
            progress.step(MOVING[0], weight=0)
            self.moves = move_there_and_back(deployment, private / "moves", page, times)
            progress.step(MOVING[1], weight=0)
            self.expulsion = expel(deployment, private / "expulsion", page)
        return {**_of_moves(self.moves), **_of_expulsion(self.expulsion)}


def run(
    plan: Plan, parameters: Parameters, folder: Path, progress: Progress
) -> tuple[Record, Summary]:
    """Builds the network, lets frames flow, changes who may read them, and returns what was seen."""
    started = utc_now()
    addition = MovesAddition(parameters)
    seen, links, invariants = walk(
        plan, parameters, folder, progress, _vantage, SUBGROUP_INVARIANTS, addition
    )
    progress.step(MOVING[2])
    assert addition.moves is not None
    ways = {"patent": addition.moves.delivered, "spi": _to_holders(plan, parameters)}
    invariants["delivery_to_holders_wastes_no_copy"] = _of_ways(ways)
    progress.step("what a rekey costs")
    figures = {
        **_figures(seen),
        **dict(_move_figures(addition.moves)),
        **dict(_way_figures(ways)),
        **scripted_counts(seen),
    }
    for cost in rekey_costs():
        figures |= cost.figures()
    record = record_of(plan, parameters, seen, links, started)
    record = structs.replace(record, samples=(*record.samples, *_samples(addition.moves)))
    verdicts = {**claims.structure(invariants), **_verdicts(invariants, figures)}
    return record, summarise(plan.name, invariants, figures, verdicts)


def _vantage(network: Network) -> Vantage:
    """Captures where the server is linked to the network."""
    (server,) = network.plan.servers
    interfaces = network.plan.interfaces(server.name, Kind.OUTSIDE)
    return {server.name: [interface.name for interface in interfaces]}


def _to_holders(plan: Plan, parameters: Parameters) -> Delivered:
    """Has the first client send to all, where the relay sends only to those who can read it."""
    settings = replace(parameters.settings, member_delivery="spi")
    first, second, *_ = plan.clients(plan.groups[0].vpn_id)
    sender, listener = (plan.terminals_of(one.name)[0].name for one in (first, second))
    other = plan.terminals_of(plan.clients(plan.groups[0].vpn_id)[-1].name)[0].name
    with (
        tempfile.TemporaryDirectory(prefix="blindrelay-", dir="/run") as private,
        emulate(plan) as network,
        deploy(network, Path(private), settings) as deployment,
    ):
        at_first = delivered(deployment)
        with streaming(network, Path(private) / "stream", sender, [listener, other]) as stream:
            stream.wait_for_frames(2 * FLOWING_FRAMES)
        return delivered(deployment).since(at_first)


# -- what must hold


def _of_moves(moves: Moves) -> dict[str, Invariant]:
    opened = [move.opened_after / 1e6 for move in moves.moves if move.opened_after is not None]
    late = sum(move.heard_after_leaving for move in moves.moves)
    total = len(moves.moves)
    said = ", ".join(f"{each:.0f}" for each in opened[:5])
    return {
        "other_sub_id_opens_nothing": Invariant(
            moves.before == 0, f"{moves.before} frames came before the first move"
        ),
        "moved_user_opens_the_next_frames": Invariant(
            len(opened) == total > 0, f"{len(opened)} of {total} moves, after {said} ms"
        ),
        "user_moved_back_opens_none": Invariant(
            late == 0 < total, f"{late} frames came after {total} moves back"
        ),
        "those_who_stay_lose_no_frame": Invariant(
            moves.sent > 0 and not moves.missing and not moves.repeated,
            f"{moves.sent} frames came, {moves.missing} missing, {moves.repeated} repeated, "
            f"over {2 * total} changes",
        ),
    }


def _of_expulsion(gone: Expulsion) -> dict[str, Invariant]:
    return {
        "expelled_user_is_out": Invariant(
            gone.code == 1, f"its client ended with code {gone.code}: {gone.words}"
        ),
        "expelled_users_keys_open_nothing": Invariant(
            gone.opened_before > 0 == gone.opened_after and gone.opened_by_member > 0,
            f"its keys open {gone.opened_before} frames captured before, {gone.opened_after} "
            f"after; a member's open {gone.opened_by_member} of those",
        ),
    }


def _of_ways(ways: Mapping[str, Delivered]) -> Invariant:
    patent, spi = ways["patent"], ways["spi"]
    detail = (
        f"to the whole group {patent.unreadable} of {patent.copies} copies in vain, "
        f"to holders {spi.unreadable} of {spi.copies}"
    )
    return Invariant(patent.unreadable > 0 == spi.unreadable and spi.copies > 0, detail)


# -- figures and verdicts


def _figures(seen: Seen) -> dict[str, Figure]:
    return counts(
        {
            "probe_deliveries": (len(seen.probes.expected), "frames"),
            **memory_figures(seen),
        }
    )


def _move_figures(moves: Moves) -> Iterator[tuple[str, Figure]]:
    opened = [move.opened_after / 1e6 for move in moves.moves if move.opened_after is not None]
    for name, values in (
        ("click_to_first_frame_opened", opened),
        ("click_answered", [move.answer_took / 1e6 for move in moves.moves]),
    ):
        if values:
            yield name, figures_of.mean(values, "ms")
    yield "frames_lost_over_changes", figures_of.exact(moves.missing, "frames")
    yield "changes_under_load", figures_of.exact(2 * len(moves.moves), "changes")


def _way_figures(ways: Mapping[str, Delivered]) -> Iterator[tuple[str, Figure]]:
    for way, sent in ways.items():
        share = sent.unreadable / max(1, sent.copies)
        yield f"unreadable_copies.{way}", figures_of.exact(share, "share of copies")
        each = sent.octets_unreadable / max(1, sent.copies)
        yield f"unreadable_octets.{way}", figures_of.exact(each, "octets a copy")


def _samples(moves: Moves) -> Iterator[Sample]:
    for number, move in enumerate(moves.moves, 1):
        if move.opened_after is not None:
            yield Sample("move.opened_after", move.opened_after, "ns", {"move": str(number)})
        yield Sample("move.answer_took", move.answer_took, "ns", {"move": str(number)})


def _verdicts(
    invariants: Mapping[str, Invariant], figures: Mapping[str, Figure]
) -> dict[str, Claim]:
    broken = [name for name in _SHOWS_C2 if not invariants[name].held]
    if broken:
        claim = Claim("refuted", f"did not hold: {', '.join(broken)}")
        return {"C2": claim, "E2": claim}
    opened = figures["click_to_first_frame_opened"]
    lost = figures["frames_lost_over_changes"].value
    changes = figures["changes_under_load"].value
    return {
        "C2": Claim("confirmed", f"held: {', '.join(_SHOWS_C2)}"),
        "E2": Claim(
            "confirmed",
            f"{opened.value:.0f} ms from an administrator's click to the first frame opened; "
            f"{lost:.0f} frames lost by those who stayed, over {changes:.0f} changes",
        ),
    }

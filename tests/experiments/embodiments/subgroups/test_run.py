"""Embodiment 2 as it is run: all invariants hold, and a server that never rekeys is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.embodiments.subgroups.invariants import SUBGROUP_INVARIANTS
from experiments.records.record import Summary, load_record, load_summary
from tests.experiments.runs import Ended, end, started

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(600)]

ARGUMENTS = ("run", "--quick", "--topo", "subgroups", "--clients", "4", "--terminals", "1")
DEADLINE = 500.0
"""Such a run takes half a minute on a machine of its own; tests often have none."""
OF_CHANGES = {
    "other_sub_id_opens_nothing",
    "moved_user_opens_the_next_frames",
    "user_moved_back_opens_none",
    "those_who_stay_lose_no_frame",
    "expelled_user_is_out",
    "expelled_users_keys_open_nothing",
    "delivery_to_holders_wastes_no_copy",
}


def run(folder: Path, module: str = "experiments") -> tuple[Ended, Summary]:
    with started(folder, *ARGUMENTS, module=module) as process:
        ended = end(process, DEADLINE)
    assert ended.output.splitlines()[-1].startswith("results: "), ended
    return ended, load_summary(folder / ended.folder)


def broken(summary: Summary) -> dict[str, str]:
    return {name: one.detail for name, one in summary.invariants.items() if not one.held}


def test_all_invariants_hold_and_both_claims_are_confirmed(tmp_path: Path) -> None:
    ended, summary = run(tmp_path)
    assert broken(summary) == {}
    assert ended.code == 0, ended
    assert {*SUBGROUP_INVARIANTS, *OF_CHANGES} < set(summary.invariants)
    assert {summary.claims[name].verdict for name in ("C2", "E2")} == {"confirmed"}
    assert summary.figures["frames_lost_over_changes"].value == 0
    assert summary.figures["unreadable_copies.patent"].value == pytest.approx(1 / 3, abs=0.02)
    assert summary.figures["unreadable_copies.spi"].value == 0
    assert summary.figures["rekey_messages.128_members"].value == 129
    record = load_record(tmp_path / ended.folder)
    assert record.parameters["rekey"] == "on-leave"
    assert "move.opened_after" in {sample.name for sample in record.samples}


def test_without_rekeying_an_expelled_user_is_found_to_go_on_reading(tmp_path: Path) -> None:
    ended, summary = run(tmp_path, "tests.experiments.embodiments.subgroups.never_run")
    assert set(broken(summary)) == {"expelled_users_keys_open_nothing"}
    assert ended.code == 1
    assert {summary.claims[name].verdict for name in ("C2", "E2")} == {"refuted"}
    assert "expelled_users_keys_open_nothing" in ended.output
    assert "Traceback" not in ended.errors

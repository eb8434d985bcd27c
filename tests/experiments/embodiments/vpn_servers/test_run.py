"""Embodiments 4 and 5 as they are run: all invariants hold, and one faulty VPN server is found.

Patent: Figs. 15-19; effects E4, E5.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from experiments.embodiments.vpn_servers.invariants import invariants_of
from experiments.records.record import Summary, load_record, load_summary
from tests.experiments.runs import Ended, end, started

# A run of each way goes on beside another; a first test waits for two of them.
pytestmark = [pytest.mark.emulated, pytest.mark.timeout(600)]

SMALL = ("run", "--quick", "--clients", "3", "--terminals", "1")
SOUND = "tests.experiments.embodiments.vpn_servers.small_servers"
FAULTY = "tests.experiments.embodiments.vpn_servers.faulty_run"
DEADLINE = 500.0
AFTERWARDS = {
    "no_server_process_holds_a_live_key",
    "the_nearest_is_chosen_each_time",
    "the_nearest_is_chosen_when_delays_are_swapped",
    "frames_go_on_without_the_representative",
    "registrations_wait_for_the_representative",
    "representative_comes_back_with_new_keys",
    "no_sender_id_is_given_twice_under_a_key",
    "clients_of_a_lost_server_go_on_by_another",
    "processes_end_in_order",
}

Runs = tuple[Path, dict[str, Ended]]


def side_by_side(folder: Path, runs: dict[str, tuple[str, ...]]) -> Runs:
    """Has runs (module and arguments by name) go on at the same time, and waits for their ends."""
    with ExitStack() as stack:
        going = {
            name: stack.enter_context(started(folder, *arguments, module=module))
            for name, (module, *arguments) in runs.items()
        }
        return folder, {name: end(process, DEADLINE) for name, process in going.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs both ways with two servers."""
    options = (*SMALL, "--servers", "2")
    return side_by_side(
        tmp_path_factory.mktemp("sound"),
        {
            "multiserver": (SOUND, *options, "--topo", "multiserver"),
            "cascade": (SOUND, *options, "--topo", "cascade", "--strip", "patent"),
        },
    )


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs with one faulty server of three, so that there is a third to send on to."""
    return side_by_side(
        tmp_path_factory.mktemp("faulty"),
        {
            "altered": (FAULTY, "altered", *SMALL, "--topo", "multiserver"),
            "onward": (FAULTY, "onward", *SMALL, "--topo", "cascade"),
        },
    )


def summary_of(runs: Runs, name: str) -> Summary:
    folder, ended = runs
    return load_summary(folder / ended[name].folder)


def broken(summary: Summary) -> set[str]:
    return {name for name, invariant in summary.invariants.items() if not invariant.held}


@pytest.mark.parametrize(("topo", "delivery"), [("multiserver", "direct"), ("cascade", "cascade")])
def test_all_invariants_hold_and_the_effect_has_a_verdict(
    sound: Runs, topo: str, delivery: str
) -> None:
    _, ended = sound
    assert ended[topo].code == 0, ended[topo]
    summary = summary_of(sound, topo)
    assert broken(summary) == set()
    assert set(summary.invariants) == invariants_of(delivery).keys() | AFTERWARDS
    effects = {"multiserver": "E4", "cascade": "E5"}
    # A busy machine may place clients unevenly, which tells nothing.
    assert summary.claims[effects.pop(topo)].verdict in ("confirmed", "inconclusive")
    assert [summary.claims[name].verdict for name in effects.values()] == ["not tested"]
    assert summary.claims["C1"].verdict == "confirmed"


def test_copies_go_between_servers_by_cascade_alone(sound: Runs) -> None:
    copies = {
        topo: summary_of(sound, topo).figures["copies_between_servers"].value
        for topo in ("multiserver", "cascade")
    }
    assert copies["multiserver"] == 0 < copies["cascade"]


def test_record_and_report_have_every_server_of_every_point(sound: Runs) -> None:
    folder, ended = sound
    run = folder / ended["cascade"].folder
    record = load_record(run)
    points = next(table for table in record.tables if "carries, holds and costs" in table.title)
    assert {(row[0], row[1]) for row in points.rows} == {
        (f"{way}, 2 servers, 4 clients", server)
        for way in ("multiserver", "cascade")
        for server in "ab"
    }
    assert {sample.labels["node"] for sample in record.samples if sample.name == "point.cpu"} == {
        "a",
        "b",
    }
    assert "servers-datagrams.svg" in {path.name for path in run.iterdir()}


def test_faults_have_figures(sound: Runs) -> None:
    figures = summary_of(sound, "multiserver").figures
    assert figures["frames_missing_while_representative_away"].value == 0
    assert 0 < figures["gap_after_server_loss"].value < 10
    assert figures["representative_away"].value > 0


def test_one_octet_changed_by_one_of_three_servers_is_found(faulty: Runs) -> None:
    _, ended = faulty
    assert ended["altered"].code == 1, ended["altered"]
    summary = summary_of(faulty, "altered")
    assert broken(summary) == {
        "relay_forwards_octets_unchanged",
        "unicast_probes_arrive_once_byte_for_byte",
    }
    seen = summary.invariants["relay_forwards_octets_unchanged"].detail
    assert "1 of them not as received" in seen
    assert summary.claims["C1"].verdict == "refuted"


def test_a_server_that_sends_on_what_a_server_sent_is_found(faulty: Runs) -> None:
    _, ended = faulty
    assert ended["onward"].code == 1, ended["onward"]
    summary = summary_of(faulty, "onward")
    assert broken(summary) == {"one_copy_to_each_server", "nothing_comes_twice"}
    seen = summary.invariants["one_copy_to_each_server"].detail
    assert "copies from [" in seen
    assert "'b'" in seen

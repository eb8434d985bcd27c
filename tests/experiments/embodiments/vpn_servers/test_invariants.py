"""Negative controls: for every invariant of several servers a run in which just it does not hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from experiments.embodiments.invariants import check_all
from experiments.embodiments.seen import Seen
from experiments.embodiments.vpn_servers.invariants import (
    CASCADE_INVARIANTS,
    DIRECT_INVARIANTS,
    invariants_of,
)
from tests.experiments.embodiments.seen import DATA_PORT, Datagram, address_of, write_outside
from tests.experiments.embodiments.vpn_servers import seen as made
from tests.experiments.remembering import each_file_is_read_once

Control = Callable[[Seen, Path], Seen]
Change = Callable[[Seen, list[Datagram]], list[Datagram]]

NEAREST = "clients_have_their_nearest_server"
IDLE = "representative_carries_no_frame"
NOT_TWICE = "nothing_comes_twice"
TABLES = "server_tables_are_the_representatives"
CLIENTS_ALONE = "servers_send_to_clients_alone"
ONE_COPY = "one_copy_to_each_server"
UNCHANGED = "relay_forwards_octets_unchanged"
BALANCE = "counters_balance"
NO_CIPHER = "server_seals_and_opens_no_frame"
MEMORY = "memory_is_bounded"
TSHARK = "tshark_decodes_the_capture_to_the_frames"
OF_SERVERS = {NEAREST, IDLE, NOT_TWICE, TABLES, CLIENTS_ALONE, ONE_COPY}


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with each_file_is_read_once():
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Makes a run for each way of delivery in which all went well."""
    return {
        delivery: made.good(tmp_path_factory.mktemp(delivery), delivery)
        for delivery in ("direct", "cascade")
    }


def broken(seen: Seen) -> set[str]:
    """Names the invariants that do not hold."""
    found = check_all(seen, invariants_of(seen.plan.delivery))
    return {name for name, invariant in found.items() if not invariant.held}


# -- captures


def _captured(change: Change) -> Control:
    """Changes what was sent, and captures it."""

    def control(seen: Seen, folder: Path) -> Seen:
        path = folder / "changed.pcap"
        flow = list(made.flow(seen.plan, seen.probes.round, seen.strip))
        made.write_captured(path, seen.plan, change(seen, flow))
        return replace(seen, outside=path)

    return control


def _to_client(seen: Seen, one: Datagram) -> bool:
    """Tells whether a server has sent a datagram to a client."""
    relays = {seen.plan.data_address(relay.name) for relay in seen.plan.relays}
    return one.source in relays and one.destination not in relays


def _crossing(seen: Seen, flow: list[Datagram], broadcast: bool = True) -> Datagram:
    """Finds a copy from server to server."""
    return next(
        one for one in flow if made.between(seen.plan, one) and made.is_broadcast(one) is broadcast
    )


def _others(seen: Seen, *not_these: IPv6Address) -> IPv6Address:
    """Finds another server's address."""
    addresses = [address_of(seen.plan, relay.name) for relay in seen.plan.relays]
    return next(address for address in addresses if address not in not_these)


def _copy_twice(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    return [*flow, _crossing(seen, flow)]


def _copy_to_client_twice(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    return [*flow, next(one for one in flow if _to_client(seen, one))]


def _copy_missing(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    """Leaves one of two other servers out; its clients are sent to all the same."""
    left_out = _crossing(seen, flow)
    # A server whose copy did not come has nothing to send on.
    return [
        one
        for one in flow
        if one != left_out
        and not (one.payload == left_out.payload and one.source == left_out.destination)
    ]


def _no_copy_at_all(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    """Keeps a broadcast at the server that it came to."""
    one = _crossing(seen, flow)
    return [it for it in flow if it.payload != one.payload or it.destination == one.source]


def _forwarded_on(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    """Has the server that got a copy send it to the third one, as the literal rule would."""
    one = _crossing(seen, flow, broadcast=False)
    third = _others(seen, one.source, one.destination)
    return [*flow, Datagram(one.destination, third, one.payload)]


def _sent_back(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    one = _crossing(seen, flow, broadcast=False)
    return [*flow, Datagram(one.destination, one.source, one.payload)]


def _from_server_to_server(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    """Has a server that delivers directly send a copy to another."""
    one = next(one for one in flow if _to_client(seen, one))
    return [*flow, Datagram(one.source, _others(seen, one.source), one.payload)]


def _altered(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    """Changes one octet of what the last server sends to a client; the other two change none."""
    server = address_of(seen.plan, "c")
    place = max(at for at, one in enumerate(flow) if one.source == server and _to_client(seen, one))
    payload = bytearray(flow[place].payload)
    payload[40] ^= 1
    return [*flow[:place], replace(flow[place], payload=bytes(payload)), *flow[place + 1 :]]


def _sent_without_having_got(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    """Has a server, at the end, send to a client what came to another server only."""
    place = max(at for at, one in enumerate(flow) if _to_client(seen, one))
    other = _others(seen, flow[place].source)
    return [*flow[:place], replace(flow[place], source=other), *flow[place + 1 :]]


def _stripped_between(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    """Takes the VPN header off a copy for another server, which would need it."""
    one = _crossing(seen, flow, broadcast=False)
    place = flow.index(one)
    return [*flow[:place], replace(one, payload=one.payload[16:]), *flow[place + 1 :]]


def _silent(seen: Seen, flow: list[Datagram]) -> list[Datagram]:
    relays = {seen.plan.data_address(relay.name) for relay in seen.plan.relays}
    return [one for one in flow if one.source not in relays]


# -- what processes and kernels say


def _counters(node: str, **values: int) -> Control:
    """Adds to a process's counters."""

    def control(seen: Seen, _: Path) -> Seen:
        statuses = copy.deepcopy(seen.statuses)
        counters = statuses[node]["counters"]
        for name, value in values.items():
            counters[name] = counters.get(name, 0) + value
        return replace(seen, statuses=statuses)

    return control


def _no_copies_counted(seen: Seen, _: Path) -> Seen:
    """Has the servers count no copy to each other, nor those that came of it."""
    statuses = copy.deepcopy(seen.statuses)
    for relay in seen.plan.relays:
        counters = statuses[relay.name]["counters"]
        counters["copies_out"] -= counters["copies_to_servers"]
    between = sum(
        statuses[relay.name]["counters"]["copies_to_servers"] for relay in seen.plan.relays
    )
    statuses["a"]["counters"]["datagrams_in"] -= between
    for relay in seen.plan.relays:
        statuses[relay.name]["counters"]["copies_to_servers"] = 0
    return replace(seen, statuses=statuses)


def _process(node: str, **values: object) -> Control:
    def control(seen: Seen, _: Path) -> Seen:
        statuses = copy.deepcopy(seen.statuses)
        statuses[node]["process"] |= values
        return replace(seen, statuses=statuses)

    return control


def _table_507(node: str, change: Callable[[list[list[object]]], object]) -> Control:
    """Changes the rows of a server's table 507."""

    def control(seen: Seen, _: Path) -> Seen:
        statuses = copy.deepcopy(seen.statuses)
        change(statuses[node]["tables"]["507 unicast group"]["rows"])
        return replace(seen, statuses=statuses)

    return control


def _given(client: str, server: str) -> Control:
    """Has a client send to another server than its nearest."""

    def control(seen: Seen, _: Path) -> Seen:
        statuses = copy.deepcopy(seen.statuses)
        rows = statuses[client]["tables"]["309 VPN information"]["rows"]
        rows[0][0] = f"[{seen.plan.data_address(server)}]:{DATA_PORT}"
        return replace(seen, statuses=statuses)

    return control


def _nobody_said(seen: Seen, _: Path) -> Seen:
    """Leaves no client in any table: equal they are, and they show nothing."""
    statuses = copy.deepcopy(seen.statuses)
    statuses["server"]["tables"]["clients"]["rows"] = []
    for relay in seen.plan.relays:
        statuses[relay.name]["tables"]["507 unicast group"]["rows"] = []
    return replace(seen, statuses=statuses)


def _kernel(**values: int) -> Control:
    return lambda seen, _: replace(seen, server_kernel={**seen.server_kernel, **values})


STRANGER: list[object] = [9, "[3ffe:9999::1]:4790", "own"]
REPLAYED = {"frames_delivered": -1, "dropped_replayed": 1}

BOTH: list[tuple[str, Control, set[str]]] = [
    ("a datagram at the representative", _kernel(InDatagrams=1), {IDLE}),
    ("a datagram to a closed port of it", _kernel(NoPorts=1), {IDLE}),
    ("a datagram from the representative", _kernel(OutDatagrams=1), {IDLE}),
    ("another server than the nearest", _given("c1", "b"), {NEAREST}),
    ("no server of ours", _given("c1", "server"), {NEAREST}),
    ("a copy to a client too many", _captured(_copy_to_client_twice), {NOT_TWICE}),
    ("a replay at a client", _counters("c2", **REPLAYED), {NOT_TWICE}),
    ("a row of 507 too many", _table_507("b", lambda rows: rows.append(STRANGER)), {TABLES}),
    ("a row of 507 missing", _table_507("c", lambda rows: rows.pop(0)), {TABLES}),
    ("a client held by nobody", _table_507("a", lambda r: r[0].__setitem__(2, "else")), {TABLES}),
    ("an address of old", _table_507("a", lambda r: r[0].__setitem__(1, "[::9]:9")), {TABLES}),
    ("nobody in any table", _nobody_said, {TABLES}),
    ("an octet changed by one of three", _captured(_altered), {UNCHANGED}),
    ("a datagram lost before one of three", _counters("b", datagrams_in=-1), {BALANCE}),
    ("a copy of one of three too many", _counters("c", copies_out=1), {BALANCE}),
    ("a frame opened at one of three", _process("b", frames_opened=1), {NO_CIPHER}),
    ("a cipher at the representative", _process("server", cipher_loaded=True), {NO_CIPHER}),
    ("a large VPN server", _process("c", resident_octets=61 << 20), {MEMORY}),
]
DIRECT = [
    *BOTH,
    ("a copy to a server", _captured(_from_server_to_server), {CLIENTS_ALONE}),
    ("a copy to a server counted", _counters("a", copies_to_servers=1), {CLIENTS_ALONE, BALANCE}),
    ("a copy of what came elsewhere", _captured(_sent_without_having_got), {UNCHANGED}),
    ("silent servers", _captured(_silent), {UNCHANGED, NOT_TWICE, CLIENTS_ALONE}),
]
CASCADE = [
    *BOTH,
    ("a copy to a server too many", _captured(_copy_twice), {ONE_COPY, NOT_TWICE}),
    ("a broadcast missing at one server", _captured(_copy_missing), {ONE_COPY}),
    ("a broadcast missing at all others", _captured(_no_copy_at_all), {ONE_COPY}),
    ("a frame sent on to a third server", _captured(_forwarded_on), {ONE_COPY}),
    ("a frame sent back", _captured(_sent_back), {ONE_COPY}),
    ("a header taken off between servers", _captured(_stripped_between), {UNCHANGED}),
    ("no copy counted", _no_copies_counted, {ONE_COPY}),
    ("silent servers", _captured(_silent), {UNCHANGED, NOT_TWICE, ONE_COPY}),
]
CASES = [
    pytest.param(delivery, control, expected, id=f"{delivery}: {name}")
    for delivery, controls in (("direct", DIRECT), ("cascade", CASCADE))
    for name, control, expected in controls
]


@pytest.mark.parametrize("delivery", ["direct", "cascade"])
def test_all_hold_in_a_good_run(runs: dict[str, Seen], delivery: str) -> None:
    assert broken(runs[delivery]) == set()


@pytest.mark.parametrize("delivery", ["direct", "cascade"])
def test_all_hold_where_clients_are_sent_what_lies_below_the_header(
    delivery: str, tmp_path: Path
) -> None:
    seen = made.good(tmp_path, delivery, strip="patent")
    assert broken(seen) == set()
    assert UNCHANGED in broken(replace(seen, strip="keep"))


def test_with_headers_taken_off_for_clients_servers_still_need_them(tmp_path: Path) -> None:
    seen = made.good(tmp_path, "cascade", strip="patent")
    assert broken(_captured(_stripped_between)(seen, tmp_path)) == {UNCHANGED}


@pytest.mark.parametrize(("delivery", "control", "expected"), CASES)
def test_exactly_these_break(
    runs: dict[str, Seen], tmp_path: Path, delivery: str, control: Control, expected: set[str]
) -> None:
    assert broken(control(runs[delivery], tmp_path)) == expected


def test_what_was_under_way_between_servers_when_capturing_began_or_ended_is_not_judged(
    runs: dict[str, Seen], tmp_path: Path
) -> None:
    seen = runs["cascade"]
    flow = list(made.flow(seen.plan, seen.probes.round))
    one = _crossing(seen, flow)
    begun = [it for it in flow if it.payload != one.payload]
    path = tmp_path / "begun.pcap"
    # Seen where it arrived, and on from there: not where it came from.
    on = [it for it in flow if it.payload == one.payload and it.source == one.destination]
    captured = [it for it in begun for _ in range(1 + made.between(seen.plan, it))]
    write_outside(path, [one, *on, *captured])
    assert broken(replace(seen, outside=path)) - {TSHARK} == set()
    ended = tmp_path / "ended.pcap"
    write_outside(ended, [*captured, flow[flow.index(one) - 1], one])
    assert broken(replace(seen, outside=ended)) - {TSHARK} == set()


def test_every_invariant_of_several_servers_has_a_control_in_which_just_it_breaks() -> None:
    alone = {name for _, _, names in (*DIRECT, *CASCADE) if len(names) == 1 for name in names}
    assert alone >= OF_SERVERS
    shared = DIRECT_INVARIANTS.keys() & CASCADE_INVARIANTS.keys() & OF_SERVERS
    assert shared == OF_SERVERS - {CLIENTS_ALONE, ONE_COPY}

"""Negative controls: for every invariant a run in which it does not hold, and is said not to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from experiments.embodiments.claims import structure
from experiments.embodiments.invariants import INVARIANTS, check_all
from experiments.embodiments.seen import Seen
from experiments.traffic.probe import ReceivedFrame, observe
from experiments.traffic.probing import BROADCAST
from experiments.traffic.terminals import Attempt
from tests.experiments.embodiments import seen as made
from tests.experiments.embodiments.seen import MIB, Datagram
from tests.experiments.remembering import each_file_is_read_once
from topologies.catalog import single

Control = Callable[[Seen, Path], Seen]

PING = "every_terminal_reaches_every_other_by_ping"
RESOLVES = "every_terminal_resolves_every_other"
TCP_REACHES = "every_terminal_reaches_every_other_by_tcp"
UNICAST = "unicast_probes_arrive_once_byte_for_byte"
BROADCASTS = "broadcast_probes_reach_every_other_once"
NEVER_RETURNS = "broadcast_never_returns_to_its_lan"
NOTHING_ELSE = "nothing_arrives_that_was_not_due"
APART = "group_with_same_addresses_is_not_touched"
HIDES = "capture_outside_hides_the_payload"
SHOWS = "capture_inside_shows_the_payload"
TSHARK = "tshark_decodes_the_capture_to_the_frames"
SCAPY = "scapy_opens_ours_and_we_open_scapys"
NO_CIPHER = "server_seals_and_opens_no_frame"
UNCHANGED = "relay_forwards_octets_unchanged"
BALANCE = "counters_balance"
ONE_ASSOCIATION = "one_address_and_association_a_group"
MEMORY = "memory_is_bounded"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Makes a run in which all went well."""
    return made.good(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with each_file_is_read_once():
        yield


# -- traffic of the terminals


def _failed(what: str) -> list[Attempt]:
    return [
        Attempt("t1a", "t2a", what, True, "answered"),
        Attempt("t2a", "t1a", what, False, "no answer"),
    ]


def _records(seen: Seen, change: Callable[[dict[str, list[ReceivedFrame]]], None]) -> Seen:
    """Changes what the terminals have received."""
    records = {name: list(lines) for name, lines in seen.probes.received.items()}
    change(records)
    return replace(seen, probes=made.outcome(seen.plan, seen.probes.round, records))


def _first(lines: Iterable[ReceivedFrame], broadcast: bool) -> ReceivedFrame:
    return next(line for line in lines if (line.destination == BROADCAST) is broadcast)


def _lost(broadcast: bool) -> Control:
    def change(records: dict[str, list[ReceivedFrame]]) -> None:
        records["t2a"].remove(_first(records["t2a"], broadcast))

    return lambda seen, _: _records(seen, change)


def _doubled(broadcast: bool) -> Control:
    def change(records: dict[str, list[ReceivedFrame]]) -> None:
        records["t2a"].append(_first(records["t2a"], broadcast))

    return lambda seen, _: _records(seen, change)


def _altered(broadcast: bool) -> Control:
    def control(seen: Seen, _: Path) -> Seen:
        def change(records: dict[str, list[ReceivedFrame]]) -> None:
            line = _first(records["t2a"], broadcast)
            octets = next(
                delivery.frame.to_bytes()
                for delivery in seen.probes.expected
                if delivery.receiver == "t2a"
                and (delivery.frame.sender, delivery.frame.sequence) == (line.sender, line.sequence)
            )
            changed = octets[:-1] + bytes([octets[-1] ^ 1])
            records["t2a"][records["t2a"].index(line)] = observe(changed, 0)

        return _records(seen, change)

    return control


def _returned(seen: Seen, _: Path) -> Seen:
    """Has t1a see its own broadcast, which t2a has got rightly."""

    def change(records: dict[str, list[ReceivedFrame]]) -> None:
        records["t1a"].append(_first(records["t2a"], broadcast=True))

    return _records(seen, change)


def _stray(seen: Seen, _: Path) -> Seen:
    """Has t1a see its own unicast frame to t2a: it is of the group and not due."""

    def change(records: dict[str, list[ReceivedFrame]]) -> None:
        records["t1a"].append(_first(records["t2a"], broadcast=False))

    return _records(seen, change)


def _crossed(seen: Seen, _: Path) -> Seen:
    def change(records: dict[str, list[ReceivedFrame]]) -> None:
        records["t3a"].append(_first(records["t2a"], broadcast=True))

    return _records(seen, change)


def _nothing_shared(seen: Seen, _: Path) -> Seen:
    """Takes away what makes the test of groups strict: equal addresses in both."""
    links = []
    for link in seen.plan.links:
        near, far = (replace(end, mac=None) for end in link.interfaces)
        links.append(replace(link, interfaces=(near, far)))
    return replace(seen, plan=replace(seen.plan, links=tuple(links)))


def _one_group(seen: Seen, _: Path) -> Seen:
    """Leaves the first group alone in the network."""
    only = single(clients=2, terminals=1, second_group=0)
    plans = {name: plan for name, plan in seen.probes.round.plans.items() if name in only.graph}
    sent = replace(seen.probes.round, plans=plans)
    outcome = made.outcome(only, sent, made.received(only, sent))
    server = copy.deepcopy(seen.statuses["server"])
    server["counters"] = {"datagrams_in": 12, "copies_out": 12}
    statuses = {**{name: seen.statuses[name] for name in ("c1", "c2")}, "server": server}
    return replace(seen, plan=only, probes=outcome, statuses=statuses)


# -- captures


def _datagrams(
    change: Callable[[list[Datagram]], list[Datagram]], more: Callable[[Seen], list[Any]]
) -> Control:
    def control(seen: Seen, folder: Path) -> Seen:
        path = folder / "changed.pcap"
        datagrams = made.sealed(seen.plan, seen.probes.round)
        made.write_outside(path, change(datagrams), more(seen))
        return replace(seen, outside=path)

    return control


def _nothing(_: Seen) -> list[Any]:
    return []


def _clear_packet(seen: Seen) -> list[Any]:
    frame = max(seen.probes.round.frames(), key=len)
    outer: Any = Ether() / IPv6(src="3ffe:aaaa::1", dst="3ffe::1000") / TCP()
    return [outer / Raw(frame[200:216])]


def _one_octet(datagrams: list[Datagram]) -> list[Datagram]:
    """Changes one octet of one datagram of the server's."""
    place = next(i for i, one in enumerate(datagrams) if str(one.source) == "3ffe::1000")
    payload = bytearray(datagrams[place].payload)
    payload[40] ^= 1
    changed = replace(datagrams[place], payload=bytes(payload))
    return [*datagrams[:place], changed, *datagrams[place + 1 :]]


def _cut_header(datagrams: list[Datagram]) -> list[Datagram]:
    """Has the server take off the VPN header once, though it is to keep it."""
    place = next(i for i, one in enumerate(datagrams) if str(one.source) == "3ffe::1000")
    cut = replace(datagrams[place], payload=datagrams[place].payload[16:])
    return [*datagrams[:place], cut, *datagrams[place + 1 :]]


def _server_silent(datagrams: list[Datagram]) -> list[Datagram]:
    return [one for one in datagrams if str(one.source) != "3ffe::1000"]


def _only_tshark_reads(seen: Seen, folder: Path) -> Seen:
    """Hides the packets from scapy's way of reading, which knows no extension headers."""
    path = folder / "changed.pcap"
    datagrams = made.sealed(seen.plan, seen.probes.round)
    hidden = [made.packet(one, IPv6ExtHdrDestOpt()) for one in datagrams]
    noise = [replace(one, payload=bytes([1]) + bytes(200)) for one in datagrams[:2]]
    made.write_outside(path, noise, hidden)
    return replace(seen, outside=path)


def _empty_inside(seen: Seen, folder: Path) -> Seen:
    path = folder / "other.pcap"
    wrpcap(str(path), [Ether(bytes(200))])
    return replace(seen, inside=path)


# -- what the processes say


def _status(node: str, part: str, **values: Any) -> Control:
    def control(seen: Seen, _: Path) -> Seen:
        statuses = copy.deepcopy(seen.statuses)
        statuses[node][part] |= values
        return replace(seen, statuses=statuses)

    return control


def _cell(node: str, title: str, column: int, value: object) -> Control:
    def control(seen: Seen, _: Path) -> Seen:
        statuses = copy.deepcopy(seen.statuses)
        statuses[node]["tables"][title]["rows"][0][column] = value
        return replace(seen, statuses=statuses)

    return control


def _maps(node: str, text: str) -> Control:
    return lambda seen, _: replace(seen, maps={**seen.maps, node: text})


CONTROLS: list[tuple[str, Control, set[str]]] = [
    ("no ping", lambda seen, _: replace(seen, pings=[]), {PING}),
    ("a ping unanswered", lambda seen, _: replace(seen, pings=_failed("ping")), {PING}),
    ("a wrong MAC", lambda seen, _: replace(seen, neighbours=_failed("ARP")), {RESOLVES}),
    ("no connection", lambda seen, _: replace(seen, connections=_failed("TCP")), {TCP_REACHES}),
    ("a unicast frame lost", _lost(False), {UNICAST}),
    ("a unicast frame doubled", _doubled(False), {UNICAST}),
    ("a unicast frame altered", _altered(False), {UNICAST}),
    ("a broadcast frame lost", _lost(True), {BROADCASTS}),
    ("a broadcast frame doubled", _doubled(True), {BROADCASTS}),
    ("a broadcast frame altered", _altered(True), {BROADCASTS}),
    ("a broadcast returned", _returned, {NEVER_RETURNS, NOTHING_ELSE}),
    ("a stray frame", _stray, {NOTHING_ELSE}),
    ("a frame of another group", _crossed, {APART, NOTHING_ELSE}),
    ("groups without equal addresses", _nothing_shared, {APART}),
    ("one group", _one_group, set()),
    ("16 octets in the clear", _datagrams(lambda all_: all_, _clear_packet), {HIDES}),
    ("an empty LAN", _empty_inside, {SHOWS}),
    ("a frame that was never outside", _datagrams(lambda all_: all_[2:], _nothing), {TSHARK}),
    ("packets that scapy cannot read", _only_tshark_reads, {SCAPY}),
    ("a frame opened at the server", _status("server", "process", frames_opened=1), {NO_CIPHER}),
    ("a frame sealed at the server", _status("server", "process", frames_sealed=1), {NO_CIPHER}),
    ("a cipher at the server", _status("server", "process", cipher_loaded=True), {NO_CIPHER}),
    ("a cipher's library at the server", _maps("server", "cryptography"), {NO_CIPHER}),
    ("a client whose cipher is not seen", _maps("c1", "libc"), {NO_CIPHER}),
    ("one octet of the relay's changed", _datagrams(_one_octet, _nothing), {UNCHANGED}),
    ("a header taken off", _datagrams(_cut_header, _nothing), {UNCHANGED}),
    ("a copy from before the capture", _datagrams(lambda all_: all_[1:], _nothing), set()),
    (
        "a copy of what never came",
        _datagrams(lambda all_: [*all_[:2], *all_[3:]], _nothing),
        {UNCHANGED},
    ),
    ("a relay that sent nothing", _datagrams(_server_silent, _nothing), {UNCHANGED}),
    ("a datagram lost before the relay", _status("server", "counters", datagrams_in=23), {BALANCE}),
    ("a copy too many", _status("server", "counters", copies_out=25), {BALANCE}),
    ("a sender ID used twice", _cell("c2", "308 SA management", 1, 1), {ONE_ASSOCIATION}),
    ("another SA", _cell("c2", "308 SA management", 0, "0x00009999"), {ONE_ASSOCIATION}),
    ("another address", _cell("c2", "309 VPN information", 0, "ff1e::9"), {ONE_ASSOCIATION}),
    ("a large process", _status("c4", "process", resident_octets=61 * MIB), {MEMORY}),
    ("a large peak", _status("server", "process", peak_resident_octets=120 * MIB), {MEMORY}),
]


def _broken(seen: Seen) -> set[str]:
    return {name for name, invariant in check_all(seen).items() if not invariant.held}


def test_all_hold_in_a_good_run(good: Seen) -> None:
    assert _broken(good) == set()


def test_a_drop_that_a_client_counts_keeps_the_balance(good: Seen, tmp_path: Path) -> None:
    counted = {"frames_delivered": 5, "dropped_forged_icv": 1}
    assert _broken(_status("c1", "counters", **counted)(good, tmp_path)) == set()


@pytest.mark.parametrize(
    ("control", "expected"),
    [pytest.param(control, expected, id=name) for name, control, expected in CONTROLS],
)
def test_exactly_these_break(
    good: Seen, tmp_path: Path, control: Control, expected: set[str]
) -> None:
    assert _broken(control(good, tmp_path)) == expected


def test_every_invariant_has_a_negative_control() -> None:
    assert set().union(*(expected for _, _, expected in CONTROLS)) == set(INVARIANTS)


def test_a_broken_invariant_refutes_the_claims_that_rest_on_it(good: Seen, tmp_path: Path) -> None:
    assert {claim.verdict for claim in structure(check_all(good)).values()} == {"confirmed"}
    changed = _datagrams(_one_octet, _nothing)(good, tmp_path)
    verdicts = structure(check_all(changed))
    refuted = {name for name, claim in verdicts.items() if claim.verdict == "refuted"}
    assert refuted == {"C1", "C11"}
    assert UNCHANGED in verdicts["C1"].evidence

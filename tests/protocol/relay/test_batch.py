"""A batch is decided as its datagrams would be one by one: verdicts, tables and counters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import DropReason
from protocol.null_forwarder import NullForwarder
from protocol.relay import Drop, Forward, Relay, Run, Strip, Verdict
from protocol.types import SECOND
from tests.protocol.relay.datagrams import (
    GROUPS,
    PLACES,
    address,
    datagram,
    member,
    relay_with,
)

VPN, IPV4_VPN = 1001, 1003
BEFORE = b"\x01" * 7
"""What stands in the buffer before the batch, and behind it: nobody may read it."""

names = st.sampled_from(list(PLACES))
stations = st.sampled_from(["01", "02", "03", "*", "m", "0"])
good = st.builds(
    datagram,
    st.sampled_from([int(vpn_id) for vpn_id in GROUPS]),
    st.none() | stations,
    stations,
    st.sampled_from([None, None, None, 4097, 9999]),
    st.sampled_from([36, 64]),
    st.sampled_from([0, 0, 0, 1]),
)
spoilt = st.builds(
    lambda whole, place, octet: whole[: place % len(whole)] + octet + whole[place % len(whole) :],
    good,
    st.integers(0, 200),
    st.binary(min_size=1, max_size=1),
)
few = st.lists(good | spoilt | st.binary(max_size=90), min_size=1, max_size=4)
batches = few.flatmap(lambda kinds: st.lists(st.sampled_from(kinds), min_size=1, max_size=20))


def cut_to_size(datagrams: list[bytes]) -> tuple[list[bytes], int]:
    """Makes them a batch: all as long as the first, the last perhaps shorter."""
    size = max(1, len(datagrams[0]))
    whole = [one.ljust(size, b"\0")[:size] for one in datagrams[:-1]]
    return [*whole, datagrams[-1][:size] or b"\x01"], size


def verdicts_of(runs: list[Run], start: int, size: int, count: int) -> list[Verdict]:
    """Returns the verdict for each datagram; the runs must cover the batch in order."""
    verdicts: list[Verdict] = []
    for run in runs:
        assert run.start == start
        verdicts += [run.verdict] * -((run.start - run.stop) // size)
        start = run.stop
    assert len(verdicts) == count
    return verdicts


def give(
    forwarder: Relay | NullForwarder, datagrams: list[bytes], size: int, name: str, now: int
) -> list[Verdict]:
    """Gives a batch that stands somewhere in a larger buffer."""
    joined = b"".join(datagrams)
    buffer = bytearray(BEFORE + joined + datagram(VPN))
    place = slice(len(BEFORE), len(BEFORE) + len(joined))
    runs = forwarder.receive_batch(buffer, place, size, address(name), now)
    assert all(one.verdict != other.verdict for one, other in itertools.pairwise(runs)), (
        "neighbours that go alike are one run"
    )
    return verdicts_of(runs, len(BEFORE), size, len(datagrams))


def state_of(relay: Relay, now: int) -> object:
    """Returns all that a relay knows and has counted."""
    flows = [
        (key, entry.verdict, entry.packets, entry.octets, entry.station, entry.last_used)
        for key, entry in relay.flows.items()
    ]
    rows = list(relay.mac_ip.rows(now))
    return flows, rows, relay.flows.totals(), relay.stations.not_learnt, relay.next_timeout()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(names, batches, st.integers(0, 3 * SECOND)), min_size=1, max_size=4),
    st.sets(names),
    st.sampled_from(list(Strip)),
)
def test_a_batch_is_decided_as_one_datagram_after_the_other(
    course: list[tuple[str, list[bytes], int]], present: set[str], strip: Strip
) -> None:
    batched = relay_with(*sorted(present), strip=strip)
    single = relay_with(*sorted(present), strip=strip)
    now = SECOND
    for name, drawn, pause in course:
        now += pause
        datagrams, size = cut_to_size(drawn)
        expected = [single.receive_datagram(one, address(name), now) for one in datagrams]
        assert give(batched, datagrams, size, name, now) == expected
        assert state_of(batched, now) == state_of(single, now)


@settings(max_examples=100, deadline=None)
@given(names, batches, st.sets(names))
def test_the_null_forwarder_treats_a_batch_as_its_datagrams(
    name: str, drawn: list[bytes], present: set[str]
) -> None:
    null = NullForwarder()
    for one in sorted(present):
        null.add_member(member(one))
    datagrams, size = cut_to_size(drawn)
    expected = [null.receive_datagram(one, address(name), 0) for one in datagrams]
    assert give(null, datagrams, size, name, 0) == expected


@pytest.mark.parametrize(("vpn_id", "sender"), [(VPN, "a"), (IPV4_VPN, "v")])
@pytest.mark.parametrize("source", ["01", None])
def test_a_batch_of_one_flow_is_one_run_and_its_first_datagram_the_only_one_looked_up(
    vpn_id: int, sender: str, source: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relay_with("a", "b", "c", "v", "w")
    one, last = datagram(vpn_id, source), datagram(vpn_id, source, length=40)
    asked: list[int] = []
    ask = relay.receive_datagram

    def counted(data: bytes | memoryview, source: tuple[str, int], now: int) -> Verdict:
        asked.append(len(data))
        return ask(data, source, now)

    monkeypatch.setattr(relay, "receive_datagram", counted)
    verdicts = give(relay, [one] * 40 + [last], len(one), sender, 0)
    assert len(verdicts) == 41
    assert isinstance(verdicts[0], Forward)
    assert asked == [len(one), len(last)]
    totals = relay.flows.totals()
    assert (totals.datagrams_in, totals.octets_in) == (41, 40 * len(one) + len(last))


def test_a_segment_of_another_flow_in_the_midst_goes_its_own_way() -> None:
    relay = relay_with("a", "b", "c")
    relay.receive_datagram(datagram(VPN, "bb"), address("b"), 0)
    broadcast, unicast = datagram(VPN, "aa"), datagram(VPN, "aa", "bb")
    stray = datagram(VPN, "aa", spi=9999)
    verdicts = give(relay, [broadcast, broadcast, unicast, stray, broadcast], len(stray), "a", 0)
    hosts = [{place.host for place, *_ in one.destinations} for one in verdicts]
    both = {address("b").host, address("c").host}
    assert hosts == [both, both, {address("b").host}, set(), both]
    assert verdicts[3] == Drop(DropReason.UNKNOWN_SPI)

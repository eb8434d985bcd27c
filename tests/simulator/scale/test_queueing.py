from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.chance import Chance
from simulator.engine import Engine
from simulator.links import FRAMING, Direction
from simulator.packets import UDP, Packet
from simulator.scale import queueing
from simulator.scale.levels import NO_QUEUE, Integers, NotExactError, Routes
from simulator.scale.queueing import Passage, Queues, carry, fan_out_times, finish_times

ROUNDS = settings(max_examples=100, deadline=None, derandomize=True)
HEADERS = Packet(ip_address("3ffe::1"), ip_address("3ffe::2"), UDP, b"").length
UNLIMITED = 1 << 40


def integers(*values: int) -> Integers:
    return np.array(values, np.int64)


@dataclass
class Case:
    """Packets in the order of their rows: route, time of sending, octets (headers included)."""

    rates: list[int]
    delays: list[int]
    hops: list[list[int]]
    packets: list[tuple[int, int, int]]
    limits: list[int] = field(default_factory=list)

    def queues(self) -> Queues:
        limits = integers(*self.limits) if self.limits else None
        return Queues(integers(*self.rates), integers(*self.delays), limits, FRAMING)

    def routes(self) -> Routes:
        longest = max(map(len, self.hops))
        table = [route + [NO_QUEUE] * (longest - len(route)) for route in self.hops]
        return Routes.of(np.array(table), len(self.rates))

    def columns(self) -> list[Integers]:
        return [integers(*column) for column in zip(*self.packets, strict=True)]

    def carried(self) -> Passage:
        return carry(self.queues(), self.routes(), *self.columns())


@st.composite
def cases(draw: st.DrawFn, latest: int = 1 << 40) -> Case:
    """Draws a network whose routes pass queues in rising order, and packets in the order of time."""
    count = draw(st.integers(1, 7))
    rates = st.sampled_from([0, 1_000, 64_000, 999_983, 10**9, 10**11])
    delays = st.sampled_from([1_000, 1_500_000, 20_000_000])
    route = st.sets(st.integers(0, count - 1), min_size=1).map(sorted)
    hops = draw(st.lists(route, min_size=1, max_size=5))
    packet = st.tuples(
        st.integers(0, latest), st.integers(0, len(hops) - 1), st.integers(HEADERS, 9_000)
    )
    packets = sorted(draw(st.lists(packet, min_size=1, max_size=40)))
    return Case(
        draw(st.lists(rates, min_size=count, max_size=count)),
        draw(st.lists(delays, min_size=count, max_size=count)),
        hops,
        [(number, at, octets) for at, number, octets in packets],
    )


@st.composite
def trees(draw: st.DrawFn) -> Case:
    """Draws a tree, down which packets go to any of its queues, and packets in the order of time."""
    count = draw(st.integers(1, 9))
    above = [draw(st.integers(NO_QUEUE, queue - 1)) for queue in range(count)]
    hops: list[list[int]] = []
    for queue, parent in enumerate(above):
        hops.append([queue] if parent == NO_QUEUE else [*hops[parent], queue])
    case = draw(cases(latest=draw(st.sampled_from([0, 12, 3_000_000]))))
    rates, delays = ((values * 9)[:count] for values in (case.rates, case.delays))
    chance = draw(st.randoms(use_true_random=False))
    packets = [(chance.randrange(count), at, octets) for _, at, octets in case.packets]
    return Case(rates, delays, hops, packets)


def recursion(case: Case) -> list[int]:
    """Returns arrivals by the definition: queue by queue, packet by packet, in Python's integers."""
    times = [at for _, at, _ in case.packets]
    for queue in range(len(case.rates)):
        passing = [
            row for row, (route, _, _) in enumerate(case.packets) if queue in case.hops[route]
        ]
        free_at = 0
        for row in sorted(passing, key=lambda row: (times[row], row)):
            octets = case.packets[row][2] + FRAMING
            rate = case.rates[queue]
            service = octets * 8 * 10**9 // rate if rate else 0
            free_at = max(times[row], free_at) + service
            times[row] = free_at + case.delays[queue]
    return times


class Events:
    """The same network in the engine, of the very links that the world of events is made of."""

    def __init__(self, case: Case) -> None:
        self.engine = Engine()
        self.arrived: dict[int, int] = {}
        self.meetings: list[tuple[int, int]] = []
        """The queue and time of each packet that comes from another queue."""
        self._case = case
        limits = case.limits or [UNLIMITED] * len(case.rates)
        chance = Chance(1).stream("link")
        self.links = [
            Direction(self.engine, chance, partial(self._next, queue), delay, rate or None, limit)
            for queue, (rate, delay, limit) in enumerate(
                zip(case.rates, case.delays, limits, strict=True)
            )
        ]
        for row, (route, at, octets) in enumerate(case.packets):
            payload = row.to_bytes(4, "big").ljust(octets - HEADERS, b"\0")
            sent = Packet(ip_address("3ffe::1"), ip_address("3ffe::2"), UDP, payload)
            assert sent.length == octets
            self.engine.at(at, self.links[case.hops[route][0]].send, sent)
        self.engine.run_while(lambda: len(self.engine) > 0, UNLIMITED * UNLIMITED)

    def _next(self, queue: int, packet: Packet) -> None:
        row = int.from_bytes(packet.payload[:4], "big")
        route = self._case.hops[self._case.packets[row][0]]
        left = route[route.index(queue) + 1 :]
        if not left:
            self.arrived[row] = self.engine.now
            return
        self.meetings.append((left[0], self.engine.now))
        self.links[left[0]].send(packet)

    @property
    def any_at_once(self) -> bool:
        """Whether packets met at the same ns; who is first is then a matter of convention."""
        own = {(self._case.hops[route][0], at) for route, at, _ in self._case.packets}
        return len(set(self.meetings)) < len(self.meetings) or bool(own & set(self.meetings))


@ROUNDS
@given(cases())
def test_arrivals_equal_the_scalar_recursion(case: Case) -> None:
    assert case.carried().arrivals.tolist() == recursion(case)


@ROUNDS
@given(cases(latest=12))
def test_rows_decide_between_packets_that_arrive_at_once(case: Case) -> None:
    assert case.carried().arrivals.tolist() == recursion(case)


@ROUNDS
@given(cases())
def test_arrivals_and_loads_equal_those_of_the_engine(case: Case) -> None:
    case.packets = [(route, at, max(octets, HEADERS + 4)) for route, at, octets in case.packets]
    events = Events(case)
    assume(not events.any_at_once)
    passage = case.carried()
    assert passage.arrivals.tolist() == [events.arrived[row] for row in range(len(case.packets))]
    assert passage.packets.tolist() == [link.counts["sent"] for link in events.links]
    assert passage.transmissions == sum(len(case.hops[route]) for route, _, _ in case.packets)


def test_many_packets_on_a_tree_equal_those_of_the_engine() -> None:
    """A relay's copies down a tree: all of a frame are sent at once, in the order of their rows."""
    chance = np.random.default_rng(5)
    hops = [[0, 1 + leaf % 4, 5 + leaf] for leaf in range(12)]
    times = np.cumsum(chance.integers(1, 400_000, 150))
    packets = [
        (leaf, int(at), int(size))
        for at, size in zip(times, chance.integers(60, 1_514, len(times)), strict=True)
        for leaf in range(12)
    ]
    rates = [300_000_000, *chance.integers(10**7, 10**8, 16).tolist()]
    case = Case(rates, chance.integers(10**3, 10**7, 17).tolist(), hops, packets)
    events = Events(case)
    assert not events.any_at_once
    assert case.carried().arrivals.tolist() == [events.arrived[row] for row in range(len(packets))]


@ROUNDS
@given(trees())
def test_parts_carried_one_after_the_other_equal_the_whole(case: Case) -> None:
    assert case.routes().keep_order
    with patch.object(queueing, "_PART", 1):
        passage = case.carried()
    assert passage.arrivals.tolist() == recursion(case)
    whole = case.carried()
    assert all(np.array_equal(getattr(passage, one), getattr(whole, one)) for one in vars(whole))


def test_what_does_not_keep_its_order_cannot_go_in_parts() -> None:
    """The second packet overtakes the first on its way to the queue in which both end."""
    case = Case(
        [0, 0, 8_000], [9_000, 1_000, 0], [[0, 2], [1, 2]], [(0, 0, HEADERS), (1, 1, HEADERS)]
    )
    routes = case.routes()
    assert not routes.keep_order
    assert case.carried().arrivals.tolist() == recursion(case)
    with patch.object(queueing, "_PART", 1):
        assert case.carried().arrivals.tolist() == recursion(case)
        case.rates += [0] * 3
        case.delays += [0] * 3
        case.packets = [packet for packet in case.packets for _ in range(6)]
        parts = carry(case.queues(), replace(case.routes(), keep_order=True), *case.columns())
    assert parts.arrivals.tolist() != recursion(case)


@ROUNDS
@given(trees())
def test_rows_that_are_not_in_the_order_of_time_are_served_in_it(case: Case) -> None:
    case.packets.reverse()
    with patch.object(queueing, "_PART", 1):
        assert case.carried().arrivals.tolist() == recursion(case)


@ROUNDS
@given(trees(), st.integers(1, 5))
def test_copies_of_frames_are_packets_one_after_the_other(case: Case, copies: int) -> None:
    chance = np.random.default_rng(copies)
    _, sent, octets = case.columns()
    route = chance.integers(0, len(case.hops), (len(sent), copies))
    case.packets = [
        (int(way), int(at), int(size))
        for ways, at, size in zip(route, sent, octets, strict=True)
        for way in ways
    ]
    with patch.object(queueing, "_PART", 1):
        passage = carry(case.queues(), case.routes(), route, sent, octets)
    assert passage.arrivals.shape == route.shape
    assert passage.arrivals.ravel().tolist() == recursion(case)


@pytest.mark.parametrize("merging", [False, True])
def test_what_is_given_stays_as_it_is(merging: bool) -> None:
    case = Case([10**6] * 3, [5, 7, 9], [[0], [1], [2]], [(2, 3, 99), (0, 5, 99), (1, 5, 99)])
    if merging:
        case.hops = [[0, 2], [1, 2], [2]]
    columns = case.columns()
    before = [one.copy() for one in columns]
    carry(case.queues(), case.routes(), *columns)
    assert all(np.array_equal(one, other) for one, other in zip(columns, before, strict=True))


@ROUNDS
@given(
    st.one_of(cases(latest=3_000_000), trees()), st.integers(200, 30_000), st.sampled_from([1, 99])
)
def test_a_bounded_queue_is_refused_exactly_when_the_engine_drops(
    case: Case, limit: int, part: int
) -> None:
    case.packets = [(route, at, max(octets, HEADERS + 4)) for route, at, octets in case.packets]
    case.limits = [limit] * len(case.rates)
    events = Events(case)
    assume(not events.any_at_once)
    dropped = any(link.counts["queue_full"] for link in events.links)
    with patch.object(queueing, "_PART", part):
        if dropped:
            with pytest.raises(
                NotExactError, match=r"queue \d: \d+ octets: it would drop a packet"
            ):
                case.carried()
        else:
            assert case.carried().arrivals.tolist() == list(
                map(events.arrived.get, range(len(events.arrived)))
            )


@ROUNDS
@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 900)), max_size=60))
def test_one_queue_equals_the_recursion(packets: list[tuple[int, int]]) -> None:
    packets.sort(key=lambda packet: packet[0])
    free_at, expected = 0, []
    for arrival, service in packets:
        free_at = max(arrival, free_at) + service
        expected.append(free_at)
    arrivals = np.array([arrival for arrival, _ in packets], np.int64)
    services = np.array([service for _, service in packets], np.int64)
    assert finish_times(arrivals, services).tolist() == expected


def test_copies_leave_a_relay_one_after_another() -> None:
    left = fan_out_times(integers(100, 110, 900), integers(2, 3, 1), frame_ns=50, copy_ns=10)
    assert left.tolist() == [160, 170, 230, 240, 250, 960]


def test_loads_are_those_that_a_wire_would_show() -> None:
    case = Case([8_000_000_000, 0], [5, 7], [[0, 1], [1]], [(0, 10, 100), (1, 10, 200)])
    passage = case.carried()
    assert passage.arrivals.tolist() == [10 + 114 + 5 + 7, 10 + 7]
    assert passage.packets.tolist() == [1, 2]
    assert passage.octets.tolist() == [114, 328]
    assert passage.busy.tolist() == [114, 0]


def test_mean_wait_of_poisson_arrivals_is_that_of_theory() -> None:
    """M/D/1 at half load: a packet waits half a service time on average (Pollaczek and Khinchin)."""
    chance = np.random.default_rng(7)
    arrivals = np.cumsum(chance.exponential(2_000_000, 400_000)).astype(np.int64)
    services = np.full(len(arrivals), 1_000_000, np.int64)
    waits = finish_times(arrivals, services) - arrivals - services
    assert waits.mean() == pytest.approx(500_000, rel=0.02)


def test_times_that_64_bits_do_not_hold_are_refused() -> None:
    case = Case([1, 1, 1], [0, 0, 0], [[0], [1], [2]], [(0, 0, 9_000), (1, 1 << 61, 9_000)])
    with pytest.raises(NotExactError, match="64 bits"):
        case.carried()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: finish_times(integers(2, 1), integers(1, 1)), "in order of time"),
        (lambda: fan_out_times(integers(1), integers(0), 1, 1), "at least 1"),
        (lambda: Queues(integers(1), integers(1, 2)), "as many rates"),
        (lambda: Queues(integers(-1), integers(1)), "0 or more"),
        (lambda: Queues(integers(1), integers(1), integers(1, 2)), "as many limits"),
        (lambda: Case([1], [0], [[0]], [(0, 0, 10**9)]).carried(), "octets: expected 0"),
        (lambda: Case([1], [0], [[0]], [(1, 0, 9)]).carried(), "expected routes from 0 to 0"),
        (lambda: Case([1], [0], [[0]], [(-1, 0, 9)]).carried(), "expected routes from 0 to 0"),
    ],
)
def test_bad_input_is_named(spoil: object, message: str) -> None:
    assert callable(spoil)
    with pytest.raises(ValueError, match=message):
        spoil()


def test_no_packets_are_carried_at_once() -> None:
    empty = integers()
    queues = Queues(integers(10), integers(0))
    passage = carry(queues, Routes.of(np.array([[0]]), 1), empty, empty, empty)
    assert passage.arrivals.size == 0
    assert passage.transmissions == 0


def test_numbers_of_more_than_16_bits_are_sorted_too() -> None:
    numbers = np.random.default_rng(5).integers(0, 200_000, 5_000).astype(np.uint32)
    numbers[::3] = numbers[0]
    order = queueing._counting_sort(numbers)
    assert np.array_equal(order, np.lexsort((np.arange(len(numbers)), numbers)))

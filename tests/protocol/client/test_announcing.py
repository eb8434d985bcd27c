"""Stations that are announced after a takeover: which, how many, how fast."""

from __future__ import annotations

from itertools import pairwise

from protocol.client.announcing import (
    AT_ONCE,
    MOST,
    PAUSE,
    ROUND,
    ROUNDS,
    SELDOM,
    Announcing,
    Stations,
)
from protocol.client.tables import Side
from protocol.types import SECOND


def mac(number: int) -> bytes:
    return b"\x02\0" + number.to_bytes(4, "big")


def table(on_lan: int, outside: int = 0) -> Stations:
    """A table 311 in which station n was seen n ns after 0; those on the LAN come first."""
    stations = Stations(3600 * SECOND, 0, 8192)
    for number in range(on_lan + outside):
        stations.learn(mac(number), Side.LAN if number < on_lan else Side.OUTSIDE, number)
    return stations


def all_of(announcing: Announcing, begin: int = SECOND) -> list[tuple[int, list[bytes]]]:
    """Announces from ``begin`` until nothing is due."""
    announcing.begin(begin)
    found = []
    while (now := announcing.next_timeout()) is not None:
        found.append((now, [station for station, _ in announcing.take(now)]))
    return found


def test_each_station_is_announced_a_few_times_a_while_apart() -> None:
    found = all_of(Announcing(table(2, 1)))
    assert found == [
        (SECOND + number * ROUND, [mac(1), mac(0), mac(2)]) for number in range(ROUNDS)
    ]


def test_number_and_rate_have_bounds_and_the_latest_come_first() -> None:
    announcing = Announcing(table(MOST + 500, 10))
    found = all_of(announcing)
    assert announcing.announced == ROUNDS * (MOST + 10)
    assert max(len(stations) for _, stations in found) == AT_ONCE
    assert all(late - early >= PAUSE for (early, _), (late, _) in pairwise(found))
    first = found[0][1]
    assert first == [mac(MOST + 499 - number) for number in range(AT_ONCE)]


def test_who_has_moved_since_is_left_out() -> None:
    stations = table(AT_ONCE + 1)
    announcing = Announcing(stations)
    announcing.begin(SECOND)
    announcing.take(SECOND)
    stations.learn(mac(0), Side.OUTSIDE, SECOND)
    now = announcing.next_timeout()
    assert now is not None
    assert announcing.take(now) == []


def test_one_that_stands_by_announces_nothing_more() -> None:
    announcing = Announcing(table(100))
    announcing.begin(SECOND)
    announcing.take(SECOND)
    announcing.end()
    assert announcing.next_timeout() is None
    assert announcing.take(10 * SECOND) == []


def test_it_does_not_begin_again_at_once() -> None:
    announcing = Announcing(table(1))
    all_of(announcing)
    announcing.begin(SECOND + SELDOM - 1)
    assert announcing.next_timeout() is None
    announcing.begin(SECOND + SELDOM)
    assert announcing.next_timeout() == SECOND + SELDOM

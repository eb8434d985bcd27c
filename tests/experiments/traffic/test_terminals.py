"""Turns of pairs: an iperf3 server serves one at a time, and whole turns go on at the same time."""

from __future__ import annotations

from itertools import permutations

import pytest

from experiments.traffic.terminals import pairs, settle, turns
from topologies.catalog import multiserver


def test_nobody_sends_or_receives_twice_in_a_turn_and_every_pair_has_one() -> None:
    tried = list(permutations("abcdef", 2))
    arranged = turns(tried)
    assert sorted(pair for turn in arranged for pair in turn) == sorted(tried)
    for turn in arranged:
        sources, targets = zip(*turn, strict=True)
        assert len(set(sources)) == len(set(targets)) == len(turn)


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([], []),
        ([("a", "b"), ("b", "a")], [[("a", "b"), ("b", "a")]]),
        ([("a", "b"), ("a", "c")], [[("a", "b")], [("a", "c")]]),
        ([("a", "c"), ("b", "c")], [[("a", "c")], [("b", "c")]]),
        ([("a", "b"), ("a", "c"), ("c", "d")], [[("a", "b"), ("c", "d")], [("a", "c")]]),
    ],
)
def test_a_pair_goes_into_the_first_turn_that_has_room(
    tried: list[tuple[str, str]], expected: list[list[tuple[str, str]]]
) -> None:
    assert turns(tried) == expected


def test_the_pairs_of_a_network_need_few_turns() -> None:
    tried = pairs(multiserver(clients=6, terminals=2))
    assert len(turns(tried)) <= len(tried) / 4


class Late:
    """A counter that stands still while who is to count has no processor, and then goes on."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def read(self) -> int:
        return int(self._looks <= 0)

    def asleep(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def test_a_counter_that_stands_still_for_want_of_a_processor_has_not_settled() -> None:
    late = Late(20)
    assert settle(late.read, 0.01, asleep=late.asleep) == 1
    assert settle(Late(20).read, 0.01) == 0, "what silence alone would say"


def test_what_never_settles_is_given_at_the_deadline() -> None:
    assert settle(lambda: 7, 0.01, deadline=0.1, asleep=lambda: False) == 7

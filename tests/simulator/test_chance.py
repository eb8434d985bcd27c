from __future__ import annotations

import pytest

from simulator.chance import Chance


def test_a_stream_depends_on_seed_and_names_alone() -> None:
    assert Chance(1).octets("a", "b")(16) == Chance(1).octets("a", "b")(16)
    different = [Chance(1).octets("a", "b"), Chance(2).octets("a", "b"), Chance(1).octets("ab")]
    assert len({octets(16) for octets in different}) == 3


def test_drawing_from_one_stream_shifts_no_other() -> None:
    chance = Chance(7)
    expected = chance.octets("other")(8)
    chance.octets("first")(1000)
    assert chance.octets("other")(8) == expected


def test_a_stream_is_the_same_on_every_machine() -> None:
    assert Chance(1).octets("server", "1")(8).hex() == "db492a5271d3b8d0"


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed -1: expected 0 or more"):
        Chance(-1)

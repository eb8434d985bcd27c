"""The learning table behind tables 309 and 509: newest wins, but not too often; silence is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.learning import LearningTable, Learnt


def test_a_sighting_does_to_the_table_what_it_says() -> None:
    table: LearningTable[str, str] = LearningTable(lifetime=100, hold_down=10, capacity=2)
    sightings = [
        ("x", "left", 0, Learnt.NEW),
        ("x", "left", 5, Learnt.REFRESHED),
        ("x", "right", 9, Learnt.HELD_DOWN),
        ("x", "right", 10, Learnt.MOVED),
        ("x", "left", 19, Learnt.HELD_DOWN),
        ("y", "right", 20, Learnt.NEW),
        ("z", "right", 20, Learnt.FULL),
        ("z", "left", 20, Learnt.NEW),
        ("x", "left", 30, Learnt.MOVED),
        ("y", "left", 40, Learnt.FULL),
    ]
    learnt = [table.learn(key, place, now) for key, place, now, _ in sightings]
    assert learnt == [expected for *_, expected in sightings]
    assert {key: place for key, place, _ in table.rows(40)} == {
        "x": "left",
        "y": "right",
        "z": "left",
    }


def test_a_lifetime_ends_at_its_instant() -> None:
    table: LearningTable[str, str] = LearningTable(lifetime=100, hold_down=0, capacity=2)
    table.learn("x", "left", 7)
    assert (table.lookup("x", 106), table.lookup("x", 107)) == ("left", None)
    assert table.expire(106) == []
    assert table.expire(107) == ["x"]
    assert table.expire(107) == []


def test_a_purge_forgets_one_place_and_no_other() -> None:
    table: LearningTable[str, str] = LearningTable(lifetime=100, hold_down=0, capacity=9)
    for key, place in (("x", "left"), ("y", "left"), ("z", "right")):
        table.learn(key, place, 0)
    assert table.purge("left") == 2
    assert [row[:2] for row in table.rows(0)] == [("z", "right")]
    assert table.purge("left") == 0


keys = st.sampled_from("xyzw")
places = st.sampled_from(["left", "right"])


@given(st.lists(st.tuples(keys, places, st.integers(0, 30)), max_size=60))
def test_no_place_ever_has_more_stations_than_it_may(course: list[tuple[str, str, int]]) -> None:
    table: LearningTable[str, str] = LearningTable(lifetime=50, hold_down=10, capacity=2)
    now = 0
    for key, place, passed in course:
        now += passed
        table.learn(key, place, now)
        if passed > 25:
            table.expire(now)
        held = [row[1] for row in table.rows(now)]
        assert all(held.count(side) <= 2 for side in ("left", "right"))
        assert len(table) == len(held)

from __future__ import annotations

from simulator.engine import Engine


def test_events_happen_by_time_and_at_equal_times_as_planned() -> None:
    engine, seen = Engine(), list[str]()
    engine.at(20, seen.append, "late")
    engine.at(10, seen.append, "first")
    engine.at(10, seen.append, "second")
    engine.run_until(30)
    assert seen == ["first", "second", "late"]
    assert engine.now == 30
    assert engine.events == 3


def test_what_is_due_later_waits() -> None:
    engine, seen = Engine(), list[str]()
    engine.after(10, seen.append, "now")
    engine.after(11, seen.append, "then")
    engine.run_until(10)
    assert seen == ["now"]
    assert len(engine) == 1


def test_what_an_event_plans_for_the_past_happens_next() -> None:
    engine, times = Engine(100), list[int]()
    engine.at(5, lambda: times.append(engine.now))
    engine.run_until(200)
    assert times == [100]


def test_waiting_ends_with_the_condition_or_at_the_deadline() -> None:
    engine, seen = Engine(), list[str]()
    engine.after(10, seen.append, "it")
    assert engine.run_while(lambda: not seen, 100)
    assert engine.now == 10
    assert not engine.run_while(lambda: True, 100)
    assert engine.now == 100

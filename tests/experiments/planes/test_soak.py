"""What the soak makes of its trials and streams: each thing that must hold is seen not to."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from experiments.instrument.programs import InstrumentError
from experiments.planes.soak import (
    HIGHEST,
    LOWEST,
    PRECISION,
    Outcome,
    Saturation,
    saturation,
)
from experiments.planes.soak_program import Order, Report

SECONDS = 1.0
SENT = Report(
    sent=1000, received=1000, lost=0, changed=0, doubled=0, strange=0, seconds=1.0, behind=0.0
)
GOOD = Outcome(Saturation(1250.0, "way"), SENT, wanted=1000, tries=1)


def outcome(**changes: float) -> Outcome:
    return replace(GOOD, report=msgspec.structs.replace(SENT, **changes))


def broken(one: Outcome) -> list[str]:
    return [name for name, each in one.invariants("batch").items() if not each.held]


def test_a_whole_stream_at_its_share_of_the_saturation_holds() -> None:
    assert broken(GOOD) == []
    assert GOOD.figures("batch")["soak.batch.share"].value == pytest.approx(0.8)


@pytest.mark.parametrize("what", ["lost", "changed", "doubled", "strange"])
def test_a_stream_that_does_not_come_as_it_was_sent_breaks_the_first(what: str) -> None:
    assert broken(outcome(**{what: 1})) == ["batch_loses_and_changes_nothing"]


@pytest.mark.parametrize("seconds", [1 / 0.94, 1 / 1.06, 1 / 0.57])
def test_a_stream_too_slow_or_too_fast_breaks_the_second(seconds: float) -> None:
    assert broken(outcome(seconds=seconds)) == ["batch_is_loaded_as_asked_for"]


@pytest.mark.parametrize("seconds", [1 / 0.96, 1 / 1.04])
def test_a_stream_within_the_tolerance_holds(seconds: float) -> None:
    assert broken(outcome(seconds=seconds)) == []


def test_a_stream_cut_short_breaks_the_second_though_nothing_is_lost() -> None:
    assert broken(outcome(sent=990, received=990)) == ["batch_is_loaded_as_asked_for"]


def test_nothing_sent_breaks_both() -> None:
    assert len(broken(outcome(sent=0, received=0))) == 2


class Plane:
    """Stands for all that is on the way: bears a rate, behind a generator that reaches one."""

    def __init__(self, bears: float, reaches: float, hides: bool = False) -> None:
        self._bears, self._reaches, self._hides = bears, reaches, hides

    def carry(self, order: Order) -> Report:
        seconds = order.count / min(order.rate, self._reaches)
        late = max(0.0, order.count / self._bears - seconds)
        lost = 0 if self._hides else round(late * self._bears)
        came = order.count - lost
        return Report(order.count, came, lost, 0, 0, 0, seconds, late if self._hides else 0.0)


@pytest.mark.parametrize("hides", [False, True], ids=["losing", "buffering"])
def test_the_saturation_is_found_though_a_buffer_hides_it(hides: bool) -> None:
    found = saturation(Plane(20_000, 1e9, hides).carry, SECONDS)
    assert found.limit == "way"
    assert 20_000 / (1 + PRECISION) <= found.rate <= 20_000 / (0.95 if hides else 1)


def test_a_generator_that_is_the_slowest_is_named_and_its_rate_reached_counts() -> None:
    found = saturation(Plane(1e9, 20_000).carry, SECONDS)
    assert found.limit == "generator"
    assert 20_000 / (1 + PRECISION) <= found.rate <= 20_000 + 1


def test_the_highest_rate_offered_may_be_borne() -> None:
    assert saturation(Plane(1e9, 1e9).carry, SECONDS) == Saturation(HIGHEST, "none")


def test_a_way_that_bears_nothing_ends_the_soak() -> None:
    with pytest.raises(InstrumentError, match="not borne even at 500"):
        saturation(Plane(LOWEST / 2, 1e9).carry, SECONDS)

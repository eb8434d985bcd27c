"""What a rekey costs: one message to each who stays, and one to who is moved."""

from __future__ import annotations

import pytest

from experiments.embodiments.subgroups import costs


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has each size measured twice only."""
    monkeypatch.setattr(costs, "REPETITIONS", 2)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("members", [2, 8, 32])
def test_a_rekey_is_a_message_to_each_member_and_one_to_who_is_moved(members: int) -> None:
    cost = costs._cost(members)
    assert cost.messages == members + 1
    assert cost.octets > 50 * cost.messages
    assert len(cost.cpu_ns) == 2


@pytest.mark.usefixtures("few")
def test_octets_grow_with_the_members_and_each_messages_do_not() -> None:
    small, large = costs._cost(2), costs._cost(32)
    assert large.octets > small.octets
    assert large.octets / large.messages == pytest.approx(small.octets / small.messages, rel=0.2)


def test_figures_bear_the_number_of_members() -> None:
    figures = costs.RekeyCost(8, 9, 900, [2000, 4000]).figures()
    assert set(figures) == {
        "rekey_messages.8_members",
        "rekey_octets.8_members",
        "rekey_cpu.8_members",
    }
    assert figures["rekey_messages.8_members"].value == 9
    cpu = figures["rekey_cpu.8_members"]
    assert (cpu.value, cpu.unit, cpu.n) == (3.0, "us", 2)
    assert cpu.low <= 3.0 <= cpu.high

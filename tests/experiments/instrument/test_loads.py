"""The search for the highest rate without loss, and the schedule."""

from __future__ import annotations

import socket
import time
from collections import Counter

import pytest

from experiments.instrument.loads import loss_free_rate
from experiments.instrument.pacing import PacingError, batches, send_paced, sender


@pytest.mark.parametrize("limit", [700.0, 9_000.0, 49_000.0])
def test_the_highest_loss_free_rate_is_found(limit: float) -> None:
    found = loss_free_rate(lambda rate: rate <= limit, 500.0, 60_000.0)
    assert limit / 1.05 <= found <= limit


def test_a_loss_by_chance_does_not_lower_it() -> None:
    seen: Counter[float] = Counter()

    def unlucky(rate: float) -> bool:
        seen[rate] += 1
        return rate <= 10_000 and seen[rate] > 2

    assert loss_free_rate(unlucky, 500.0, 60_000.0) > 9_000


def test_it_is_zero_where_even_the_lowest_loses() -> None:
    assert loss_free_rate(lambda _rate: False, 500.0, 60_000.0) == 0.0


def test_the_schedule_is_absolute() -> None:
    moments: list[int] = []
    sent = send_paced(lambda _: moments.append(time.monotonic_ns()), [b"x"] * 50, 1_000.0)
    assert sent.frames == 50
    assert moments[0] >= sent.begin_ns
    assert all(
        moment >= sent.begin_ns + number * 1_000_000 for number, moment in enumerate(moments)
    )


def test_a_sender_too_slow_for_its_schedule_is_saturated() -> None:
    def slow(_batch: bytes) -> None:
        end = time.monotonic_ns() + 2_000_000
        while time.monotonic_ns() < end:
            pass

    assert send_paced(slow, [b"x"] * 20, 5_000.0).saturated


def test_a_burst_arrives_as_single_datagrams() -> None:
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as here,
    ):
        there.bind(("::1", 0))
        there.settimeout(60)
        send = sender(here, there.getsockname()[:2], 100)
        for batch in batches([bytes([number]) * 100 for number in range(8)], 4):
            send(batch)
        arrived = [there.recv(2000) for _ in range(8)]
    assert arrived == [bytes([number]) * 100 for number in range(8)]


def test_a_burst_too_large_for_one_call_is_refused() -> None:
    with pytest.raises(PacingError, match="65000 octets"):
        batches([bytes(1400)] * 64, 64)

"""Shows that every kind of wrong delivery is found, and only that."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.traffic.deliveries import Delivery, compare, expected_deliveries
from experiments.traffic.probe import (
    ReceivedFrame,
    ReceiveEnd,
    SendPlan,
    Stream,
    mac_from_text,
    observe,
)

PLAN = SendPlan(
    "40" * 16,
    1,
    "02:00:00:00:aa:01",
    (
        Stream("02:00:00:00:bb:01", 64, 3, 10.0),
        Stream("ff:ff:ff:ff:ff:ff", 512, 2, 10.0, first_sequence=3),
    ),
)


def reached(plan: SendPlan, stream: Stream) -> Iterable[str]:
    """Says whom a stream of the test reaches."""
    return ("t2a", "t3a") if stream.destination.startswith("ff") else ("t2a",)


EXPECTED = expected_deliveries([PLAN], reached)


def perfect() -> dict[str, list[ReceivedFrame | ReceiveEnd]]:
    """Gives what receivers record when all is well."""
    received: dict[str, list[ReceivedFrame | ReceiveEnd]] = {"t1a": [], "t2a": [], "t3a": []}
    for delivery in EXPECTED:
        received[delivery.receiver].append(observe(delivery.frame.to_bytes(), 0))
    return received


def test_broadcasts_are_due_at_everybody_and_unicasts_at_one() -> None:
    assert len(EXPECTED) == 3 + 2 * 2
    outcome = compare(EXPECTED, perfect())
    assert outcome.ok
    assert (outcome.expected, outcome.received) == (7, 7)


def test_a_missing_frame_is_named() -> None:
    received = perfect()
    received["t3a"].pop()
    outcome = compare(EXPECTED, received)
    assert [delivery.receiver for delivery in outcome.missing] == ["t3a"]
    assert "1 missing, first t3a: sender 1 sequence 4" in outcome.describe()


def test_a_duplicate_is_found() -> None:
    received = perfect()
    received["t2a"].append(received["t2a"][0])
    outcome = compare(EXPECTED, received)
    assert not outcome.ok
    assert [delivery.frame.sequence for delivery in outcome.duplicated] == [0]


def test_a_damaged_frame_is_altered_and_its_original_missing() -> None:
    received = perfect()
    octets = bytearray(EXPECTED[0].frame.to_bytes())
    octets[-1] ^= 1
    received["t2a"][0] = observe(bytes(octets), 0)
    outcome = compare(EXPECTED, received)
    assert len(outcome.altered) == len(outcome.missing) == 1
    assert not outcome.unexpected


def test_a_frame_with_another_source_address_is_altered() -> None:
    received = perfect()
    octets = EXPECTED[0].frame.to_bytes()
    received["t2a"][0] = observe(octets[:6] + mac_from_text("02:00:00:00:cc:01") + octets[12:], 0)
    assert len(compare(EXPECTED, received).altered) == 1


def test_a_frame_at_the_wrong_terminal_is_unexpected_unless_allowed() -> None:
    received = perfect()
    received["t1a"].append(observe(EXPECTED[0].frame.to_bytes(), 0))
    outcome = compare(EXPECTED, received)
    assert [receiver for receiver, _ in outcome.unexpected] == ["t1a"]
    allowed = [Delivery("t1a", EXPECTED[0].frame)]
    assert compare(EXPECTED, received, allowed).ok
    assert compare(EXPECTED, perfect(), allowed).ok
    received["t1a"].append(received["t1a"][0])
    assert len(compare(EXPECTED, received, allowed).duplicated) == 1


def test_a_frame_of_another_run_is_unexpected() -> None:
    received = perfect()
    octets = bytearray(EXPECTED[0].frame.to_bytes())
    octets[14:30] = bytes(16)
    received["t2a"].append(observe(bytes(octets), 0))
    outcome = compare(EXPECTED, received)
    assert not outcome.ok


def test_overflow_of_a_receiver_is_told() -> None:
    received = perfect()
    received["t2a"].append(ReceiveEnd(5, 9, "deadline"))
    assert "overflowed (t2a 9)" in compare(EXPECTED, received).describe()

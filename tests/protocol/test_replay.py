"""The anti-replay window, alone and behind the ICV."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import DropReason
from protocol.replay import WINDOW, ReplayWindow
from protocol.wire.esp import EspHeader
from tests.protocol.associations import SPI, association, outcome

W = WINDOW
CASES = {
    1: ([1], [True]),
    2: ([0], [False]),
    3: ([1, 1], [True, False]),
    4: ([1, 2, 3], [True, True, True]),
    5: ([3, 2, 1], [True, True, True]),
    6: ([3, 2, 3, 2], [True, True, False, False]),
    7: ([W, 1], [True, True]),
    8: ([W + 1, 1], [True, False]),
    9: ([W + 1, 2], [True, True]),
    10: ([W + 1, 2, 2], [True, True, False]),
    11: ([5, 5 + W, 5], [True, True, False]),
    12: ([5, 4 + W, 5], [True, True, False]),
    13: ([5, 4 + W, 6], [True, True, True]),
    14: ([1, 1 + W, 1 + 2 * W, 2 + W, 1 + W], [True, True, True, True, False]),
    15: ([2**48 - 1, 2**48 - 1, 2**48 - 2], [True, False, True]),
    16: ([2**48 - 1, 1], [True, False]),
    17: ([10, 0], [True, False]),
    18: ([1, 3, 2, 2], [True, True, True, False]),
}


def accepted_by_window(counters: list[int]) -> list[bool]:
    window, verdicts = ReplayWindow(), []
    for counter in counters:
        verdicts.append(window.check(counter))
        if verdicts[-1]:
            window.mark(counter)
    return verdicts


@pytest.mark.parametrize("number", CASES)
def test_the_window_accepts_what_the_table_says(number: int) -> None:
    counters, expected = CASES[number]
    assert accepted_by_window(counters) == expected


@given(
    st.lists(
        st.one_of(st.integers(0, 40), st.integers(W - 20, W + 20), st.integers(0, 3 * W)),
        max_size=60,
    )
)
def test_the_window_agrees_with_a_plain_set(counters: list[int]) -> None:
    seen: set[int] = set()
    expected = []
    for counter in counters:
        new = counter > 0 and counter not in seen and counter > max(seen, default=0) - W
        expected.append(new)
        if new:
            seen.add(counter)
    assert accepted_by_window(counters) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 2 * W), st.integers(1, 2 * W)) | st.integers(0, W + 5), max_size=9
    )
)
def test_a_run_is_marked_as_its_counters_are_one_by_one(
    course: list[tuple[int, int] | int],
) -> None:
    together, singly, newest = ReplayWindow(), ReplayWindow(), 0
    for step in course:
        if isinstance(step, int):
            first, count = max(1, newest - step), 1  # one that is late
            together.mark(first)
        else:
            gap, count = step
            first = newest + 1 + gap
            assert together.is_ahead(first)
            together.mark_run(first, count)
        for counter in range(first, first + count):
            singly.mark(counter)
        newest = max(newest, first + count - 1)
        assert not together.is_ahead(newest)
        assert (together._newest, together._seen) == (singly._newest, singly._seen)


def test_a_check_alone_changes_nothing() -> None:
    window = ReplayWindow()
    window.mark(5)
    assert [window.check(counter) for counter in (9000, 5, 4, 9000)] == [True, False, True, True]


# -- behind the ICV


def accepted_of_a_packet_sent_twice() -> int:
    """The replay scenario: how often a receiver accepts one packet that arrives twice."""
    sender, receiver = association(1), association(2)
    packet = sender.seal(b"once only")
    return sum(outcome(receiver, packet) == b"once only" for _ in range(2))


def test_a_packet_that_arrives_twice_is_accepted_once() -> None:
    assert accepted_of_a_packet_sent_twice() == 1


def test_without_the_window_the_replay_scenario_would_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ReplayWindow, "check", lambda self, counter: True)
    assert accepted_of_a_packet_sent_twice() == 2


def test_every_sender_has_a_window_of_its_own() -> None:
    receiver = association(9)
    ahead = association(1, first_counter=500_000)
    others = [association(sender_id) for sender_id in (2, 3, 4)]
    assert outcome(receiver, ahead.seal(b"far ahead")) == b"far ahead"
    for sender in others:
        packets = [sender.seal(b"x") for _ in range(3)]
        assert [outcome(receiver, packet) for packet in packets] == [b"x"] * 3
        assert [outcome(receiver, packet) for packet in packets] == [DropReason.REPLAYED] * 3
    assert receiver.senders == 4


def test_packets_of_one_sender_may_overtake_each_other_within_the_window() -> None:
    sender, receiver = association(1), association(2)
    packets = [sender.seal(bytes([n % 256])) for n in range(W + 1)]
    assert outcome(receiver, packets[W]) == bytes([W % 256])
    assert outcome(receiver, packets[1]) == bytes([1])
    assert outcome(receiver, packets[0]) is DropReason.REPLAYED


@pytest.mark.parametrize("counter", [2, 5000, 2**32 - 1, 2**48 - 1])
def test_a_forged_packet_with_a_counter_far_ahead_leaves_no_trace(counter: int) -> None:
    sender, receiver = association(1), association(2)
    first, second = sender.seal(b"first"), sender.seal(b"second")
    assert outcome(receiver, first) == b"first"
    header = EspHeader(SPI, counter & 0xFFFFFFFF, sender_id=1, counter=counter).pack()
    assert outcome(receiver, header + second[16:-1] + b"\0") is DropReason.FORGED_ICV
    assert outcome(receiver, second) == b"second"


def test_forged_packets_of_unheard_senders_leave_no_trace() -> None:
    receiver = association(2)
    for sender_id in range(100, 200):
        header = EspHeader(SPI, 1, sender_id, 1).pack()
        assert outcome(receiver, header + bytes(40)) is DropReason.FORGED_ICV
    assert receiver.senders == 0


def test_a_replay_is_refused_before_the_cipher_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = association(1), association(2)
    packet = sender.seal(b"once")
    assert outcome(receiver, packet) == b"once"
    monkeypatch.delattr("protocol.cipher.Aead.open")
    assert outcome(receiver, packet) is DropReason.REPLAYED

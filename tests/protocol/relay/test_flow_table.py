"""What has passed from and to each client, whatever becomes of the decisions by which it passed."""

from __future__ import annotations

import pytest

from protocol.errors import DropReason
from protocol.relay import Drop, Forward, Passed
from protocol.relay.flow_table import FLOWS_PER_CLIENT, FlowEntry, FlowKey, FlowTable
from protocol.types import Address, ClientId

A, B, C = (Address(f"3ffe::{number}", 4790) for number in (1, 2, 3))
OF_A, OF_B = ClientId(1), ClientId(2)
TO_B_AND_C = Forward(((B, 0), (C, 16)))


def key(number: int) -> FlowKey:
    return (A, number.to_bytes(4, "big"), b"")


def used(table: FlowTable, number: int, verdict: Forward | Drop, client: ClientId = OF_A) -> None:
    """Keeps a flow by which three datagrams of 100 octets have passed."""
    entry = FlowEntry(verdict, client, None, 0)
    entry.packets, entry.octets = 3, 300
    table.keep(key(number), entry)


def test_what_a_client_has_sent_and_what_went_to_each_address() -> None:
    table = FlowTable()
    used(table, 1, TO_B_AND_C)
    used(table, 2, Forward(((A, 0),)), OF_B)
    sent, received = table.passed()
    assert sent == {OF_A: Passed(3, 300), OF_B: Passed(3, 300)}
    assert received == {A: Passed(3, 300), B: Passed(3, 300), C: Passed(3, 252)}


def test_a_dropped_flow_has_been_sent_and_has_reached_nobody() -> None:
    table = FlowTable()
    used(table, 1, Drop(DropReason.NO_OTHER_MEMBER))
    assert table.passed() == ({OF_A: Passed(3, 300)}, {})


@pytest.mark.parametrize("how", ["forget", "forget_client", "the oldest makes room"])
def test_a_decision_that_goes_takes_no_count_along(how: str) -> None:
    table = FlowTable()
    used(table, 0, TO_B_AND_C)
    before = table.passed()
    if how == "forget":
        table.forget(key(0))
    elif how == "forget_client":
        table.forget_client(OF_A)
    else:
        for number in range(1, FLOWS_PER_CLIENT + 1):
            table.keep(key(number), FlowEntry(TO_B_AND_C, OF_A, None, 0))
    assert table.get(key(0)) is None
    assert table.passed() == before
    used(table, 0, TO_B_AND_C)
    assert table.passed()[0] == {OF_A: Passed(6, 600)}


def test_what_is_told_does_not_change_afterwards() -> None:
    table = FlowTable()
    used(table, 1, TO_B_AND_C)
    table.forget(key(1))
    told = table.passed()
    used(table, 1, TO_B_AND_C)
    table.forget(key(1))
    assert told[0] == {OF_A: Passed(3, 300)}


def test_a_client_that_has_left_is_counted_no_more() -> None:
    table = FlowTable()
    used(table, 1, TO_B_AND_C)
    used(table, 2, Forward(((A, 0),)), OF_B)
    table.forget_client(OF_A)
    table.forget_client(OF_B)
    table.forget_counts(OF_A, A)
    assert table.passed() == ({OF_B: Passed(3, 300)}, {B: Passed(3, 300), C: Passed(3, 252)})

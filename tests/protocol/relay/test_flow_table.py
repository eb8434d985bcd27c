"""What has passed from and to each client, whatever becomes of the decisions by which it passed."""

from __future__ import annotations

import pytest

from protocol.errors import DropReason
from protocol.relay import Drop, Forward, Passed
from protocol.relay.flow_table import FLOWS_PER_CLIENT, FlowEntry, FlowKey, FlowTable
from protocol.relay.tables import Member, NextHop, Sender
from protocol.relay.verdicts import Destination
from protocol.types import Address, ClientId, VpnId

A, B, C = (Address(f"3ffe::{number}", 4790) for number in (1, 2, 3))
OF_A, OF_B = ClientId(1), ClientId(2)
VPN = VpnId(1001)
AT_A, AT_B = Member(OF_A, VPN, A), Member(OF_B, VPN, B)
TO_B_AND_C = Forward((Destination(B), Destination(C, 16)))


def key(number: int) -> FlowKey:
    return (A, number.to_bytes(4, "big"), b"")


def used(table: FlowTable, number: int, verdict: Forward | Drop, sender: Sender = AT_A) -> None:
    """Keeps a flow by which three datagrams of 100 octets have passed."""
    entry = FlowEntry(verdict, sender, VPN, None, 0)
    entry.packets, entry.octets = 3, 300
    table.keep(key(number), entry)


def test_what_a_client_has_sent_and_what_went_to_each_address() -> None:
    table = FlowTable()
    used(table, 1, TO_B_AND_C)
    used(table, 2, Forward((Destination(A),)), AT_B)
    sent, received = table.passed()
    assert sent == {OF_A: Passed(3, 300), OF_B: Passed(3, 300)}
    assert received == {A: Passed(3, 300), B: Passed(3, 300), C: Passed(3, 252)}


def test_a_dropped_flow_has_been_sent_and_has_reached_nobody() -> None:
    table = FlowTable()
    used(table, 1, Drop(DropReason.NO_OTHER_MEMBER))
    assert table.passed() == ({OF_A: Passed(3, 300)}, {})


@pytest.mark.parametrize("how", ["forget", "forget_group", "the oldest makes room"])
def test_a_decision_that_goes_takes_no_count_along(how: str) -> None:
    table = FlowTable()
    used(table, 0, TO_B_AND_C)
    before = table.passed()
    if how == "forget":
        table.forget(key(0))
    elif how == "forget_group":
        table.forget_group(VPN)
    else:
        for number in range(1, FLOWS_PER_CLIENT + 1):
            table.keep(key(number), FlowEntry(TO_B_AND_C, AT_A, VPN, None, 0))
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
    used(table, 2, Forward((Destination(A),)), AT_B)
    table.forget_group(VPN)
    table.forget_counts(AT_A)
    assert table.passed() == ({OF_B: Passed(3, 300)}, {B: Passed(3, 300), C: Passed(3, 252)})


def test_what_comes_by_another_server_has_no_sender_here() -> None:
    table = FlowTable()
    used(table, 1, TO_B_AND_C, NextHop("server-b", A))
    sent, received = table.passed()
    assert sent == {}
    assert received == {B: Passed(3, 300), C: Passed(3, 252)}

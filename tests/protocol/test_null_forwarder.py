"""The null forwarder sends as many copies as the relay, and looks at nothing."""

from __future__ import annotations

from protocol.null_forwarder import NullForwarder
from protocol.relay import Destination, Drop, Forward, Member
from protocol.types import Address, ClientId, VpnId


def members(count: int) -> list[Member]:
    return [
        Member(ClientId(number), VpnId(1001), Address(f"3ffe:{number}::1", 4790))
        for number in range(1, count + 1)
    ]


def header(first_octet_of_destination: int) -> bytes:
    return bytes(10) + bytes([first_octet_of_destination]) + bytes(40)


def test_one_copy_for_a_station_and_one_for_each_other_client_for_a_group_address() -> None:
    null = NullForwarder()
    some = members(3)
    for member in some:
        null.add_member(member)
    assert null.receive_datagram(header(0x02), some[2].address, 0) == Forward(
        (Destination(some[0].address),)
    )
    assert null.receive_datagram(header(0xFF), some[0].address, 0) == Forward(
        (Destination(some[1].address), Destination(some[2].address))
    )


def test_a_stranger_and_a_client_alone_are_answered_with_nothing() -> None:
    null = NullForwarder()
    (alone,) = members(1)
    null.add_member(alone)
    assert isinstance(null.receive_datagram(header(0xFF), alone.address, 0), Drop)
    null.remove_member(ClientId(1))
    assert isinstance(null.receive_datagram(b"", Address("3ffe:9::1", 1), 0), Drop)

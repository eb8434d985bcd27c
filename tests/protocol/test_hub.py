"""The hub: opens, checks and seals anew under each client's own SA."""

from __future__ import annotations

import itertools
from ipaddress import IPv6Address

import pytest

from protocol.errors import DropReason
from protocol.hub import Hub
from protocol.management import AssociationPer, GroupConfiguration, Management, UserRecord
from protocol.management.actions import (
    CheckCredentials,
    ClientKeyMade,
    GroupChanged,
    MemberJoined,
    MemberLeft,
    SendMessage,
)
from protocol.relay import Strip
from protocol.security_association import SecurityAssociation
from protocol.types import KEY_LENGTHS, Address, Algorithm, Secret, VpnId
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.messages import VERSION, GroupSecurityAssociation, Register, Registered
from protocol.wire.vpn_header import VpnHeader

GROUP = IPv6Address("ff1e::1")
HUB = IPv6Address("3ffe::1000")
BROADCAST = b"\xff" * 6


class Member:
    """A client's end: its SA with the hub and its address."""

    def __init__(self, address: Address, given: GroupSecurityAssociation) -> None:
        self.address = address
        self.given = given
        self.association = SecurityAssociation(given)

    def seal(self, frame: bytes) -> bytes:
        packet = InnerPacket(IPv6Address(self.address.host), GROUP, self.association.seal(frame))
        return VpnHeader((frame[6:12], frame[:6])).pack() + packet.pack()

    def open(self, payload: bytes) -> bytes:
        inner = payload if payload[0] >> 4 == 6 else payload[16:]
        assert InnerPacket.parse(inner).destination == GROUP
        return self.association.open(InnerPacket.parse(inner).esp)


class Site:
    """A hub with its key server and some registered members."""

    def __init__(
        self, users: str, strip: Strip = Strip.KEEP, algorithm: Algorithm = "aes-128-gcm"
    ) -> None:
        counter = itertools.count(1)
        self.hub = Hub(HUB, strip)
        self.management = Management(
            [GroupConfiguration(VpnId(1001), GROUP, algorithm)],
            [UserRecord(user, VpnId(1001)) for user in users],
            Address(str(HUB), 4790),
            lambda length: next(counter).to_bytes(4, "big").rjust(length, b"\x77"),
            association_per=AssociationPer.CLIENT,
        )
        self.members: dict[str, Member] = {}
        for number, user in enumerate(users, start=1):
            self.register(number, user)

    def register(self, number: int, user: str) -> None:
        address = Address(f"3ffe:{number}::1", 4790)
        self.management.connection_made(number, address.host, 0)
        message = Register(VERSION, user, Secret(b"x"), 1001, address.port)
        self.management.receive_message(number, message, 0)
        while (action := self.management.next_action()) is not None:
            if isinstance(action, CheckCredentials):
                self.management.credentials_checked(number, True, 0)
            elif isinstance(action, GroupChanged):
                self.hub.install_group(action.group)
            elif isinstance(action, ClientKeyMade):
                self.hub.install_association(action.client_id, action.security_association)
            elif isinstance(action, MemberJoined):
                self.hub.add_member(action.member)
            elif isinstance(action, SendMessage) and isinstance(action.message, Registered):
                given = action.message.security_association
                self.members[user] = Member(address, given)

    def send(self, user: str, frame: bytes) -> dict[str, bytes]:
        member = self.members[user]
        copies = self.hub.receive_datagram(member.seal(frame), member.address, 0)
        by_address = {one.address: name for name, one in self.members.items()}
        return {
            by_address[to]: self.members[by_address[to]].open(payload) for payload, to in copies
        }


def frame(destination: bytes, source: int) -> bytes:
    return destination + bytes([2, 0, 0, 0, 0, source]) + b"\x88\xb5" + bytes(range(50))


@pytest.mark.parametrize("algorithm", KEY_LENGTHS)
@pytest.mark.parametrize("strip", Strip)
def test_a_broadcast_reaches_all_others_and_an_answer_only_the_one(
    strip: Strip, algorithm: Algorithm
) -> None:
    site = Site("ABC", strip, algorithm)
    call = frame(BROADCAST, 1)
    assert site.send("A", call) == {"B": call, "C": call}
    answer = frame(bytes([2, 0, 0, 0, 0, 1]), 2)
    assert site.send("B", answer) == {"A": answer}


def test_no_two_clients_share_a_key_or_spi() -> None:
    given = [member.given for member in Site("ABC").members.values()]
    assert len({one.key.reveal() for one in given}) == len({one.spi for one in given}) == 3


def test_the_hub_changes_every_octet_of_the_sealed_part_for_each_client() -> None:
    site = Site("ABC")
    member = site.members["A"]
    sealed = member.seal(frame(BROADCAST, 1))
    copies = site.hub.receive_datagram(sealed, member.address, 0)
    assert len({payload[56:] for payload, _ in copies} | {sealed[56:]}) == 3


def test_a_replay_and_a_forgery_are_dropped_by_name() -> None:
    site = Site("AB")
    member = site.members["A"]
    sealed = member.seal(frame(BROADCAST, 1))
    assert site.hub.receive_datagram(sealed, member.address, 0)
    assert not site.hub.receive_datagram(sealed, member.address, 0)
    forged = bytearray(member.seal(frame(BROADCAST, 1)))
    forged[-1] ^= 1
    assert not site.hub.receive_datagram(bytes(forged), member.address, 0)
    assert site.hub.drops == {DropReason.REPLAYED: 1, DropReason.FORGED_ICV: 1}


def test_a_header_that_names_another_station_is_found_out() -> None:
    site = Site("AB")
    member = site.members["A"]
    sealed = bytearray(member.seal(frame(BROADCAST, 1)))
    sealed[9] ^= 1
    assert not site.hub.receive_datagram(bytes(sealed), member.address, 0)
    assert site.hub.drops == {DropReason.HEADER_MISMATCH: 1}


def test_anothers_spi_a_stranger_and_rubbish_are_dropped_by_name() -> None:
    site = Site("ABC")
    sealed = site.members["A"].seal(frame(BROADCAST, 1))
    assert not site.hub.receive_datagram(sealed, site.members["B"].address, 0)
    assert not site.hub.receive_datagram(sealed, Address("3ffe:9::1", 4790), 0)
    assert not site.hub.receive_datagram(sealed[:50], site.members["A"].address, 0)
    assert site.hub.drops == {
        DropReason.UNKNOWN_SPI: 1,
        DropReason.UNREGISTERED_SENDER: 1,
        DropReason.MALFORMED_DATAGRAM: 1,
    }


def test_a_client_that_leaves_takes_its_key_and_its_stations_with_it() -> None:
    site = Site("ABC")
    site.send("A", frame(BROADCAST, 1))
    site.management.connection_lost(1, 0)
    while (action := site.management.next_action()) is not None:
        if isinstance(action, MemberLeft):
            site.hub.remove_member(action.client_id)
    assert len(list(site.management.multicast_addresses.client_rows())) == 2
    unknown = frame(bytes([2, 0, 0, 0, 0, 1]), 2)
    assert site.send("B", unknown) == {"C": unknown}
    assert len(site.hub.mac_ip) == 1

"""Sub IDs at VPN servers: what the representative says of them, and of nothing more."""

from __future__ import annotations

from ipaddress import ip_address

from protocol.distribution.publisher import Publisher, SendTables
from protocol.distribution.subscriber import SendReport, Subscriber
from protocol.management.servers import VpnServer
from protocol.relay import Member, Relay, RelayedGroup
from protocol.types import SECOND, Address, ClientId, MemberDelivery, Secret, SubId, VpnId
from protocol.wire.codec import LENGTH_OCTETS, pack
from protocol.wire.table_messages import VERSION, Hello, parse_from_representative

VPN = VpnId(1001)
SERVER = VpnServer("a", Address("3ffe::1000:a", 5000))


class Nobody:
    """Listens to what servers do, and does nothing."""

    def server_up(self, name: str, now: int) -> None:
        """A server is up."""

    def server_down(self, name: str) -> None:
        """A server is gone."""

    def placed(self, client_id: ClientId, server: str, now: int) -> None:
        """A client can be told of its server."""

    def bound(self, client_id: ClientId, address: Address) -> None:
        """A client is elsewhere."""


def group(member_delivery: MemberDelivery = "spi", **sub_ids: int) -> RelayedGroup:
    pairs = frozenset((int(spi[1:]), SubId(sub_id)) for spi, sub_id in sub_ids.items())
    spis = frozenset(spi for spi, _ in pairs)
    return RelayedGroup(VPN, ip_address("ff1e::1"), spis, pairs, member_delivery)


def member(client_id: int, sub_id: int) -> Member:
    address = Address(f"3ffe::{client_id:x}", 5000)
    return Member(ClientId(client_id), VPN, address, sub_id=SubId(sub_id))


class Pair:
    """A publisher and the relay of one server, joined by the octets of the messages."""

    def __init__(self) -> None:
        self.publisher = Publisher([SERVER], Nobody(), 1, Secret(bytes(16)))
        self.relay = Relay()
        self.subscriber = Subscriber(self.relay, 1)
        self.publisher.server_connected(1, "a", SECOND)
        self.publisher.receive_message(1, Hello(VERSION), SECOND)
        self.subscriber.channel_opened(SECOND)
        self.settle()

    def settle(self) -> None:
        self.publisher.flush()
        while (action := self.publisher.next_action()) is not None:
            assert isinstance(action, SendTables)
            body = pack(action.message)[LENGTH_OCTETS:]
            self.subscriber.receive_message(parse_from_representative(body), SECOND)
        while isinstance(self.subscriber.next_action(), SendReport):
            pass

    def tables(self) -> tuple[list[RelayedGroup], list[Member]]:
        return (
            list(self.relay.multicast_addresses.rows()),
            sorted(self.relay.unicast_groups.members(VPN), key=lambda one: one.client_id),
        )


def test_a_server_is_told_which_spi_is_for_which_sub_id_and_who_has_which() -> None:
    pair = Pair()
    rows = group(s4097=1, s4098=2)
    pair.publisher.group_changed(rows)
    for client_id, sub_id in ((1, 1), (2, 1), (3, 2)):
        pair.publisher.member_joined(member(client_id, sub_id), "a")
    pair.settle()
    assert pair.tables() == ([rows], [member(1, 1), member(2, 1), member(3, 2)])


def test_a_server_is_told_of_another_sub_id() -> None:
    pair = Pair()
    pair.publisher.group_changed(group(s4097=1, s4098=2))
    pair.publisher.member_joined(member(3, 2), "a")
    pair.settle()
    pair.publisher.group_changed(group(s4097=1, s4099=1))
    pair.publisher.member_joined(member(3, 1), "a")
    pair.settle()
    assert pair.tables() == ([group(s4097=1, s4099=1)], [member(3, 1)])

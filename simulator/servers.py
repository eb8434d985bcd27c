"""The process that holds the keys: one that relays too, or the representative of others that do.

Patent: Fig. 5-2; Fig. 15 part 1501.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from protocol.distribution.hop_keys import HopKeys
from protocol.distribution.publisher import CloseServer, Publisher, SendTables
from protocol.distribution.representative import Representative
from protocol.errors import WireError
from protocol.management import GroupConfiguration, Management, Rekeying, UserRecord, actions
from protocol.management.servers import VpnServer, VpnServers
from protocol.types import SECOND, Address, SubId, VpnId
from protocol.wire import messages, table_messages
from protocol.wire.codec import Message, MessageBuffer, pack
from protocol.wire.table_messages import Alive
from simulator.channels import Channel
from simulator.processes import DataPort, Process, Timed, relay_of
from topologies.plan import Node

if TYPE_CHECKING:
    from simulator.world import World

HASHING_TIME = 20_000_000
"""ns that a password check takes."""
GATHERING_TIME = 3 * SECOND


class ServerProcess(Process):
    """Manages users and keys; relays if the Plan has no VPN servers, represents them if it has."""

    def __init__(self, world: World, node: Node, start: int) -> None:
        """Takes which start this is, from 1: a representative's epoch."""
        super().__init__(world, node)
        self.epoch = start if world.plan.relays else 0
        self._start = start
        self.octets_sent: Counter[str] = Counter()
        self._channels: dict[int, tuple[Channel, MessageBuffer]] = {}
        self._names: dict[int, str] = {}
        self.relay = relay_of(world)
        self.data_port = None if world.plan.relays else DataPort(self, self.relay)
        self.management = self._management()
        self.representative: Representative | None = None
        if self.management.servers is not None:
            self.representative = Representative(self.management, self._publisher())

    def timed(self) -> Iterator[Timed]:
        """Yields what keeps keys, and what relays."""
        if self.representative is not None:
            yield self.representative
            return
        yield self.management
        yield self.relay

    def crash(self) -> None:
        """Ends; whoever has a channel is told."""
        super().crash()
        for channel, _ in self._channels.values():
            channel.crash(self)

    def users_changed(self) -> None:
        """Takes what the administrators have changed."""
        self.management.users_changed(self.world.user_records(), self.now)
        self.act()

    # -- channels

    def channel_opened(self, channel: Channel) -> None:
        """Takes a client's or VPN server's channel."""
        number = channel.number
        self._channels[number] = (channel, MessageBuffer(table_messages.MAXIMUM_LENGTH))
        if channel.kind == "client":
            peer = str(self.world.network.seen_as(channel.host, self.name))
            self.management.connection_made(number, peer, self.now)
        elif self.representative is not None:
            self._names[number] = channel.host
            self.representative.server_connected(number, channel.host, self.now)
        self.act()

    def octets_received(self, channel: Channel, octets: bytes) -> None:
        """Cuts what was received into messages, and hands them on."""
        self.note("heard", octets)
        number = channel.number
        if number not in self._channels:
            return
        buffer = self._channels[number][1]
        buffer.append(octets)
        try:
            while (body := buffer.next_body()) is not None:
                self._body_received(channel, body)
        except WireError as error:
            if channel.kind == "client":
                self.management.message_broken(number, str(error))
            elif self.representative is not None:
                self.representative.publisher.message_broken(number)
        self.act()

    def _body_received(self, channel: Channel, body: bytes) -> None:
        if channel.kind == "client":
            said = messages.parse_from_client(body)
            self.management.receive_message(channel.number, said, self.now)
        elif self.representative is not None:
            told = table_messages.parse_from_vpn_server(body)
            self.representative.server_message(channel.number, told, self.now)

    def channel_lost(self, channel: Channel) -> None:
        """Takes whoever was at the other end out of the tables."""
        if self._channels.pop(channel.number, None) is None:
            return
        if channel.kind == "client":
            self.management.connection_lost(channel.number, self.now)
        elif self.representative is not None:
            self.representative.server_lost(channel.number, self.now)
        self.act()

    # -- what is to be done

    def drain(self) -> None:
        """Does what management and publisher want done."""
        if self.data_port is not None:
            for client_id, address in self.relay.bindings.take_bound().items():
                self.management.bound(client_id, address)
        source = self.representative or self.management
        while (action := source.next_action()) is not None:
            self._do(action)

    def _do(self, action: object) -> None:
        if isinstance(action, actions.CheckCredentials):
            self.engine.after(HASHING_TIME, self._checked, action)
        elif isinstance(action, (actions.SendMessage, SendTables)):
            self._say(action.connection, action.message)
        elif isinstance(action, (actions.CloseConnection, CloseServer)):
            if action.connection in self._channels:
                self._channels[action.connection][0].close(self)
        elif isinstance(action, actions.GroupChanged):
            self.relay.install_group(action.group)
        elif isinstance(action, actions.MemberJoined):
            self.relay.add_member(action.member)
        elif isinstance(action, actions.MemberLeft):
            self.relay.remove_member(action.client_id)
        else:
            raise TypeError(f"what to do with {action}?")

    def _say(self, number: int, message: Message) -> None:
        known = self._channels.get(number)
        if known is None:
            return
        octets = pack(message)
        if number in self._names and not isinstance(message, Alive):
            self.octets_sent[self._names[number]] += len(octets)
        self.world.observer.handed_out(message)
        known[0].send(self, octets)

    def _checked(self, check: actions.CheckCredentials) -> None:
        if self.running:
            known = any(record.user == check.user for record in self.world.user_records())
            right = check.password.reveal() == self.world.password_of(check.user)
            self.management.credentials_checked(check.connection, known and right, self.now)
            self.act()

    # -- making

    def _management(self) -> Management:
        world, settings = self.world, self.world.settings
        port = settings.data_port
        servers = [
            VpnServer(node.name, Address(str(world.plan.data_address(node.name)), port))
            for node in world.plan.relays
        ]
        again = self.epoch > 1
        return Management(
            groups=[
                GroupConfiguration(
                    VpnId(group.vpn_id),
                    group.multicast_address,
                    settings.algorithm,
                    "multicast" if world.plan.multicast_routers else "relay",
                )
                for group in world.plan.groups
            ],
            users=world.user_records(),
            relay=VpnServers(servers) if servers else Address(str(self.address), port),
            random_octets=world.chance.octets("server", self.name, str(self._start)),
            epoch=self.epoch,
            recovered_at=self.now + settings.recovery if again else 0,
            delivery=world.plan.delivery,
            open_at=self.now + GATHERING_TIME if servers else 0,
            rekeying=Rekeying(settings.rekey),
            member_delivery=settings.member_delivery,
            hop_tags=settings.hop_tags,
            bindings=settings.bindings,
        )

    def _publisher(self) -> Publisher:
        settings, placement = self.world.settings, self.management.placement
        chance = self.world.chance
        assert self.management.servers is not None
        return Publisher(
            self.management.servers,
            placement,
            self.epoch,
            placement.token,
            self.world.plan.delivery,
            settings.distribution,
            settings.mac_reports,
            hop_keys=HopKeys(chance.octets("hops", self.name, str(self._start)))
            if settings.hop_tags
            else None,
        )


def record_of(node: Node) -> UserRecord:
    """Returns a client's row of table 506."""
    assert node.user is not None
    assert node.vpn_id is not None
    return UserRecord(node.user, VpnId(node.vpn_id), SubId(node.sub_id))

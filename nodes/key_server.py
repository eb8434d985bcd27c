"""User VPN management (511) in a process: clients' control channels in, what is to be done about it out.

It hands out the groups' keys, and seals and opens nothing.

Patent: Fig. 5-2 part 511; Fig. 7-1 steps 701-708.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from nodes import server_view
from nodes.channel import Channel
from nodes.clock import Timer, now
from nodes.configuration import ServerConfiguration
from nodes.forwarding import Forwarding
from nodes.process import complain
from nodes.sections import ServerSection
from nodes.users import CHECKS_AT_ONCE, UserDatabase, UserDatabaseError
from nodes.vpn_servers import VpnServerChannels
from protocol.distribution.hop_keys import HopKeys
from protocol.distribution.publisher import CloseServer, Publisher, SendTables
from protocol.distribution.representative import Representative
from protocol.errors import WireError
from protocol.management import AssociationPer, GroupConfiguration, Management, Rekeying
from protocol.management.actions import (
    Action,
    CheckCredentials,
    ClientKeyMade,
    CloseConnection,
    GroupChanged,
    MemberJoined,
    MemberLeft,
    SendMessage,
)
from protocol.management.servers import VpnServer, VpnServers
from protocol.types import SECOND, Address, ClientId, VpnId
from protocol.wire.messages import parse_from_client

PROGRAM = "blindrelay server"
GATHERING_TIME = 3 * SECOND
"""How long, after a restart, clients wait for VPN servers that have not come back yet."""


class KeyServer:
    """Drives user VPN management: control channels in, messages and changes for the relay out."""

    def __init__(
        self,
        management: Management,
        users: UserDatabase,
        forwarding: Forwarding,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.management = management
        self._users = users
        self._forwarding = forwarding
        self._loop = loop
        self.servers: VpnServerChannels | None = None
        self._core: Management | Representative = management
        self._timer = Timer(loop, self._time_out)
        self._channels: dict[int, Channel] = {}
        self._numbers: dict[Channel, int] = {}
        self._next_number = 1
        self._checks: set[asyncio.Task[None]] = set()
        self._few_hashes_at_a_time = asyncio.Semaphore(CHECKS_AT_ONCE)

    def users_changed(self) -> int:
        """Reads table 506 anew, and does what follows; returns how many users there are.

        Raises UserDatabaseError.

        Patent: Fig. 11; table 506; claim 2.
        """
        records = self._users.records()
        self.management.users_changed(records, now())
        self._act()
        return len(records)

    def bound(self, addresses: Mapping[ClientId, Address]) -> None:
        """Notes where clients have shown the relay to be."""
        for client_id, address in addresses.items():
            self.management.bound(client_id, address)
        self._act()

    def tables(self) -> dict[str, server_view.Table]:
        """Returns the key server's tables, and who is on line."""
        if self.servers is None:
            passed = self._forwarding.passed()
        else:
            passed = self.servers.representative.publisher.counts.passed()
        on_line = server_view.users_on_line(self.management, passed)
        return server_view.management_tables(self.management) | on_line

    def represent(self, representative: Representative) -> VpnServerChannels:
        """Has VPN servers relay instead of this process; returns their channels."""
        self._core = representative
        self.servers = VpnServerChannels(representative, self._act)
        return self.servers

    # -- what happens on the channels

    def channel_opened(self, channel: Channel) -> None:
        """Numbers the channel."""
        self._open(channel, channel.peer)

    def admit(self, channel: Channel, outside: str, user: str) -> None:
        """Numbers a channel inside an SA, whose user is known and may have been changed by now."""
        try:
            self.users_changed()
        except UserDatabaseError as error:
            complain(PROGRAM, error)
            channel.close()
            return
        self._open(channel, outside, user)

    def _open(self, channel: Channel, peer: str, authenticated: str | None = None) -> None:
        number = self._next_number
        self._next_number += 1
        self._channels[number], self._numbers[channel] = channel, number
        self.management.connection_made(number, peer, now(), authenticated)
        self._act()

    def body_received(self, channel: Channel, body: bytes) -> None:
        """Hands a client's message to user VPN management."""
        number = self._numbers.get(channel)
        if number is None:
            return
        try:
            message = parse_from_client(body)
        except WireError as error:
            self.management.message_broken(number, str(error))
        else:
            self.management.receive_message(number, message, now())
        self._act()

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """Ends a channel on which no message can be found."""
        number = self._numbers.get(channel)
        if number is not None:
            self.management.message_broken(number, detail)
            self._act()

    def channel_lost(self, channel: Channel) -> None:
        """Takes the channel's client out of its group."""
        number = self._numbers.pop(channel, None)
        if number is not None:
            del self._channels[number]
            self.management.connection_lost(number, now())
            self._act()

    # -- what user VPN management wants done

    def _act(self) -> None:
        while (action := self._core.next_action()) is not None:
            if isinstance(action, (SendTables, CloseServer)):
                assert self.servers is not None
                self.servers.do(action)
            else:
                self._do(action)
        self._timer.set(self._core.next_timeout())

    def _do(self, action: Action) -> None:
        if isinstance(action, SendMessage):
            self._channel(action.connection, lambda channel: channel.send(action.message))
        elif isinstance(action, CheckCredentials):
            task = self._loop.create_task(self._check(action))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)
        elif isinstance(action, CloseConnection):
            self._channel(action.connection, Channel.close)
        elif isinstance(action, GroupChanged):
            self._forwarding.install_group(action.group)
        elif isinstance(action, ClientKeyMade):
            self._forwarding.install_association(action.client_id, action.security_association)
        elif isinstance(action, MemberJoined):
            self._forwarding.add_member(action.member)
        elif isinstance(action, MemberLeft):
            self._forwarding.remove_member(action.client_id)

    def _channel(self, number: int, use: Any) -> None:
        channel = self._channels.get(number)
        if channel is not None:
            use(channel)

    async def _check(self, action: CheckCredentials) -> None:
        """Checks a password in a thread; few at a time bound the memory that argon2 takes."""
        async with self._few_hashes_at_a_time:
            if action.connection not in self._channels:
                return
            try:
                accepted = await self._loop.run_in_executor(
                    None, self._users.verify, action.user, action.password.reveal()
                )
                self.users_changed()
            except UserDatabaseError as error:
                complain(PROGRAM, error)
                accepted = False
        self.management.credentials_checked(action.connection, accepted, now())
        self._act()

    def _time_out(self) -> None:
        self._core.handle_timeout(now())
        self._act()


def management_of(
    configuration: ServerConfiguration,
    users: UserDatabase,
    association_per: AssociationPer,
    epoch: int,
) -> Management:
    """Makes user VPN management as a server's file wants it; ``epoch`` is 0 without VPN servers.

    Raises UserDatabaseError.
    """
    section, timers = configuration.server, configuration.timers
    servers = [
        VpnServer(name, Address(str(one.address), one.data_port))
        for name, one in configuration.servers.items()
    ]
    time = now() if epoch > 1 else 0
    return Management(
        [
            GroupConfiguration(
                VpnId(vpn_id), group.multicast_address, group.algorithm, group.delivery
            )
            for vpn_id, group in configuration.groups.items()
        ],
        users.records(),
        VpnServers(servers) if servers else Address(str(section.address), section.data_port),
        os.urandom,
        round(timers.keepalive_s * SECOND),
        round(timers.timeout_s * SECOND),
        association_per,
        epoch,
        time and time + round(timers.recovery_s * SECOND),
        section.delivery_by,
        time and time + GATHERING_TIME,
        rekeying=Rekeying(
            section.rekey,
            round(section.sa_lifetime_s * SECOND),
            section.sa_lifetime_packets,
        ),
        member_delivery=section.member_delivery,
        hop_tags=section.hop_tags == "required",
        bindings=section.forwarding == "relay",
    )


def publisher_of(section: ServerSection, management: Management, epoch: int) -> Publisher:
    """Makes what keeps the VPN servers' tables."""
    assert management.servers is not None
    placement = management.placement
    return Publisher(
        management.servers,
        placement,
        epoch,
        placement.token,
        section.delivery_by,
        section.distribution,
        section.mac_reports,
        hop_keys=HopKeys(os.urandom) if section.hop_tags == "required" else None,
    )

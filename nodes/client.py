"""The VPN client: ``python -m nodes.client --config client.toml``.

Patent: Fig. 3-1 parts 102-104; Fig. 3-2; claim 10.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import Any

from nodes import client_view, interface
from nodes.channel import (
    CLOSING_TIME,
    HANDSHAKE_TIME,
    Channel,
    ChannelError,
    client_context,
)
from nodes.clock import Timer, now
from nodes.configuration import (
    ClientConfiguration,
    ConfigurationError,
    LanSection,
    load_client,
    load_manual_client,
    read_password,
)
from nodes.counter_file import CounterFile, CounterFileError
from nodes.esp_socket import EspSocket, interface_with
from nodes.interface import LanError
from nodes.lan import Lan, PacketSocketLan, TapLan
from nodes.process import (
    EXIT_GOOD,
    EXIT_MACHINE,
    EXIT_REFUSED,
    EXIT_USAGE,
    complain,
    on_end,
)
from nodes.status import StatusError, close_status, print_status, serve_status
from nodes.udp import UdpSocket
from protocol.client import Client
from protocol.client.actions import (
    Action,
    CloseChannel,
    DeliverFrame,
    Joined,
    JoinGroup,
    LeaveGroup,
    Rejected,
    SendDatagram,
    SendMessage,
    SendPacket,
)
from protocol.client.tables import AuthenticationInformation, VpnInformation
from protocol.errors import WireError
from protocol.security_association import SecurityAssociation
from protocol.types import Address, ClientId, IpAddress, Secret, VpnId
from protocol.wire.inner_packet import lan_mtu
from protocol.wire.messages import GroupSecurityAssociation, Refused, parse_from_server

PROGRAM = "blindrelay client"
BATCH = 64
"""Frames or datagrams taken for one wake-up."""
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
"""Seconds before the control channel is tried again: doubled each time."""


class RefusedError(Exception):
    """The server does not want this client; its words are for the user."""


class Driver:
    """Drives one :class:`Client`: LAN, outside sockets, control channel and timer."""

    def __init__(
        self, client: Client, lan: Lan, udp: UdpSocket, outside_interface: str | None = None
    ) -> None:
        self.client = client
        self.ended = asyncio.Event()
        self.refusal: Refused | None = None
        self.lan_gone = False
        self.channel: Channel | None = None
        self.channel_down = asyncio.Event()
        self.counter_file: CounterFile | None = None
        self._lan = lan
        self._udp = udp
        self._errors_seen = 0
        self._loop = asyncio.get_running_loop()
        self._timer = Timer(self._loop, self._time_out)
        self._outside_interface = outside_interface
        self._multicast: EspSocket | None = None
        self.packets_refused = 0
        self.failure: OSError | None = None

    # -- the LAN and the outside

    def lan_readable(self) -> None:
        """Takes waiting frames of the LAN (step 801)."""
        time = now()
        for _ in range(BATCH):
            frame = self._lan.receive()
            if frame is None:
                self._watch_lan()
                break
            self.client.receive_frame(frame, time)
            self.act()

    def udp_readable(self) -> None:
        """Takes waiting datagrams (step 810)."""
        time = now()
        for _ in range(BATCH):
            received = self._udp.receive()
            if received is None:
                break
            self.client.receive_datagram(received.payload, received.source, time)
            self.act()

    def multicast_readable(self) -> None:
        """Takes waiting packets of the group (step 810)."""
        time = now()
        for _ in range(BATCH):
            received = None if self._multicast is None else self._multicast.receive()
            if received is None:
                break
            self.client.receive_packet(received.packet, received.destination, time)
            self.act()

    def _join(self, multicast_address: IpAddress) -> None:
        """Opens the raw socket and joins; ends the process when it may not."""
        try:
            interface_name = self._outside_interface or interface_with(self._udp.host)
            multicast = EspSocket(self._udp.host, interface_name)
            self._multicast = multicast
            multicast.join(multicast_address)
        except OSError as error:
            self.failure = OSError(error.errno, f"joining {multicast_address}: {error}")
            self.ended.set()
            return
        self._loop.add_reader(multicast.fileno(), self.multicast_readable)

    def leave_multicast(self) -> None:
        """Closes the raw socket, if there is one."""
        if self._multicast is not None:
            self._loop.remove_reader(self._multicast.fileno())
            self._multicast.close()
            self._multicast = None

    def _send_packet(self, action: SendPacket) -> None:
        if self._multicast is None or not self._multicast.send(action.packet, action.destination):
            self.packets_refused += 1

    def _watch_lan(self) -> None:
        """Ends the process when its LAN interface is gone: nothing can be forwarded any more."""
        if self._lan.receive_errors != self._errors_seen:
            self._errors_seen = self._lan.receive_errors
            if self._lan.gone:
                self.lan_gone = True
                self.ended.set()

    # -- the control channel

    def channel_opened(self, channel: Channel) -> None:
        """Registers."""
        self.channel = channel
        self.client.channel_opened(now())
        self.act()

    def body_received(self, channel: Channel, body: bytes) -> None:
        """Hands the server's message to the client."""
        try:
            self.client.receive_message(parse_from_server(body), now())
        except WireError as error:
            self.stream_broken(channel, str(error))
        self.act()

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """Ends a channel whose octets are no message."""
        complain(PROGRAM, f"server {channel.peer}: {detail}")
        channel.close()

    def channel_lost(self, channel: Channel) -> None:
        """Notes that the channel is gone."""
        self.channel = None
        self.client.channel_lost(now())
        self.channel_down.set()
        self.act()

    # -- what the client wants done

    def act(self) -> None:
        """Does all that the client has to be done, and arms the timer."""
        while (action := self.client.next_action()) is not None:
            self._do(action)
        self._timer.set(self.client.next_timeout())

    def _do(self, action: Action) -> None:
        if isinstance(action, SendDatagram):
            self._udp.send(action.payload, action.destination)
        elif isinstance(action, SendPacket):
            self._send_packet(action)
        elif isinstance(action, DeliverFrame):
            self._lan.send(action.frame)
        elif isinstance(action, JoinGroup):
            self._join(action.multicast_address)
        elif isinstance(action, LeaveGroup):
            self.leave_multicast()
        elif isinstance(action, SendMessage):
            if self.channel is not None:
                self.channel.send(action.message)
        elif isinstance(action, CloseChannel):
            if self.channel is not None:
                self.channel.close()
        elif isinstance(action, Joined):
            self._joined(action.lan_mtu)
        elif isinstance(action, Rejected):
            self.refusal = action.refusal
            self.ended.set()

    def _joined(self, mtu: int) -> None:
        information = self.client.information
        assert information is not None
        if isinstance(self._lan, TapLan):
            interface.set_mtu(self._lan.interface, mtu)
        print(
            f"{PROGRAM}: joined VPN {information.vpn_id} as client {information.client_id}, "
            f"LAN MTU {mtu}",
            flush=True,
        )

    def _time_out(self) -> None:
        self.client.handle_timeout(now())
        association = self.client.associations.sealing
        if self.counter_file is not None and association is not None:
            self.counter_file.extend(association)
        self.act()


class Process:
    """One client process: what it has open, and how it ends."""

    def __init__(self, configuration: ClientConfiguration) -> None:
        self._configuration = configuration
        self._loop = asyncio.get_running_loop()
        section = configuration.client
        password = Secret(b"")
        if section.keys == "tls":
            assert section.password_file is not None
            password = read_password(section.password_file)
        self._authentication = AuthenticationInformation(
            section.user, password, VpnId(section.vpn_id)
        )

    async def run(self) -> None:
        """Serves until it is asked to stop, refused, or without its LAN; raises what ended it."""
        section = self._configuration.client
        with _open_lan(self._configuration) as lan:
            udp = UdpSocket(section.address, section.data_port)
            client = Client(self._authentication, section.data_port)
            driver = Driver(client, lan, udp, section.outside_interface)
            try:
                await self._serve(driver, lan, udp)
            finally:
                self._loop.remove_reader(lan.fileno())
                self._loop.remove_reader(udp.fileno())
                driver.leave_multicast()
                udp.close()
                if driver.counter_file is not None:
                    driver.counter_file.close()
        if driver.failure is not None:
            raise driver.failure
        if driver.refusal is not None:
            raise RefusedError(f"refused: {driver.refusal.detail}")
        if driver.lan_gone:
            raise LanError(f"interface {lan.interface}: no such device any more")

    async def _serve(self, driver: Driver, lan: Lan, udp: UdpSocket) -> None:
        section = self._configuration.client
        if section.keys == "manual":
            assert section.manual_file is not None
            _set_by_hand(driver, section.manual_file, self._configuration)
        services = [await serve_status(section.status_socket, lambda: _snapshot(driver, lan, udp))]
        if section.key_socket is not None:
            keys = partial(client_view.keys, driver.client)
            services.append(await serve_status(section.key_socket, keys))
        try:
            on_end(self._loop, driver.ended.set)
            self._loop.add_reader(lan.fileno(), driver.lan_readable)
            self._loop.add_reader(udp.fileno(), driver.udp_readable)
            driver.act()
            if section.keys == "tls":
                await self._keep_registered(driver)
            else:
                await driver.ended.wait()
        finally:
            for service in services:
                await close_status(service)

    async def _keep_registered(self, driver: Driver) -> None:
        """Keeps a control channel open until the end, then leaves the group."""
        section = self._configuration.client
        assert section.certificate_authority is not None
        context = client_context(section.certificate_authority)
        keeper = self._loop.create_task(self._connect_for_ever(driver, context))
        ended = self._loop.create_task(driver.ended.wait())
        await asyncio.wait((keeper, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if keeper.done():
            keeper.result()
        keeper.cancel()
        if driver.channel is not None:
            driver.channel_down.clear()
            driver.client.leave(now())
            driver.act()
            await _within(driver.channel_down.wait(), CLOSING_TIME)

    async def _connect_for_ever(self, driver: Driver, context: ssl.SSLContext) -> None:
        """Opens the control channel, again and again when it is lost."""
        pause = FIRST_PAUSE
        while True:
            driver.channel_down.clear()
            try:
                await self._connect(driver, context)
            except ssl.SSLCertVerificationError as error:
                reason = error.verify_message
                raise ChannelError(f"the server's certificate does not hold: {reason}") from None
            except (OSError, ssl.SSLError, asyncio.TimeoutError) as error:
                complain(PROGRAM, f"no channel to {self._server()}: {error or 'timed out'}")
            else:
                await driver.channel_down.wait()
                if driver.refusal is not None:
                    return
                pause = FIRST_PAUSE if driver.client.information is not None else pause
                complain(PROGRAM, f"the channel to {self._server()} was lost")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect(self, driver: Driver, context: ssl.SSLContext) -> None:
        section = self._configuration.client
        await asyncio.wait_for(
            self._loop.create_connection(
                lambda: Channel(driver),
                str(section.server),
                section.control_port,
                ssl=context,
                server_hostname=section.server_name or str(section.server),
                local_addr=(str(section.address), 0),
                ssl_handshake_timeout=HANDSHAKE_TIME,
            ),
            HANDSHAKE_TIME,
        )

    def _server(self) -> Address:
        section = self._configuration.client
        return Address(str(section.server), section.control_port)


async def _within(awaitable: Any, seconds: float) -> None:
    """Waits at most so long."""
    try:
        await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        return


def _open_lan(configuration: ClientConfiguration) -> Lan:
    """Opens the LAN; a TAP device begins with the MTU that the announced one will most likely be."""
    lan: LanSection = configuration.lan
    if lan.kind == "interface":
        return PacketSocketLan(lan.name)
    version = configuration.client.server.version
    mac = bytes(lan.mac) if lan.mac is not None else None
    return TapLan(lan.name, lan_mtu(version, version), mac)


def _set_by_hand(driver: Driver, path: Path, configuration: ClientConfiguration) -> None:
    """Takes address and SA from a file; the counter goes on behind what was used before."""
    manual = load_manual_client(path)
    driver.counter_file = CounterFile(manual.counter_file)
    first, last = driver.counter_file.reserve()
    association = SecurityAssociation(
        GroupSecurityAssociation(
            manual.spi, manual.algorithm, manual.key, manual.salt, manual.sender_id
        ),
        first,
        last,
    )
    information = VpnInformation(
        ClientId(manual.sender_id),
        VpnId(manual.vpn_id),
        configuration.client.address,
        manual.multicast_address,
        Address(str(manual.server_address), manual.server_port),
        manual.lan_mtu,
    )
    driver.client.configure(information, association)
    print(f"{PROGRAM}: in VPN {manual.vpn_id} by an SA set by hand", flush=True)


def _snapshot(driver: Driver, lan: Lan, udp: UdpSocket) -> dict[str, Any]:
    client = driver.client
    return {
        "tables": client_view.client_tables(client, now()),
        "counters": {
            **client_view.client_counters(client),
            "datagrams_refused_by_network": udp.refused,
            "packets_refused_by_network": driver.packets_refused,
            **{f"lan_{name}": value for name, value in lan.counters().items()},
        },
        "process": client_view.process_view(client),
    }


def connect(path: Path) -> int:
    """Runs a client from its configuration file; returns the exit code."""
    try:
        asyncio.run(_run(load_client(path)))
    except RefusedError as error:
        complain(PROGRAM, error)
        return EXIT_REFUSED
    except (ConfigurationError, ChannelError, CounterFileError, StatusError) as error:
        complain(PROGRAM, error)
        return EXIT_USAGE
    except (LanError, OSError) as error:
        complain(PROGRAM, error)
        return EXIT_MACHINE
    return EXIT_GOOD


async def _run(configuration: ClientConfiguration) -> None:
    await Process(configuration).run()


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nodes.client", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="client.toml")
    parser.add_argument("--status", action="store_true", help="show a running client's tables")
    parser.add_argument("--json", action="store_true", help="with --status: as JSON")
    options = parser.parse_args(arguments)
    if not options.status:
        return connect(options.config)
    try:
        return print_status(load_client(options.config).client.status_socket, options.json)
    except ConfigurationError as error:
        complain(PROGRAM, error)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())

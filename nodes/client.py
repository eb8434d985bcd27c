"""The VPN client: ``python -m nodes.client --config client.toml``.

Patent: Fig. 3-1 parts 102-104; Fig. 3-2; claim 10.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from nodes import client_view
from nodes.channel import ChannelError
from nodes.command_line import Parser
from nodes.configuration import (
    ClientConfiguration,
    ClientSection,
    ConfigurationError,
    LanSection,
    load_client,
    load_manual_client,
    read_password,
)
from nodes.counter_file import CounterFile, CounterFileError
from nodes.datagram_queue import DatagramQueue
from nodes.driver import PROGRAM, Driver
from nodes.interface import LanError
from nodes.keeper import Connector, Keeper, TlsConnector
from nodes.lan import Lan
from nodes.packet_socket_lan import PacketSocketLan
from nodes.process import (
    EXIT_GOOD,
    EXIT_MACHINE,
    EXIT_REFUSED,
    EXIT_USAGE,
    complain,
    on_end,
)
from nodes.status import StatusError, close_status, print_status, serve_status
from nodes.tap_lan import TapLan
from protocol.client import Client
from protocol.client.tables import AuthenticationInformation, VpnInformation
from protocol.security_association import SecurityAssociation
from protocol.types import Address, ClientId, Secret, VpnId
from protocol.wire.inner_packet import lan_mtu
from protocol.wire.messages import GroupSecurityAssociation


class RefusedError(Exception):
    """The server does not want this client; its words are for the user."""


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
        self._connector: Connector | None = None
        if section.keys == "tls":
            self._connector = _connector(section, password)
        if section.control == "ike":
            password = Secret(b"")  # it serves to set up the SA, and is not sent again
        self._authentication = AuthenticationInformation(
            section.user, password, VpnId(section.vpn_id)
        )

    async def run(self) -> None:
        """Serves until it is asked to stop, refused, or without its LAN; raises what ended it."""
        section = self._configuration.client
        with (
            _open_lan(self._configuration) as lan,
            closing(DatagramQueue(section.address, section.data_port)) as udp,
        ):
            client = Client(self._authentication, section.data_port)
            driver = Driver(client, lan, udp, section.outside_interface)
            try:
                await self._serve(driver)
            finally:
                driver.stop()
        if driver.failure is not None:
            raise driver.failure
        if driver.refusal is not None:
            raise RefusedError(f"refused: {driver.refusal.detail}")
        if driver.lan_gone:
            raise LanError(f"interface {lan.interface}: no such device any more")

    async def _serve(self, driver: Driver) -> None:
        section = self._configuration.client
        if section.keys == "manual":
            assert section.manual_file is not None
            _set_by_hand(driver, section.manual_file, self._configuration)
        snapshot = partial(_snapshot, driver, self._connector)
        services = [await serve_status(section.status_socket, snapshot)]
        if section.key_socket is not None:
            keys = partial(client_view.keys, driver.client)
            services.append(await serve_status(section.key_socket, keys))
        try:
            on_end(self._loop, driver.ended.set)
            driver.start()
            if self._connector is not None:
                await self._connector.open()
                await Keeper(driver, section, self._connector).keep()
            else:
                await driver.ended.wait()
        finally:
            if self._connector is not None:
                await self._connector.close()
            for service in services:
                await close_status(service)


def _connector(section: ClientSection, password: Secret) -> Connector:
    """Returns what protects the control channel; the modules for IKE are loaded for IKE alone."""
    if section.control == "tls":
        return TlsConnector(section)
    from nodes.ike.connector import IkeConnector

    return IkeConnector(PROGRAM, section, password)


def _snapshot(driver: Driver, connector: Connector | None) -> dict[str, Any]:
    """Returns the driver's view, with what the control channel is protected by."""
    view = driver.snapshot()
    if connector is not None:
        view["tables"] = dict(sorted({**view["tables"], **connector.tables()}.items()))
        view["process"] |= connector.process_view()
    return view


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


def connect(path: Path) -> int:
    """Runs a client from its configuration file; returns the exit code."""
    try:
        uvloop.run(_run(load_client(path)))
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
    parser = Parser(prog="python -m nodes.client", description=__doc__)
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

"""The VPN server: ``python -m nodes.server --config server.toml``.

User VPN management (511) and VPN transfer (512) in one process, as in embodiment 1; with VPN servers
in its file it is their representative, and carries no frame. The process holds the group's keys in order
to hand them out; it has no cipher.

Patent: Fig. 5-1 part 101; Fig. 5-2; Fig. 15 part 1501; claims 1, 10, 11.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from nodes import relay_view, representative_view, server_view
from nodes.administration import Administration
from nodes.channel import HANDSHAKE_TIME, Channel, ChannelError, server_context
from nodes.clock import Timer, now
from nodes.command_line import Parser
from nodes.configuration import (
    ConfigurationError,
    ServerConfiguration,
    load_manual_server,
    load_server,
)
from nodes.data_plane import answer_bindings
from nodes.epoch import next_epoch
from nodes.forwarding import Forwarding, forwarding_of
from nodes.kernel.beside import Beside
from nodes.key_server import PROGRAM, KeyServer, management_of, publisher_of
from nodes.planes import choose_planes
from nodes.process import EXIT_GOOD, EXIT_MACHINE, EXIT_USAGE, complain, on_end
from nodes.sections import ForwardingName, ServerSection
from nodes.status import StatusError, close_status, print_status, serve_status
from nodes.udp import UdpSocket
from nodes.users import UserDatabase, UserDatabaseError
from nodes.vpn_servers import VpnServerChannels
from protocol.distribution.representative import Representative
from protocol.relay import Member, RelayedGroup
from protocol.types import Address, ClientId, Secret, VpnId

if TYPE_CHECKING:
    from nodes.ike.gateway import Gateway


class Server:
    """One server process: what it has open, and how it ends."""

    def __init__(self, configuration: ServerConfiguration) -> None:
        self._configuration = configuration
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._state = "starting"
        self.forwarding = forwarding_of(configuration)
        self._planes = choose_planes(configuration.server.dataplane)
        self._kernel: Beside | None = None
        self._key_server: KeyServer | None = None
        self._epoch = 0
        self._administration: Administration | None = None
        self._gateway: Gateway | None = None

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT; raises what keeps it from starting."""
        section = self._configuration.server
        if self._configuration.servers:
            await self._represent()
            return
        udp = self._planes.open(section.address, section.data_port)
        on_end(self._loop, self._ended.set)
        try:
            timer = ForwardingTimer(self.forwarding, self._loop)
            plane = self.forwarding.plane(self._planes, udp, lambda: self._moved(udp, timer))
            self._kernel = Beside(
                section.dataplane,
                PROGRAM,
                lambda: self.forwarding.kernel_plane(section.address, section.data_port),
            )
            control = await self._start_keys()
            self._loop.add_reader(udp.fileno(), plane.readable)
            status = await serve_status(section.status_socket, self._snapshot)
            self._state = "serving"
            print(
                f"{PROGRAM}: {section.forwarding} serving on {udp.address}, "
                + self._kernel.say(self._planes.name),
                flush=True,
            )
            await self._ended.wait()
            await close_status(status)
            if control is not None:
                control.close()
        finally:
            await self._end_administration()
            self._loop.remove_reader(udp.fileno())
            if self._kernel is not None:
                self._kernel.close()
            udp.close()

    def _moved(self, udp: UdpSocket, timer: ForwardingTimer) -> None:
        """Does what datagrams that were moved may have left to do."""
        if not self.forwarding.take_news():
            return
        bindings = self.forwarding.bindings
        if bindings is not None:
            answer_bindings(bindings, udp)
            bound = bindings.take_bound()
            if bound and self._key_server is not None:
                self._key_server.bound(bound)
        timer.arm()

    async def _represent(self) -> None:
        """Serves as VPN servers' representative: no data socket, and a port of its own for them."""
        section = self._configuration.server
        on_end(self._loop, self._ended.set)
        control = await self._start_keys()
        assert control is not None
        try:
            status = await serve_status(section.status_socket, self._snapshot)
            self._state = "serving"
            address = Address(str(section.address), section.control_port)
            count = len(self._configuration.servers)
            print(f"{PROGRAM}: representative of {count} on {address}", flush=True)
            await self._ended.wait()
            await close_status(status)
        finally:
            control.close()
            await self._end_administration()
            if self._key_server is not None and self._key_server.servers is not None:
                self._key_server.servers.close()

    async def _start_keys(self) -> asyncio.Server | None:
        """Starts the key server, or takes groups and members as set by hand."""
        section = self._configuration.server
        if section.keys == "manual":
            assert section.manual_file is not None
            _set_by_hand(self.forwarding, section.manual_file)
            return None
        assert section.certificate is not None
        assert section.private_key is not None
        assert section.database is not None
        users = UserDatabase(section.database)
        if self._configuration.servers:
            self._epoch = next_epoch(section.database)
        management = management_of(
            self._configuration, users, self.forwarding.association_per, self._epoch
        )
        self._key_server = KeyServer(management, users, self.forwarding, self._loop)
        if self._configuration.servers:
            representative = Representative(
                management, publisher_of(section, management, self._epoch)
            )
            self._key_server.represent(representative).listen(self._configuration)
        context = server_context(section.certificate, section.private_key)
        key_server = self._key_server
        if section.control == "ike":
            self._gateway = _gateway(section, users, key_server)
        self._administration = Administration(users, self._users_changed)
        await self._administration.start(section.admin_socket)
        if self._gateway is not None:
            gateway = self._gateway
            await gateway.start()
            return await self._loop.create_server(
                lambda: Channel(gateway), str(gateway.inner), section.control_port
            )
        return await self._loop.create_server(
            lambda: Channel(key_server),
            str(section.address),
            section.control_port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_TIME,
        )

    def _users_changed(self) -> int:
        """Takes table 506 anew, and has charon do so."""
        assert self._key_server is not None
        count = self._key_server.users_changed()
        if self._gateway is not None:
            self._gateway.users_changed()
        return count

    async def _end_administration(self) -> None:
        if self._administration is not None:
            await self._administration.close()
        if self._gateway is not None:
            await self._gateway.close()

    def _snapshot(self) -> dict[str, Any]:
        tables = self.forwarding.tables(now())
        if self._key_server is not None:
            tables |= self._key_server.tables()
        view: dict[str, dict[str, Any]] = {
            "tables": dict(sorted(tables.items())),
            "counters": self.forwarding.counters(),
            "process": server_view.process_view(self._state) | {"dataplane": self._planes.name},
        }
        if self._gateway is not None:
            view["tables"] |= self._gateway.tables()
        if self._key_server is not None:
            view["process"] |= (
                {"control": "tls"} if self._gateway is None else self._gateway.process_view()
            )
        if self._kernel is not None:
            view["counters"] |= self._kernel.counters()
            view["process"]["dataplane"] = self._kernel.name(self._planes.name)
        servers = self._key_server.servers if self._key_server is not None else None
        return view if servers is None else self._snapshot_of_representative(view, servers)

    def _snapshot_of_representative(
        self, view: dict[str, Any], servers: VpnServerChannels
    ) -> dict[str, Any]:
        """Returns the view without what the VPN servers hold, and with what is said of them."""
        management, publisher = (
            servers.representative.management,
            servers.representative.publisher,
        )
        assert self._key_server is not None
        tables = self._key_server.tables() | relay_view.unicast_groups(management)
        if self._gateway is not None:
            tables |= self._gateway.tables()
        tables |= representative_view.representative_tables(
            management, publisher, servers.octets_sent
        )
        not_taken = {f"stations_{name}": count for name, count in publisher.not_taken.items()}
        return {
            "tables": dict(sorted(tables.items())),
            "counters": {
                **servers.counters,
                **not_taken,
                "counts_foreign_client": publisher.foreign_counts,
                "addresses_foreign_client": publisher.foreign_addresses,
            },
            "process": {**view["process"], "epoch": self._epoch},
        }


class ForwardingTimer:
    """Keeps what forwards in time; the data plane arms it when datagrams may have changed something."""

    def __init__(self, forwarding: Forwarding, loop: asyncio.AbstractEventLoop) -> None:
        self._forwarding = forwarding
        self._timer = Timer(loop, self._time_out)

    def arm(self) -> None:
        """Sets the timer to what the forwarding says."""
        self._timer.set(self._forwarding.next_timeout())

    def _time_out(self) -> None:
        self._forwarding.handle_timeout(now())
        self.arm()


def _gateway(section: ServerSection, users: UserDatabase, key_server: KeyServer) -> Gateway:
    """Makes what takes registrations inside SAs; the modules for IKE are loaded for IKE alone."""
    from nodes.ike.gateway import Gateway

    assert section.certificate is not None
    assert section.private_key is not None
    users.keep_nt_hashes()
    certificate = section.certificate.read_text(encoding="ascii")
    private_key = Secret(section.private_key.read_bytes())
    return Gateway(PROGRAM, section, certificate, private_key, users.nt_hashes, key_server)


def _set_by_hand(relay: Forwarding, path: Path) -> None:
    """Gives the relay its groups and members from a file: no registration, and no key anywhere."""
    for vpn_id, group in load_manual_server(path).groups.items():
        relay.install_group(
            RelayedGroup(VpnId(vpn_id), group.multicast_address, frozenset(group.spis))
        )
        for member in group.members:
            address = Address(str(member.address), member.port)
            relay.add_member(Member(ClientId(member.client_id), VpnId(vpn_id), address))


def serve(path: Path, forwarding: ForwardingName | None = None) -> int:
    """Runs a server from its configuration file; returns the exit code."""
    try:
        configuration = load_server(path, forwarding)
        uvloop.run(_run(configuration))
    except (ConfigurationError, ChannelError, UserDatabaseError, StatusError) as error:
        complain(PROGRAM, error)
        return EXIT_USAGE
    except OSError as error:
        complain(PROGRAM, error)
        return EXIT_MACHINE
    return EXIT_GOOD


async def _run(configuration: ServerConfiguration) -> None:
    await Server(configuration).run()


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(prog="python -m nodes.server", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="server.toml")
    parser.add_argument(
        "--forwarding",
        choices=("relay", "hub", "null"),
        help="what it does with frames, whatever the file says: relay (the patent's), hub (decrypts "
        "and encrypts again), null (sends on without looking; for measuring)",
    )
    parser.add_argument("--status", action="store_true", help="show a running server's tables")
    parser.add_argument("--json", action="store_true", help="with --status: as JSON")
    options = parser.parse_args(arguments)
    if not options.status:
        return serve(options.config, options.forwarding)
    try:
        return print_status(load_server(options.config).server.status_socket, options.json)
    except ConfigurationError as error:
        complain(PROGRAM, error)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())

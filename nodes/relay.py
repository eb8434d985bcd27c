"""A VPN server that only relays: ``python -m nodes.relay --config a.toml``.

VPN transfer (512) alone. Its tables come from the representative; no data key ever does, and nothing that
this process loads could use one.

Patent: Fig. 15 parts 1502, 1503; Fig. 17; effects E4, E5.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import uvloop

from nodes import relay_view
from nodes.channel import ChannelError
from nodes.clock import Timer, now
from nodes.command_line import Parser
from nodes.configuration import ConfigurationError, load_relay
from nodes.data_plane import answer_bindings
from nodes.kernel.beside import Beside
from nodes.kernel.plane import open_kernel_plane
from nodes.planes import choose_planes
from nodes.process import EXIT_GOOD, EXIT_MACHINE, EXIT_USAGE, complain, on_end
from nodes.reporter import PROGRAM, Reporter
from nodes.sections import DataPlaneName, RelayConfiguration
from nodes.status import StatusError, close_status, print_status, serve_status
from nodes.udp import UdpSocket
from protocol.distribution.subscriber import NOTHING, Subscriber
from protocol.relay import Relay, Strip, TaggedRelay
from protocol.types import SECOND

START_OCTETS = 7
"""Random octets that tell this start of the process from others: counts begin at zero with each."""


class RelayServer:
    """One VPN server process: what it has open, and how it ends."""

    def __init__(self, configuration: RelayConfiguration) -> None:
        """Raises ChannelError when a certificate's file does not serve, OSError without its data plane."""
        section, timers = configuration.relay, configuration.timers
        self._section = section
        self._planes = choose_planes(section.dataplane)
        self._kernel: Beside | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        kind = TaggedRelay if section.hop_tags == "required" else Relay
        self.relay = kind(
            Strip(section.strip),
            round(timers.mac_lifetime_s * SECOND),
            round(timers.hold_down_s * SECOND),
        )
        start = int.from_bytes(os.urandom(START_OCTETS), "big")
        self.subscriber = Subscriber(self.relay, start)
        self._timer = Timer(self._loop, self._time_out)
        self.reporter = Reporter(self.subscriber, section, self._arm)

    @property
    def state(self) -> str:
        """``waiting`` until the representative has given tables, then ``serving``."""
        return "waiting" if self.subscriber.epoch == NOTHING else "serving"

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT; raises what keeps it from starting."""
        section = self._section
        udp = self._planes.open(section.address, section.data_port)
        try:
            plane = self._planes.deciding(udp, self.relay, lambda: self._moved(udp))
            self._kernel = Beside(
                section.dataplane,
                PROGRAM,
                lambda: open_kernel_plane(self.relay, section.address, section.data_port),
            )
            self._loop.add_reader(udp.fileno(), plane.readable)
            status = await serve_status(self._section.status_socket, self._snapshot)
            try:
                await self._serve(udp)
            finally:
                await close_status(status)
        finally:
            self._loop.remove_reader(udp.fileno())
            if self._kernel is not None:
                self._kernel.close()
            udp.close()

    async def _serve(self, udp: UdpSocket) -> None:
        """Keeps the channel to the representative until the process is asked to end."""
        on_end(self._loop, self._ended.set)
        assert self._kernel is not None
        print(
            f"{PROGRAM}: relay waiting for its tables on {udp.address}, "
            + self._kernel.say(self._planes.name),
            flush=True,
        )
        keeping = self._loop.create_task(self.reporter.keep())
        ended = self._loop.create_task(self._ended.wait())
        await asyncio.wait((keeping, ended), return_when=asyncio.FIRST_COMPLETED)
        for task in (keeping, ended):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping

    def _moved(self, udp: UdpSocket) -> None:
        """Does what datagrams that were moved may have left to do."""
        if not self.relay.take_news():
            return
        answer_bindings(self.relay.bindings, udp)
        self.reporter.act()

    # -- time

    def _time_out(self) -> None:
        time = now()
        self.relay.handle_timeout(time)
        self.subscriber.handle_timeout(time)
        self.reporter.act()

    def _arm(self) -> None:
        times = (self.relay.next_timeout(), self.subscriber.next_timeout())
        self._timer.set(min((time for time in times if time is not None), default=None))

    def _dataplane(self) -> DataPlaneName:
        sockets = self._planes.name
        return sockets if self._kernel is None else self._kernel.name(sockets)

    def _snapshot(self) -> dict[str, Any]:
        subscriber = self.subscriber
        tables = relay_view.tables_of_relay(self.relay)
        tables |= relay_view.learnt_tables(self.relay, now())
        tables |= relay_view.counts_of_clients(subscriber.counts)
        return {
            "tables": dict(sorted(tables.items())),
            "counters": {
                **relay_view.relay_counters(self.relay),
                **(self._kernel.counters() if self._kernel is not None else {}),
                "table_messages_received": 0,
                "table_octets_received": 0,
                **self.reporter.counters,
                **{f"ignored_{name}": count for name, count in subscriber.ignored.items()},
            },
            "process": {
                **relay_view.process_view(self.state),
                "dataplane": self._dataplane(),
                "epoch": subscriber.epoch,
                "sequence": subscriber.sequence,
                "representative_connected": self.reporter.connected,
            },
        }


def serve(path: Path) -> int:
    """Runs a VPN server from its configuration file; returns the exit code."""
    try:
        uvloop.run(_run(load_relay(path)))
    except (ConfigurationError, ChannelError, StatusError) as error:
        complain(PROGRAM, error)
        return EXIT_USAGE
    except OSError as error:
        complain(PROGRAM, error)
        return EXIT_MACHINE
    return EXIT_GOOD


async def _run(configuration: RelayConfiguration) -> None:
    await RelayServer(configuration).run()


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(prog="python -m nodes.relay", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="a.toml")
    parser.add_argument("--status", action="store_true", help="show a running relay's tables")
    parser.add_argument("--json", action="store_true", help="with --status: as JSON")
    options = parser.parse_args(arguments)
    if not options.status:
        return serve(options.config)
    try:
        return print_status(load_relay(options.config).relay.status_socket, options.json)
    except ConfigurationError as error:
        complain(PROGRAM, error)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())

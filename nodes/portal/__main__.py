"""The process of the group administrators' page: ``python -m nodes.portal --config portal.toml``.

Patent: Fig. 11 (embodiment 2).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from nodes.channel import ChannelError, server_context
from nodes.command_line import Parser
from nodes.portal.application import PROGRAM, application
from nodes.portal.configuration import PortalConfiguration, load_portal
from nodes.portal.desk import Desk
from nodes.process import EXIT_GOOD, EXIT_MACHINE, EXIT_USAGE, complain, on_end, reason_of
from nodes.toml_document import ConfigurationError
from nodes.users import UserDatabase, UserDatabaseError
from protocol.types import Address

BACKLOG = 128
CONNECTIONS = 256
CLOSING_SECONDS = 2


async def serve(configuration: PortalConfiguration) -> None:
    """Serves the page until SIGTERM or SIGINT; raises what keeps it from starting."""
    desk = Desk(configuration, UserDatabase(configuration.database))
    context = server_context(configuration.certificate, configuration.private_key)
    server = uvicorn.Server(_settings(desk, context))

    def end() -> None:
        desk.closing.set()
        server.should_exit = True

    # uvicorn passes the signal on when it is done, and would end the process by it
    on_end(asyncio.get_running_loop(), end)
    with _listener(configuration) as listener:
        where = " or ".join(sorted(configuration.origins))
        print(f"{PROGRAM}: serving at {where}", flush=True)
        await server.serve(sockets=[listener])


def _settings(desk: Desk, context: ssl.SSLContext) -> uvicorn.Config:
    def context_factory(_: uvicorn.Config, __: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        return context

    return uvicorn.Config(
        application(desk),
        ssl_context_factory=context_factory,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )


def _listener(configuration: PortalConfiguration) -> socket.socket:
    family = socket.AF_INET6 if configuration.address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(configuration.address), configuration.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        wanted = Address(str(configuration.address), configuration.port)
        raise OSError(f"TCP {wanted}: {reason_of(error)}") from None
    return listener


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(prog="python -m nodes.portal", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="portal.toml")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(serve(load_portal(options.config)))
    except (ConfigurationError, ChannelError, UserDatabaseError) as error:
        complain(PROGRAM, error)
        return EXIT_USAGE
    except OSError as error:
        complain(PROGRAM, error)
        return EXIT_MACHINE
    return EXIT_GOOD


if __name__ == "__main__":
    sys.exit(main())

"""Keeps a client's control channel open for as long as the client runs, and leaves the group at the end.

Patent: Fig. 1; Fig. 7-1 step 701.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Protocol

from nodes.channel import (
    CLOSING_TIME,
    HANDSHAKE_TIME,
    Channel,
    ChannelError,
    CredentialsError,
    Events,
    client_context,
)
from nodes.clock import now
from nodes.driver import PROGRAM, Driver
from nodes.process import complain, reason_of
from nodes.sections import ClientSection
from protocol.types import Address
from protocol.wire.messages import RefusalReason, Refused

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
"""Seconds before the control channel is tried again: doubled each time."""


class Connector(Protocol):
    """Sets up what protects the control channel, and the channel in it."""

    async def open(self) -> None:
        """Starts what it needs; raises OSError."""

    async def connect(self, events: Events) -> None:
        """Opens a channel; raises ChannelError when trying again is of no use."""

    async def close(self) -> None:
        """Ends what it has started."""

    def tables(self) -> dict[str, Any]:
        """Returns what the status shows of it."""

    def process_view(self) -> dict[str, Any]:
        """Returns what the status says of it."""


class TlsConnector:
    """Channels over TLS 1.3."""

    def __init__(self, section: ClientSection) -> None:
        """Raises ChannelError when the certificate authority's file does not serve."""
        assert section.certificate_authority is not None
        self._section = section
        self._context = client_context(section.certificate_authority)

    async def open(self) -> None:
        """Has nothing to start."""

    async def connect(self, events: Events) -> None:
        """Opens a channel; raises ChannelError when the server is not the one wanted."""
        section = self._section
        opening = asyncio.get_running_loop().create_connection(
            lambda: Channel(events),
            str(section.server),
            section.control_port,
            ssl=self._context,
            server_hostname=section.server_name or str(section.server),
            local_addr=(str(section.address), 0),
            ssl_handshake_timeout=HANDSHAKE_TIME,
        )
        try:
            await asyncio.wait_for(opening, HANDSHAKE_TIME)
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message
            raise ChannelError(f"the server's certificate does not hold: {reason}") from None

    async def close(self) -> None:
        """Has nothing to end."""

    def tables(self) -> dict[str, Any]:
        """Has nothing to show."""
        return {}

    def process_view(self) -> dict[str, Any]:
        """Says what protects the channel."""
        return {"control": "tls"}


class Keeper:
    """Opens the control channel that a :class:`Driver` registers on, and opens it again when it is lost."""

    def __init__(self, driver: Driver, section: ClientSection, connector: Connector) -> None:
        self._driver = driver
        self._server = Address(str(section.server), section.control_port)
        self._connector = connector
        self._loop = asyncio.get_running_loop()

    async def keep(self) -> None:
        """Returns when the driver has ended; raises ChannelError when the server is not the one wanted."""
        driver = self._driver
        connecting = self._loop.create_task(self._connect_for_ever())
        ended = self._loop.create_task(driver.ended.wait())
        await asyncio.wait((connecting, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if connecting.done():
            connecting.result()
        connecting.cancel()
        if driver.channel is not None:
            driver.channel_down.clear()
            driver.client.leave(now())
            driver.act()
            await _within(driver.channel_down.wait(), CLOSING_TIME)

    async def _connect_for_ever(self) -> None:
        """Opens the control channel, again and again when it is lost."""
        driver = self._driver
        pause = FIRST_PAUSE
        while True:
            driver.channel_down.clear()
            try:
                await self._connector.connect(driver)
            except CredentialsError as error:
                refusal = Refused(RefusalReason.CREDENTIALS, str(error))
                driver.client.receive_message(refusal, now())
                driver.act()
                return
            except (OSError, asyncio.TimeoutError) as error:
                complain(PROGRAM, f"no channel to {self._server}: {reason_of(error)}")
            else:
                await driver.channel_down.wait()
                if driver.refusal is not None:
                    return
                pause = FIRST_PAUSE if driver.client.information is not None else pause
                complain(PROGRAM, f"the channel to {self._server} was lost")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


async def _within(awaitable: Any, seconds: float) -> None:
    """Waits at most so long."""
    try:
        await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        return

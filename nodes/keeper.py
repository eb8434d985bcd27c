"""Keeps a client's control channel open for as long as the client runs, and leaves the group at the end.

Patent: Fig. 1; Fig. 7-1 step 701.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from nodes.channel import CLOSING_TIME, HANDSHAKE_TIME, Channel, ChannelError, client_context
from nodes.clock import now
from nodes.driver import PROGRAM, Driver
from nodes.process import complain
from nodes.sections import ClientSection
from protocol.types import Address

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
"""Seconds before the control channel is tried again: doubled each time."""


class Keeper:
    """Opens the control channel that a :class:`Driver` registers on, and opens it again when it is lost."""

    def __init__(self, driver: Driver, section: ClientSection) -> None:
        """Raises ChannelError when the certificate authority's file does not serve."""
        assert section.certificate_authority is not None
        self._driver = driver
        self._section = section
        self._server = Address(str(section.server), section.control_port)
        self._context = client_context(section.certificate_authority)
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
                await self._connect()
            except ssl.SSLCertVerificationError as error:
                reason = error.verify_message
                raise ChannelError(f"the server's certificate does not hold: {reason}") from None
            except (OSError, ssl.SSLError, asyncio.TimeoutError) as error:
                complain(PROGRAM, f"no channel to {self._server}: {error or 'timed out'}")
            else:
                await driver.channel_down.wait()
                if driver.refusal is not None:
                    return
                pause = FIRST_PAUSE if driver.client.information is not None else pause
                complain(PROGRAM, f"the channel to {self._server} was lost")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect(self) -> None:
        section = self._section
        await asyncio.wait_for(
            self._loop.create_connection(
                lambda: Channel(self._driver),
                str(section.server),
                section.control_port,
                ssl=self._context,
                server_hostname=section.server_name or str(section.server),
                local_addr=(str(section.address), 0),
                ssl_handshake_timeout=HANDSHAKE_TIME,
            ),
            HANDSHAKE_TIME,
        )


async def _within(awaitable: Any, seconds: float) -> None:
    """Waits at most so long."""
    try:
        await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        return

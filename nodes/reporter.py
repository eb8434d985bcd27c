"""A VPN server's channel to its representative: opened again whenever it is lost.

The server goes on forwarding with the tables that it has while the representative is away.

Patent: Figs. 15, 16; tables 507, 508.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable

from nodes.channel import HANDSHAKE_TIME, Channel, client_context
from nodes.clock import now
from nodes.process import complain, reason_of
from nodes.sections import RelaySection
from protocol.distribution.subscriber import SendReport, Subscriber
from protocol.errors import WireError
from protocol.types import Address
from protocol.wire.codec import LENGTH_OCTETS
from protocol.wire.table_messages import MAXIMUM_LENGTH, Alive, parse_from_representative

PROGRAM = "blindrelay relay"
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
"""Seconds before the channel is tried again: doubled each time."""


class Reporter:
    """Drives a :class:`Subscriber` over mutual TLS."""

    def __init__(
        self, subscriber: Subscriber, section: RelaySection, arm_timer: Callable[[], None]
    ) -> None:
        """Takes what to call once something has been done; ChannelError for a file that fails."""
        self.counters: Counter[str] = Counter()
        self._subscriber = subscriber
        self._section = section
        self._arm_timer = arm_timer
        self._representative = Address(str(section.representative), section.servers_port)
        own = section.certificate, section.private_key
        self._context = client_context(section.certificate_authority, own)
        self._channel: Channel | None = None
        self._down = asyncio.Event()
        self._pause = FIRST_PAUSE
        self._last_complaint = ""

    @property
    def connected(self) -> bool:
        """Whether there is a channel to the representative."""
        return self._channel is not None

    async def keep(self) -> None:
        """Opens the channel, again and again, until it is cancelled."""
        while True:
            self._down.clear()
            try:
                await self._connect()
            except ssl.SSLCertVerificationError as error:
                reason = error.verify_message
                self._complain(f"the representative's certificate does not hold: {reason}")
            except (OSError, asyncio.TimeoutError) as error:
                self._complain(f"no channel to {self._representative}: {reason_of(error)}")
            else:
                await self._down.wait()
                self._complain(f"the channel to {self._representative} was lost")
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _connect(self) -> None:
        section = self._section
        opening = asyncio.get_running_loop().create_connection(
            lambda: Channel(self, MAXIMUM_LENGTH, MAXIMUM_LENGTH),
            str(section.representative),
            section.servers_port,
            ssl=self._context,
            server_hostname=section.representative_name or str(section.representative),
            local_addr=(str(section.address), 0),
            ssl_handshake_timeout=HANDSHAKE_TIME,
        )
        await asyncio.wait_for(opening, HANDSHAKE_TIME)

    def _complain(self, text: str) -> None:
        """Says what is wrong once, however often it is tried in vain."""
        if text != self._last_complaint:
            self._last_complaint = text
            complain(PROGRAM, text)

    # -- what happens on the channel

    def channel_opened(self, channel: Channel) -> None:
        """Greets the representative."""
        self._channel = channel
        self._subscriber.channel_opened(now())
        self.act()

    def body_received(self, channel: Channel, body: bytes) -> None:
        """Hands the representative's message to the subscriber."""
        try:
            message = parse_from_representative(body)
        except WireError as error:
            self.stream_broken(channel, str(error))
            return
        if not isinstance(message, Alive):
            self.counters["table_messages_received"] += 1
            self.counters["table_octets_received"] += LENGTH_OCTETS + len(body)
            self._pause, self._last_complaint = FIRST_PAUSE, ""
        self._subscriber.receive_message(message, now())
        self.act()

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """Ends a channel whose octets are no message."""
        self.counters["ignored_broken"] += 1
        self._complain(f"representative {self._representative}: {detail}")
        channel.close()

    def channel_lost(self, channel: Channel) -> None:
        """Notes that the channel is gone."""
        if channel is not self._channel:
            return
        self._channel = None
        self._subscriber.channel_lost(now())
        self._down.set()
        self.act()

    # -- what the subscriber wants done

    def act(self) -> None:
        """Tells which stations have come and gone, and does all that the subscriber has to be done."""
        self._subscriber.report()
        while (action := self._subscriber.next_action()) is not None:
            if self._channel is None:
                continue
            if isinstance(action, SendReport):
                self._channel.send(action.message)
            else:
                if action.reason:
                    self._complain(action.reason)
                self._channel.close()
        self._arm_timer()

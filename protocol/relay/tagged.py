"""A relay that takes only datagrams with the hop tag of their sender: a client, or another VPN server.

The tag is checked for every datagram before its flow is looked up, so that nobody who does not have the
key of that hop can have a datagram forwarded, or a station learnt, in its sender's name.

Patent: Fig. 7-2 steps 709-711.
"""

from __future__ import annotations

from protocol.errors import DropReason
from protocol.hop_tag import LENGTH, Tagged, count_alike
from protocol.relay.flow import flow_octets
from protocol.relay.transfer import Relay
from protocol.relay.verdicts import Verdict
from protocol.wire.probe import PROBE
from protocol.wire.vpn_header import HOP_TAG_FOLLOWS


class TaggedRelay(Relay):
    """Checks tags, and forwards as any relay does.

    What goes to another VPN server gets the tag of that hop; to clients the tag goes as it came, and
    says nothing to them.
    """

    requires_hop_tags = True

    _flags = HOP_TAG_FOLLOWS
    _tag_length = LENGTH

    def receive_datagram(
        self, datagram: bytes | memoryview, source: tuple[str, int], now: int
    ) -> Verdict:
        """Decides about one datagram's payload: to drop it, or as its flow is decided.

        Patent: Fig. 7-2 steps 709-711.
        """
        length = len(datagram)
        if length and datagram[0] == PROBE:
            return self._receive_unusual(datagram, source, now)
        sender = self._sender(source)
        if sender is None:
            return self._drop(DropReason.UNREGISTERED_SENDER, length)
        tagged = Tagged.parse(datagram)
        if tagged is None or not any(tagged.holds(key) for key in sender.hop_keys):
            return self._drop(DropReason.FORGED_HOP_TAG, length)
        return self._decide(flow_octets(tagged.payload), length, source, now)

    def _pass_alike(
        self, buffer: bytearray, first: memoryview, at: int, end: int, source: tuple[str, int]
    ) -> int:
        """Counts the datagrams from ``at`` on that are of the flow and size of ``first``.

        Each has a tag of its own, which is checked; without the tag's octets they begin with the same,
        so what holds for the first holds for them. Returns where the next stands.
        """
        tagged, sender = Tagged.parse(first), self._sender(source)
        if tagged is None or sender is None:
            return at
        octets = flow_octets(tagged.payload)
        entry = None if octets is None else self._flow((source, *octets))
        key = next((key for key in sender.hop_keys if tagged.holds(key)), None)
        if entry is None or key is None:
            return at
        alike = count_alike(first, memoryview(buffer)[at:end], key)
        entry.packets += alike
        entry.octets += alike * len(first)
        return at + alike * len(first)

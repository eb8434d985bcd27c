"""A relay that takes only datagrams with the hop tag of their sender: a client, or another VPN server.

The tag is checked for every datagram before its flow is looked up, so that nobody who does not have the
key of that hop can have a datagram forwarded, or a station learnt, in its sender's name.

Patent: Fig. 7-2 steps 709-711.
"""

from __future__ import annotations

from protocol.errors import DropReason
from protocol.hop_tag import LENGTH, USUAL_CLEAR, count_alike, key_of, split
from protocol.relay.flow import USUAL_HEADERS, USUAL_LEAST, flow_octets, split_usual
from protocol.relay.flow_table import FlowEntry
from protocol.relay.tables import Sender
from protocol.relay.transfer import Relay
from protocol.relay.verdicts import Verdict
from protocol.wire import vpn_header
from protocol.wire.binding import BINDING
from protocol.wire.probe import PROBE

_HEADERS, _LEAST = USUAL_HEADERS + LENGTH, USUAL_LEAST + LENGTH


class TaggedRelay(Relay):
    """Checks tags, and forwards as any relay does.

    What goes to another VPN server gets the tag of that hop; to clients the tag goes as it came, and
    says nothing to them.
    """

    requires_hop_tags = True

    _flags = vpn_header.HOP_TAG_FOLLOWS
    _tag_length = LENGTH

    def receive_datagram(
        self, datagram: bytes | memoryview, source: tuple[str, int], now: int
    ) -> Verdict:
        """Decides about one datagram's payload: to drop it, or as its flow is decided.

        Patent: Fig. 7-2 steps 709-711.
        """
        sender, tagged = self._sender(source), split(datagram)
        if sender is None or tagged is None or key_of(tagged, sender.hop_keys) is None:
            return self._refuse(datagram, sender, source, now)
        clear, length = tagged[0], len(datagram)
        if len(clear) == USUAL_CLEAR:
            head, payload_length, tail = split_usual(clear)
            entry = self._flow((source, head, tail))
            if entry is not None and length == payload_length + _HEADERS and length >= _LEAST:
                entry.packets += 1
                entry.octets += length
                return entry.verdict
        return self._decide(flow_octets(clear, length - LENGTH), length, source, now)

    def _refuse(
        self,
        datagram: bytes | memoryview,
        sender: Sender | None,
        source: tuple[str, int],
        now: int,
    ) -> Verdict:
        """Decides about what has no tag that holds: a probe, a binding, or to be dropped."""
        if datagram and datagram[0] in (PROBE, BINDING):
            return self._receive_unusual(datagram, source, now)
        unknown, forged = DropReason.UNREGISTERED_SENDER, DropReason.FORGED_HOP_TAG
        return self._drop(unknown if sender is None else forged, len(datagram))

    def _kept_run(
        self, datagrams: memoryview, size: int, source: tuple[str, int]
    ) -> tuple[FlowEntry, int] | None:
        """Returns the decision that the flow of the first datagram has, and how many go by it.

        Each has a tag of its own, which is checked; without the tag's octets they begin with the same,
        so what holds for the first holds for them. None, too, when the second already goes elsewhere: to
        look at all for one would cost more than it saves.
        """
        second = datagrams[size : size + vpn_header.LENGTH]
        sender, tagged = self._sender(source), split(datagrams[:size])
        if sender is None or tagged is None or second != datagrams[: vpn_header.LENGTH]:
            return None
        key = key_of(tagged, sender.hop_keys)
        octets = None if key is None else flow_octets(tagged[0], size - LENGTH)
        entry = None if octets is None else self._flow((source, *octets))
        if key is None or entry is None:
            return None
        return entry, count_alike(datagrams, size, key)

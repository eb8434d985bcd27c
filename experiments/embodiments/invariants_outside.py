"""What must hold of packets outside, told from captures with tools that are not ours."""

from __future__ import annotations

from collections import Counter

from experiments.embodiments.seen import Seen
from experiments.observation.interop import scapy_opens, scapy_seals
from experiments.observation.packets import contains_run_of
from experiments.observation.udp_payloads import (
    has_hop_tag,
    has_vpn_header,
    udp_payloads,
    without_hop_tag,
)
from experiments.records.record import Invariant
from nodes.sections import DEFAULT_DATA_PORT
from protocol.wire.vpn_header import LENGTH


def outside_hides_payload(seen: Seen) -> Invariant:
    """No packet outside has 16 octets in a row of any probe frame's payload."""
    found = contains_run_of(seen.outside, *_payloads(seen))
    return Invariant(not found, "a run of 16 octets was " + ("found" if found else "not found"))


def inside_shows_payload(seen: Seen) -> Invariant:
    """The same search finds the payload on a LAN: it can find what is there."""
    found = contains_run_of(seen.inside, seen.probes.round.marker)
    return Invariant(found, "the marker was " + ("found" if found else "not found"))


def tshark_decodes(seen: Seen) -> Invariant:
    """Given the SAs, tshark reads every sent probe frame, to the octet, out of the capture outside."""
    decoded = {frame.octets for frame in seen.decoded}
    sent = seen.probes.round.frames()
    missing = [frame for frame in sent if frame not in decoded]
    detail = f"{len(sent) - len(missing)} of {len(sent)} probe frames decoded from the capture"
    return Invariant(bool(sent) and not missing, detail)


def scapy_agrees(seen: Seen) -> Invariant:
    """Scapy opens what the clients sealed, and a client's SA opens what scapy seals."""
    sent = set(seen.probes.round.frames())
    ours = scapy_opens(seen.outside, seen.keys, sent)
    theirs = scapy_seals(seen.keys, sorted(sent, key=len)[:: max(1, len(sent) // 20)])
    detail = f"scapy opened {ours} probe frames of the capture; its {theirs.describe()}"
    return Invariant(ours > 0 and theirs.all_open, detail)


def octets_stay_as_they_are(seen: Seen) -> Invariant:
    """Every payload that a server sent is one that it received, from its VPN header or inner packet on.

    To another server it has the tag of that hop in place of the one that it came with.

    Not told of are those before the first that it received from a client in the capture: copies of
    datagrams from before its capture began.
    """
    forwarders = {seen.plan.data_address(name): name for name in seen.forwarders}
    received: set[tuple[str, str, bytes]] = set()
    sent: Counter[tuple[tuple[str, str, bytes], bool]] = Counter()
    begun: set[str] = set()
    for payload, source, destination in udp_payloads(seen.outside, DEFAULT_DATA_PORT):
        if destination in forwarders:
            name = forwarders[destination]
            # Another server's capture, begun before, has what these two send each other.
            begun |= set() if source in forwarders else {name}
            untagged = without_hop_tag(payload)
            received |= {(name, "whole", payload), (name, "between", untagged)}
            received.add((name, "stripped", untagged[LENGTH:]))
        if forwarders.get(source) in begun:
            name = forwarders[source]
            if destination in forwarders:
                sent[(name, "between", without_hop_tag(payload)), True] += 1
            else:
                sent[(name, "stripped" if seen.strip == "patent" else "whole", payload), False] += 1
    # Seen at one of two servers only, it was under way when what is looked at began or ended.
    judged = {one: count for (one, between), count in sent.items() if not between or count > 1}
    changed = sum(count for one, count in judged.items() if one not in received)
    detail = f"{sent.total()} payloads sent, {changed} of them not as received"
    return Invariant(bool(sent) and not changed, detail)


def every_datagram_is_tagged(seen: Seen) -> Invariant:
    """Every datagram with a VPN header has a hop tag, between servers another than on the way there."""
    places = {seen.plan.data_address(name) for name in seen.forwarders}
    tags: dict[bytes, list[set[bytes]]] = {}
    count = bare = 0
    for payload, source, destination in udp_payloads(seen.outside, DEFAULT_DATA_PORT):
        if not has_vpn_header(payload):
            continue
        count += 1
        if not has_hop_tag(payload):
            bare += 1
            continue
        known = tags.setdefault(without_hop_tag(payload), [set(), set()])
        if destination in places:
            known[source in places].add(payload)
    crossed = [known for known in tags.values() if known[1]]
    same = sum(bool(known[0] & known[1]) for known in crossed)
    detail = (
        f"{count} datagrams, {bare} without a hop tag; {len(crossed)} payloads between servers, "
        f"{same} of them under a client's tag"
    )
    return Invariant(count > 0 and not bare and not same, detail)


def _payloads(seen: Seen) -> list[bytes]:
    """What must not show outside: the marker, and each frame behind its Ethernet header."""
    return [seen.probes.round.marker, *(frame[14:] for frame in seen.probes.round.frames())]

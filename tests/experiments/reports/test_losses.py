"""What is said to be lost is what real packets have around their frames."""

from __future__ import annotations

import pytest

from experiments.records.record import load_summary
from experiments.reports.losses import around, for_blindness, losses
from protocol.wire import esp, etherip, ip, vpn_header
from protocol.wire.inner_packet import PATH_MTU, UDP_HEADER_LENGTH, lan_mtu
from tests.experiments.runs import REFERENCE
from tests.protocol.vectors import vectors


@pytest.mark.parametrize("name", sorted(vectors("datagram")))
def test_the_octets_around_a_frame_are_those_of_a_real_datagram(name: str) -> None:
    vector = vectors("datagram")[name]
    payload = bytes.fromhex(vector["octets"])
    if payload[0] != vpn_header.MAC_BLOCK_FOLLOWS or payload[1] or "frame" not in vector:
        pytest.skip("not a frame under a full VPN header without a tag")
    frame = bytes.fromhex(vector["frame"])
    version = payload[vpn_header.LENGTH] >> 4
    outside = ip.HEADER_LENGTHS[version] + UDP_HEADER_LENGTH
    assert around(version, len(frame)) == outside + len(payload) - len(frame)


@pytest.mark.parametrize("version", [4, 6])
def test_the_largest_frame_fills_the_path(version: int) -> None:
    largest = lan_mtu(version, version) + 14
    assert largest + around(version, largest) <= PATH_MTU
    assert largest + 1 + around(version, largest + 1) > PATH_MTU


def test_padding_is_counted() -> None:
    some = {length: around(6, length) for length in range(64, 72)}
    assert set(some.values()) == {140, 141, 142, 143}
    assert all((length + octets) % esp.ALIGNMENT == 0 for length, octets in some.items())


def test_blindness_costs_the_headers_that_only_the_server_reads() -> None:
    assert (for_blindness(6), for_blindness(4)) == (56, 36)
    assert etherip.HEADER_LENGTH + for_blindness(6) < around(6, 64)


def test_figures_of_records_are_told_where_there_are_any() -> None:
    alone = list(losses({}))
    kept = load_summary(REFERENCE / "subgroups")
    more = list(losses({"subgroups": kept}))
    assert alone == more[: len(alone)]
    said = {one.source: one.how_much for one in more[len(alone) :]}
    share = kept.figures["unreadable_copies.patent"].value
    assert said["unreadable_copies.patent in the record of subgroups"] == f"{share:.0%}"
    assert said["rekey_messages.128_members in the record of subgroups"] == "129 messages"

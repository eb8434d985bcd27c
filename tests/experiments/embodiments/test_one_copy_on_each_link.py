"""The invariant that counts copies on links breaks when a capture has one too many or too few.

Patent: Fig. 13 parts 1301, 1302.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter

from experiments.embodiments.multicast.invariants import one_copy_on_each_link, packets_are_bare
from experiments.embodiments.multicast.invariants import tree_interfaces as interfaces
from experiments.embodiments.seen import Seen
from experiments.traffic.probing import Round, plan_round
from experiments.traffic.terminals import Attempt
from protocol.wire.inner_packet import InnerPacket
from tests.experiments.embodiments import seen as made
from topologies.catalog import multicast
from topologies.plan import Plan

PLAN = multicast(clients=3, terminals=1, second_group=0)
NOBODY: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class Copy:
    """A packet as it was captured at one of the routers' interfaces."""

    interface: str
    octets: bytes


def copies(plan: Plan, sent: Round) -> Iterator[Copy]:
    """Yields the packet of every frame at each interface of its tree."""
    group = plan.groups[0]
    for name, send_plan in sent.plans.items():
        client = plan.client_of(name).name
        association = made.association_of(group.vpn_id, send_plan.sender)
        for stream in send_plan.streams:
            for probe in send_plan.frames_of(stream):
                sealed = association.seal(probe.to_bytes())
                source = made.address_of(plan, client)
                packet = InnerPacket(source, group.multicast_address, sealed).pack()
                for interface in sorted(interfaces(plan, client)):
                    yield Copy(interface, packet)


def seen(folder: Path, captured: list[Copy], sent: Round) -> Seen:
    """Builds what a run saw whose capture has these packets."""
    outside = folder / "outside.pcapng"
    with PcapNgWriter(str(outside)) as writer:
        for copy in captured:
            packet: Any = Ether(bytes(12) + b"\x86\xdd" + copy.octets)
            packet.sniffed_on = copy.interface
            writer.write(packet)
    return Seen(
        plan=PLAN,
        strip="keep",
        server="server",
        statuses={},
        maps={},
        pings=NOBODY,
        neighbours=NOBODY,
        connections=NOBODY,
        probes=made.outcome(PLAN, sent, made.received(PLAN, sent)),
        outside=outside,
        inside=cast(Any, None),
        keys=made.member_keys(),
        server_kernel={},
    )


@pytest.fixture(scope="module")
def sent() -> Round:
    return plan_round(PLAN, 1, random.Random(1))


def test_a_tree_with_a_copy_on_each_of_its_links_holds(tmp_path: Path, sent: Round) -> None:
    run = seen(tmp_path, list(copies(PLAN, sent)), sent)
    held = one_copy_on_each_link(run)
    assert held.held, held.detail
    assert "0 missing, 0 too many" in held.detail
    assert packets_are_bare(run).held


def test_a_copy_too_many_names_its_interface(tmp_path: Path, sent: Round) -> None:
    captured = list(copies(PLAN, sent))
    found = one_copy_on_each_link(seen(tmp_path, [*captured, captured[0]], sent))
    assert not found.held
    assert f"0 missing, 1 too many: {captured[0].interface}: one too many" in found.detail


def test_a_missing_copy_names_its_interface(tmp_path: Path, sent: Round) -> None:
    missing, *captured = copies(PLAN, sent)
    found = one_copy_on_each_link(seen(tmp_path, captured, sent))
    assert not found.held
    assert f"1 missing, 0 too many: {missing.interface}: missing" in found.detail


def test_a_copy_on_a_link_beside_the_tree_is_too_many(tmp_path: Path, sent: Round) -> None:
    captured = list(copies(PLAN, sent))
    client = PLAN.client_of(next(iter(sent.plans))).name
    beside = next(
        interface.name
        for router in PLAN.multicast_routers
        for interface in PLAN.interfaces(router)
        if interface.name not in interfaces(PLAN, client)
    )
    found = one_copy_on_each_link(
        seen(tmp_path, [*captured, replace(captured[0], interface=beside)], sent)
    )
    assert not found.held
    assert f"{beside}: one too many" in found.detail


def test_where_nothing_was_sent_nothing_is_shown(tmp_path: Path, sent: Round) -> None:
    packet = next(copies(PLAN, sent))
    nothing = replace(sent, plans={})
    assert not one_copy_on_each_link(seen(tmp_path, [packet], nothing)).held

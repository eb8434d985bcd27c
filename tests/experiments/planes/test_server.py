"""A measured server that knows somebody more: a copy goes there, under that hop's tag or the sender's."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import ip_address

import pytest

from experiments.instrument.servers import requires_tags
from experiments.planes.cells import ANEW, KEPT, MEMBERS
from experiments.planes.server import add_another, unknown_to
from nodes.kernel.program import COMPILED
from protocol import hop_tag
from protocol.relay import Forward, RelayedGroup, TaggedRelay
from protocol.types import Secret, VpnId
from tests.experiments.planes.onward_program import WINDOWS
from tests.programs import output_of
from tests.protocol.relay.datagrams import GROUPS, address, datagram, member
from topologies.rig import rig, unknown_neighbour

VPN = VpnId(1001)
KEY = Secret(bytes(hop_tag.KEY_LENGTH))


def test_that_is_where_the_rig_has_an_address_that_nobody_has() -> None:
    plan = rig(("other", "batch-anew"), (MEMBERS,))
    nobody, _ = unknown_neighbour(plan, "batch-anew")
    assert unknown_to(plan.data_address("batch-anew")).host == nobody


def test_servers_that_do_require_tags() -> None:
    assert all(requires_tags(name) for name in (*ANEW, *KEPT))
    assert not requires_tags("kernel")


@pytest.mark.parametrize("anew", [True, False])
def test_of_each_datagram_a_copy_goes_there_with_a_tag_of_that_hop_or_the_senders(
    anew: bool,
) -> None:
    relay, another = TaggedRelay(), unknown_to(ip_address("3ffe::1000"))
    add_another(relay, another, [VPN], anew)
    multicast_address, spi = GROUPS[VPN]
    relay.install_group(RelayedGroup(VPN, ip_address(multicast_address), frozenset([spi])))
    for name in ("a", "b"):
        relay.add_member(dataclasses.replace(member(name), hop_keys=(KEY,)))
    tagged = hop_tag.add(datagram(VPN), KEY)
    verdict = relay.receive_datagram(tagged, address("a"), 0)
    assert isinstance(verdict, Forward)
    to = {one.address: one for one in verdict.destinations}
    assert set(to) == {address("b"), another}
    assert to[address("b")].copy_of(tagged) == tagged
    hop = relay.next_hops.at(another)
    assert (hop is not None) == anew
    key = KEY if hop is None else hop.send_key
    assert key is not None
    assert bytes(to[another].copy_of(tagged)) == hop_tag.add(datagram(VPN), key)


@pytest.mark.emulated
@pytest.mark.skipif(not COMPILED.exists(), reason="the eBPF program is not compiled")
def test_on_the_rig_every_datagram_has_a_copy_more_and_the_kernel_makes_it() -> None:
    output = output_of("tests.experiments.planes.onward_program")
    for name, found in json.loads(output.splitlines()[-1]).items():
        for sent, came, copies in found["windows"]:
            assert sent == came
            assert copies == came * MEMBERS, name
        offered = sum(WINDOWS * sent for sent, *_ in found["windows"])
        # At first every member's station speaks once.
        assert found["onward"] == (offered + MEMBERS if "anew" in name else 0)
        if name.startswith("kernel"):
            assert found["up"] < found["in"] / 2

"""A run with hop tags is judged like any other, and one whose tags are missing or wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.embodiments.invariants import check_all
from experiments.embodiments.seen import Seen
from experiments.embodiments.vpn_servers.invariants import invariants_of
from experiments.observation.interop import scapy_opens
from protocol import hop_tag
from protocol.types import Secret
from tests.experiments.embodiments.seen import Datagram
from tests.experiments.embodiments.vpn_servers import seen as made

TAGGED = "every_datagram_has_the_tag_of_its_hop"
UNCHANGED = "relay_forwards_octets_unchanged"

Change = Callable[[Seen, list[Datagram]], list[Datagram]]


def key_of(*ends: object) -> Secret:
    return Secret(repr(ends).encode()[-16:])


def with_tags(seen: Seen, datagrams: list[Datagram]) -> list[Datagram]:
    """Tags a flow as clients and servers do: what goes to a client goes as it came."""
    servers = {seen.plan.data_address(name) for name in seen.forwarders}
    came: dict[tuple[object, bytes], bytes] = {}
    found = []
    for one in datagrams:
        payload = came.get((one.source, one.payload))
        if one.destination in servers:
            payload = hop_tag.add(one.payload, key_of(one.source, one.destination))
            came[one.destination, one.payload] = payload
        assert payload is not None
        found.append(replace(one, payload=payload))
    return found


def captured(seen: Seen, folder: Path, change: Change) -> Seen:
    plain = list(made.flow(seen.plan, seen.probes.round, seen.strip))
    path = folder / "tagged.pcap"
    made.write_captured(path, seen.plan, change(seen, with_tags(seen, plain)))
    return replace(seen, outside=path, hop_tags=True)


def broken(seen: Seen) -> set[str]:
    found = check_all(seen, invariants_of(seen.plan.delivery))
    return {name for name, invariant in found.items() if not invariant.held}


@pytest.fixture(scope="module", params=["direct", "cascade"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return made.good(tmp_path_factory.mktemp(request.param), request.param)


def test_a_good_run_with_tags_holds_in_all_and_scapy_reads_it(run: Seen, tmp_path: Path) -> None:
    tagged = captured(run, tmp_path, lambda _, datagrams: datagrams)
    assert broken(tagged) == set()
    frames = set(run.probes.round.frames())
    assert scapy_opens(tagged.outside, tagged.keys, frames) > 0


def _one_bare(seen: Seen, datagrams: list[Datagram]) -> list[Datagram]:
    """A client's datagram, and what servers make of it, without tags."""
    bare = hop_tag.remove(datagrams[0].payload)
    return [
        replace(one, payload=bare) if hop_tag.remove(one.payload) == bare else one
        for one in datagrams
    ]


def test_a_datagram_without_a_tag_is_found(run: Seen, tmp_path: Path) -> None:
    assert broken(captured(run, tmp_path, _one_bare)) == {TAGGED}


def test_a_server_that_hands_on_the_clients_tag_is_found(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = made.good(tmp_path_factory.mktemp("same"), "cascade")

    def same(seen: Seen, datagrams: list[Datagram]) -> list[Datagram]:
        first = {hop_tag.remove(one.payload): one.payload for one in reversed(datagrams)}
        return [replace(one, payload=first[hop_tag.remove(one.payload)]) for one in datagrams]

    assert broken(captured(run, tmp_path_factory.mktemp("changed"), same)) == {TAGGED}


def test_a_payload_that_is_changed_beside_its_tag_is_found(run: Seen, tmp_path: Path) -> None:
    def last_octet(seen: Seen, datagrams: list[Datagram]) -> list[Datagram]:
        clients = {seen.plan.data_address(node.name) for node in seen.plan.clients()}
        place = max(i for i, one in enumerate(datagrams) if one.destination in clients)
        changed = datagrams[place].payload[:-1] + bytes([datagrams[place].payload[-1] ^ 1])
        return [
            replace(one, payload=changed) if i == place else one for i, one in enumerate(datagrams)
        ]

    assert UNCHANGED in broken(captured(run, tmp_path, last_octet))

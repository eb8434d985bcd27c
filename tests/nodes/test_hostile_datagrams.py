"""Datagrams that should not be: counted by reason, never delivered, and the system goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nodes.hostile import STATION, Bystander, Forger, Impostor, closing
from tests.nodes.running import Crew, eventually

pytestmark = pytest.mark.emulated

LARGEST = 65_000
SECONDS = 20.0
BLOBS = 150


@dataclass
class Scene:
    """The running system, an attacker at several places, and terminals of both groups."""

    crew: Crew
    forger: Forger
    at_c1: Impostor
    at_c3: Impostor
    at_server: Impostor
    at_c4: Impostor
    terminal: Bystander
    other_group: Bystander
    server: object
    c2: object

    def good(self) -> bytes:
        """Makes a payload in which nothing is wrong."""
        return self.forger.payload(self.forger.frame())

    def nothing_was_delivered(self) -> bool:
        """Sends a good frame: it must be the first that arrives, and none in the other group."""
        frame = self.forger.frame()
        self.at_c1.send(self.forger.payload(frame), self.server)
        arrived = self.terminal.next_frame(SECONDS)
        return arrived == frame and self.other_group.next_frame(0) is None


@pytest.fixture(scope="module")
def scene(running: Crew) -> Iterator[Scene]:
    """Sets the scene: c1 has gone bad, c2 is its victim, nobody is registered at c3."""
    network = running.network
    c1, c3, server, c4 = (Impostor(network, node) for node in ("c1", "c3", "server", "c4"))
    t2a, t4a = (Bystander(network, terminal) for terminal in ("t2a", "t4a"))
    with closing(c1, c3, server, c4, t2a, t4a):
        made = Scene(
            crew=running,
            forger=Forger.of(running, "c1"),
            at_c1=c1,
            at_c3=c3,
            at_server=server,
            at_c4=c4,
            terminal=t2a,
            other_group=t4a,
            server=network.plan.data_address("server"),
            c2=network.plan.data_address("c2"),
        )
        assert made.nothing_was_delivered()
        yield made


def _with(payload: bytes, place: int, octets: bytes) -> bytes:
    return payload[:place] + octets + payload[place + len(octets) :]


FROM_C1: dict[str, tuple[Callable[[Scene], bytes], str]] = {
    "no octet": (lambda _: b"", "malformed_datagram"),
    "one octet": (lambda _: b"\x01", "malformed_datagram"),
    "nothing behind the VPN header": (lambda scene: scene.good()[:16], "malformed_datagram"),
    "cut off": (lambda scene: scene.good()[:-1], "malformed_datagram"),
    "cut off in the IV": (lambda scene: scene.good()[:70], "malformed_datagram"),
    "65 kB of nothing": (lambda _: b"\x01" * LARGEST, "malformed_datagram"),
    "65 kB too many": (lambda scene: scene.good() + bytes(LARGEST - 300), "malformed_datagram"),
    "unknown next data": (lambda scene: _with(scene.good(), 0, b"\x07"), "malformed_datagram"),
    "reserved octets": (lambda scene: _with(scene.good(), 2, b"\x01"), "malformed_datagram"),
    "no ESP inside": (lambda scene: _with(scene.good(), 22, b"\x11"), "malformed_datagram"),
    "unknown flag": (lambda scene: _with(scene.good(), 1, b"\x80"), "unsupported_flags"),
    "unknown SPI": (lambda scene: _with(scene.good(), 56, b"\0\0\1\1"), "unknown_spi"),
    "unknown group": (
        lambda scene: scene.forger.payload(scene.forger.frame(), "ff1e::99"),
        "unknown_group",
    ),
    "another group's address": (
        lambda scene: scene.forger.payload(scene.forger.frame(), "ff1e::2"),
        "foreign_group",
    ),
}


@pytest.mark.parametrize("name", FROM_C1)
def test_the_server_drops_what_a_member_must_not_send(scene: Scene, name: str) -> None:
    make, reason = FROM_C1[name]
    before = scene.crew.counter("server", f"dropped_{reason}")
    scene.at_c1.send(make(scene), scene.server)
    assert eventually(
        lambda: scene.crew.counter("server", f"dropped_{reason}") == before + 1, SECONDS
    )
    assert scene.nothing_was_delivered()


@pytest.mark.parametrize("where", ["another port of a member", "a host without registration"])
def test_the_server_drops_what_comes_from_nobody(scene: Scene, where: str) -> None:
    before = scene.crew.counter("server", "dropped_unregistered_sender")
    if where == "another port of a member":
        scene.at_c1.send(scene.good(), scene.server, source_port=5999)
    else:
        scene.at_c3.send(scene.good(), scene.server)
    assert eventually(
        lambda: scene.crew.counter("server", "dropped_unregistered_sender") == before + 1, SECONDS
    )
    assert scene.nothing_was_delivered()


def test_a_member_of_another_group_reaches_nobody_with_a_stolen_address(scene: Scene) -> None:
    before = scene.crew.counter("server", "dropped_foreign_group")
    scene.at_c4.send(scene.good(), scene.server)
    assert eventually(
        lambda: scene.crew.counter("server", "dropped_foreign_group") == before + 1, SECONDS
    )
    assert scene.nothing_was_delivered()


FORGED: dict[str, tuple[Callable[[Scene], bytes], str]] = {
    "forged ICV": (lambda scene: _flip(scene.good(), -1), "forged_icv"),
    "changed ciphertext": (lambda scene: _flip(scene.good(), 80), "forged_icv"),
    "another counter": (lambda scene: _flip(_flip(scene.good(), 62), 70), "forged_icv"),
    "a counter unlike the IV's": (lambda scene: _flip(scene.good(), 62), "malformed_datagram"),
    "own sender ID": (
        lambda scene: scene.forger.payload(
            scene.forger.frame(), sender_id=scene.crew.rows("c2", "308")[0][3]
        ),
        "own_packet",
    ),
    "other MACs outside": (
        lambda scene: scene.forger.payload(
            scene.forger.frame(), macs=(bytes.fromhex("020000000077"), b"\xff" * 6)
        ),
        "header_mismatch",
    ),
}


def _flip(payload: bytes, place: int) -> bytes:
    changed = bytearray(payload)
    changed[place] ^= 0x40
    return bytes(changed)


@pytest.mark.parametrize("name", FORGED)
def test_a_client_drops_what_the_blind_relay_cannot_judge(scene: Scene, name: str) -> None:
    make, reason = FORGED[name]
    before = scene.crew.counter("c2", f"dropped_{reason}")
    scene.at_c1.send(make(scene), scene.server)
    assert eventually(lambda: scene.crew.counter("c2", f"dropped_{reason}") == before + 1, SECONDS)
    assert scene.nothing_was_delivered()


def test_a_replayed_datagram_is_delivered_once(scene: Scene) -> None:
    before = scene.crew.counter("c2", "dropped_replayed")
    frame = scene.forger.frame()
    payload = scene.forger.payload(frame)
    for _ in range(5):
        scene.at_c1.send(payload, scene.server)
    assert scene.terminal.next_frame(SECONDS) == frame
    assert eventually(lambda: scene.crew.counter("c2", "dropped_replayed") == before + 4, SECONDS)
    assert scene.nothing_was_delivered()


def test_a_client_takes_datagrams_only_from_its_server(scene: Scene) -> None:
    before = scene.crew.counter("c2", "dropped_unexpected_source")
    scene.at_c3.send(scene.good(), scene.c2)
    scene.at_c1.send(scene.good(), scene.c2)
    scene.at_server.send(scene.good(), scene.c2, source_port=5999)
    assert eventually(
        lambda: scene.crew.counter("c2", "dropped_unexpected_source") == before + 3, SECONDS
    )
    assert scene.nothing_was_delivered()


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x60", b"\x45" * 100, b"\x01" * LARGEST])
def test_a_client_drops_garbage_that_seems_to_be_its_servers(scene: Scene, payload: bytes) -> None:
    before = scene.crew.counter("c2", "dropped_malformed_datagram")
    scene.at_server.send(payload, scene.c2)
    assert eventually(
        lambda: scene.crew.counter("c2", "dropped_malformed_datagram") == before + 1, SECONDS
    )
    assert scene.nothing_was_delivered()


@pytest.mark.parametrize("victim", ["server", "c2"])
def test_no_blob_stops_a_process_or_is_delivered(scene: Scene, victim: str) -> None:
    known = scene.good()
    scene.at_c1.send(known, scene.server)
    assert scene.terminal.next_frame(SECONDS) is not None
    attacker, target = (
        (scene.at_c1, scene.server) if victim == "server" else (scene.at_server, scene.c2)
    )
    sent = 0
    before = _taken(scene, victim)

    # changes to a datagram that has been delivered already: whatever still opens is a replay
    changed = st.builds(
        _with, st.just(known), st.integers(0, len(known) - 1), st.binary(min_size=1, max_size=8)
    )

    @settings(max_examples=BLOBS, deadline=None, database=None)
    @given(changed | st.binary(max_size=300))
    def attack(blob: bytes) -> None:
        nonlocal sent
        attacker.send(blob[:1400], target)
        sent += 1

    attack()
    assert sent >= BLOBS
    assert eventually(lambda: _taken(scene, victim) >= before + sent, SECONDS)
    assert scene.nothing_was_delivered()
    assert scene.crew.errors(victim) == []
    assert scene.crew.processes[victim].poll() is None


def _taken(scene: Scene, node: str) -> int:
    """Counts the datagrams that a process has taken, whatever became of them."""
    counters: dict[str, int] = scene.crew.status(node)["counters"]
    if node == "server":
        return counters["datagrams_in"]
    drops = sum(value for name, value in counters.items() if name.startswith("dropped_"))
    return counters["frames_delivered"] + drops


def test_at_the_end_terminals_still_talk_and_the_forged_station_is_c1s(scene: Scene) -> None:
    assert scene.crew.reach("t1a", "t2a")
    holders = {row[1]: row[3] for row in scene.crew.rows("server", "509")}
    assert holders[STATION] == scene.crew.member("c1")

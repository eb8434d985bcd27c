"""SAs set by hand: no control channel, no key at the relay, and no counter is used twice."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.nodes.running import Crew, eventually, toml

pytestmark = pytest.mark.emulated

SPI = 0x1234
SENDERS = {"c1": 11, "c2": 12, "c3": 13}


@pytest.fixture
def key() -> bytes:
    """Makes the group's key."""
    return secrets.token_bytes(16)


@pytest.fixture
def by_hand(crew: Crew, key: bytes) -> Crew:
    """Writes the files of a relay and three clients that know each other by hand."""
    plan = crew.network.plan
    group = str(plan.group(1001).multicast_address)
    salt = secrets.token_bytes(4)
    for node, sender in SENDERS.items():
        path = crew.folder / f"{node}.manual"
        lines = {
            "vpn_id": 1001,
            "multicast_address": f'"{group}"',
            "server_address": f'"{plan.data_address("server")}"',
            "spi": SPI,
            "key": f'"{key.hex()}"',
            "salt": f'"{salt.hex()}"',
            "sender_id": sender,
            "lan_mtu": 1346,
            "counter_file": f'"{node}.counter"',
        }
        path.write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))
        path.chmod(0o600)
        unused = dict.fromkeys(("certificate_authority", "password_file"))
        crew.configure(node, client={**unused, "keys": "manual", "manual_file": path.name})
    members = [
        {"client_id": sender, "address": str(plan.data_address(node))}
        for node, sender in SENDERS.items()
    ]
    relayed = {"multicast_address": group, "spis": [SPI], "members": members}
    (crew.folder / "relay.toml").write_text(toml({"groups.1001": relayed}))
    unused = dict.fromkeys(("certificate", "private_key", "database"))
    crew.configure("server", server={**unused, "keys": "manual", "manual_file": "relay.toml"})
    return crew


def _up(crew: Crew, *clients: str) -> None:
    crew.up("server")
    for client in clients:
        crew.start(client)
        crew.wait(client, "apart")
    crew.wait_for_lans()


def _next(crew: Crew, client: str) -> int:
    ((*_, following, _senders, _seals),) = crew.rows(client, "308")
    return int(following)


def _has_in_memory(pid: int, octets: bytes) -> bool:
    """Searches all that a process can write to."""
    with (
        Path(f"/proc/{pid}/maps").open(encoding="utf-8") as maps,
        Path(f"/proc/{pid}/mem").open("rb") as memory,
    ):
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            if octets in memory.read(end - start):
                return True
    return False


def test_frames_flow_without_a_control_channel_and_without_a_key_at_the_relay(
    by_hand: Crew, key: bytes
) -> None:
    _up(by_hand, "c1", "c2")
    assert by_hand.reach("t1a", "t2a")
    listening = by_hand.network.run("server", ["ss", "-Hltn"], timeout=60).stdout
    assert listening == ""
    for form in (key, key.hex().encode()):
        assert not _has_in_memory(by_hand.processes["server"].pid, form)
    assert _has_in_memory(by_hand.processes["c1"].pid, key)


@pytest.mark.parametrize("how", ["SIGTERM", "kill -9"])
def test_a_client_that_starts_again_uses_no_counter_twice(by_hand: Crew, how: str) -> None:
    _up(by_hand, "c1", "c2")
    assert by_hand.reach("t1a", "t2a")
    used = _next(by_hand, "c1")
    assert used > 1
    if how == "SIGTERM":
        assert by_hand.end("c1") == [0]
    else:
        by_hand.kill("c1")
    by_hand.start("c1")
    by_hand.wait("c1", "apart")
    assert _next(by_hand, "c1") > used
    # the other's replay window takes what comes behind all that it has seen
    assert by_hand.reach("t1a", "t2a")
    assert by_hand.counter("c2", "dropped_replayed") == 0


def test_two_processes_never_share_a_counter(by_hand: Crew) -> None:
    _up(by_hand, "c1")
    by_hand.configure("c3", client={"manual_file": "c1.manual"})
    by_hand.start("c3")
    assert by_hand.code("c3") == 2
    (line,) = by_hand.errors("c3")
    assert line.endswith("c1.counter: another process uses this counter")


def test_a_relays_file_with_a_key_is_refused_and_the_key_not_shown(
    by_hand: Crew, key: bytes
) -> None:
    path = by_hand.folder / "relay.toml"
    path.write_text(path.read_text() + f'key = "{key.hex()}"\n')
    by_hand.start("server")
    assert by_hand.code("server") == 2
    (line,) = by_hand.errors("server")
    assert "relay.toml:5: groups.1001.key: expected no key, because relays hold none" in line
    assert key.hex() not in line


def test_the_end_leaves_no_socket_file(by_hand: Crew) -> None:
    _up(by_hand, "c1")
    assert eventually(lambda: (by_hand.folder / "c1.keys").exists())
    assert by_hand.end("c1", "server") == [0, 0]
    assert list(by_hand.folder.glob("*.status")) == list(by_hand.folder.glob("*.keys")) == []

"""What ``--status`` shows of a running system, and what it must never show."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable

import pytest

from nodes import client, server, status
from tests.nodes.running import Crew

pytestmark = pytest.mark.emulated

MAIN: dict[str, Callable[[list[str]], int]] = {"server": server.main, "c1": client.main}
TABLES = {
    "server": {
        "506 user VPN group",
        "507 unicast group",
        "508 multicast address",
        "509 MAC-IP correspondence",
    },
    "c1": {
        "308 SA management",
        "309 VPN information",
        "310 authentication information",
        "311 external LAN MAC",
    },
}


@pytest.fixture(scope="module", autouse=True)
def _frames_have_passed(running: Crew) -> None:
    assert running.reach("t1a", "t2a")


def _shown(crew: Crew, capsys: pytest.CaptureFixture[str], node: str, *arguments: str) -> str:
    assert MAIN[node](["--config", str(crew.folder / f"{node}.toml"), "--status", *arguments]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def _secrets(crew: Crew) -> list[str]:
    """Returns keys, salts and passwords in all ways in which somebody could write them."""
    found = []
    for node in ("c1", "c2", "c4"):
        found.append(crew.password(node))
        for association in crew.keys(node):
            for name in ("key", "salt"):
                octets = bytes.fromhex(association[name])
                found += [octets.hex(), octets.hex().upper(), octets.hex(" "), repr(octets)[2:-1]]
                found.append(base64.b64encode(octets).decode())
    assert len(found) == 3 + 3 * 2 * 5
    return found


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["tables", "json"])
@pytest.mark.parametrize("node", ["server", "c1"])
def test_the_patents_tables_are_shown_and_no_secret(
    running: Crew, capsys: pytest.CaptureFixture[str], node: str, arguments: list[str]
) -> None:
    shown = _shown(running, capsys, node, *arguments)
    for title in TABLES[node]:
        assert title in shown
    assert [secret for secret in _secrets(running) if secret in shown] == []


def test_the_same_search_finds_the_secrets_where_they_are_asked_for(
    running: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.print_status(running.folder / "c1.keys", as_json=True) == 0
    shown = capsys.readouterr().out
    (association,) = running.keys("c1")
    found = [secret for secret in _secrets(running) if secret in shown]
    assert {association["key"], association["salt"]} <= set(found)


def test_the_rows_are_those_of_the_network(
    running: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = json.loads(_shown(running, capsys, "server", "--json"))["tables"]
    users = [row[:2] for row in tables["506 user VPN group"]["rows"]]
    assert users == [["A", 1001], ["B", 1001], ["C", 1001], ["D", 1002]]
    members = sorted((row[0], row[2]) for row in tables["507 unicast group"]["rows"])
    expected = [(1001, "c1"), (1001, "c2"), (1002, "c4")]
    assert members == [(vpn_id, running.member(node)) for vpn_id, node in expected]
    stations = {row[1]: row[3] for row in tables["509 MAC-IP correspondence"]["rows"]}
    assert stations["02:00:00:00:aa:01"] == running.member("c1")
    assert stations["02:00:00:00:bb:01"] == running.member("c2")
    assert "02:00:00:00:bb:01" in str(running.rows("c1", "311"))
    assert running.rows("c1", "310") == [["A", 1001]]


def test_the_sockets_are_their_owners_alone(running: Crew) -> None:
    for name in ("server.status", "c1.status", "c1.keys"):
        assert stat.S_IMODE((running.folder / name).stat().st_mode) == 0o600


def test_without_the_key_socket_nothing_shows_a_key(running: Crew) -> None:
    running.configure("c3", client={"key_socket": None})
    running.up("c3")
    assert not (running.folder / "c3.keys").exists()
    assert "key_socket" not in (running.folder / "c3.toml").read_text()
    assert running.end("c3") == [0]

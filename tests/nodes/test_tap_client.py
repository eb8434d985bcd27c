"""A client whose host is itself on the LAN, through a TAP device."""

from __future__ import annotations

import json

import pytest

from tests.nodes.running import Crew, eventually

pytestmark = pytest.mark.emulated

MAC = "02:00:00:00:cc:99"
ADDRESSES = ("10.0.0.99/24", "fd00::99/64")


def _device(crew: Crew) -> dict[str, object] | None:
    shown = crew.network.run("c3", ["ip", "-json", "link", "show", "vpn0"], timeout=60)
    return json.loads(shown.stdout)[0] if shown.returncode == 0 else None


@pytest.mark.parametrize("how", ["SIGTERM", "kill -9"])
def test_the_host_is_on_the_lan_as_long_as_its_client_lives(running: Crew, how: str) -> None:
    running.configure("c3", lan={"kind": "tap", "name": "vpn0", "mac": MAC})
    running.up("c3")
    device = _device(running)
    assert device is not None
    assert (device["mtu"], device["address"]) == (1346, MAC)
    for address in ADDRESSES:
        running.network.run("c3", ["ip", "address", "add", address, "dev", "vpn0", "nodad"], 5)
    for address in ("10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2"):
        assert running.reaches("c3", address)
    for terminal in ("t1a", "t2a"):
        assert running.reaches(terminal, "10.0.0.99")
        assert running.reaches(terminal, "fd00::99")
    assert not running.reaches("t4a", "10.0.0.99", "0.2")
    assert MAC in str(running.rows("server", "509"))
    if how == "SIGTERM":
        assert running.end("c3") == [0]
    else:
        running.kill("c3")
    assert eventually(lambda: _device(running) is None)
    assert eventually(lambda: MAC not in str(running.rows("server", "509")))


def test_a_name_in_use_is_refused(running: Crew) -> None:
    running.configure("c3", lan={"kind": "tap", "name": "c3-lan", "mac": None})
    running.start("c3")
    assert running.code("c3") == 3
    assert running.errors("c3") == [
        "blindrelay client: interface c3-lan: expected a free name, got one in use"
    ]

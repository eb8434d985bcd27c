"""The files of a representative and of a VPN server that only relays: what they become, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from nodes import relay, server
from nodes.configuration import ConfigurationError, load_relay, load_server

REPRESENTATIVE = """\
[server]
address = "3ffe::1000"
certificate = "server.pem"
private_key = "server.key"
database = "users.sqlite"
status_socket = "server.status"
servers_certificate_authority = "servers.pem"
delivery_by = "cascade"
distribution = "full"
mac_reports = false
[groups.1001]
multicast_address = "ff1e::1"
[servers.a]
address = "3ffe::1000:a"
[servers.b]
address = "3ffe::1000:b"
data_port = 5000
"""
RELAY = """\
[relay]
address = "3ffe::1000:a"
representative = "3ffe::1000"
certificate = "a.pem"
private_key = "a.key"
certificate_authority = "authority.pem"
status_socket = "a.status"
[timers]
hold_down_s = 0.5
"""


def _written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text)
    return path


def test_a_representatives_file_becomes_values(tmp_path: Path) -> None:
    configuration = load_server(_written(tmp_path, REPRESENTATIVE))
    section = configuration.server
    assert section.servers_certificate_authority == tmp_path / "servers.pem"
    chosen = (section.delivery_by, section.distribution, section.mac_reports, section.servers_port)
    assert chosen == ("cascade", "full", False, 4792)
    assert {name: one.data_port for name, one in configuration.servers.items()} == {
        "a": 4790,
        "b": 5000,
    }


def test_a_relays_file_becomes_values(tmp_path: Path) -> None:
    configuration = load_relay(_written(tmp_path, RELAY))
    section = configuration.relay
    assert section.representative == ip_address("3ffe::1000")
    assert section.certificate == tmp_path / "a.pem"
    assert (section.data_port, section.servers_port, section.strip) == (4790, 4792, "keep")
    assert configuration.timers.hold_down_s == 0.5
    assert section.hop_tags == "off"
    tagged = RELAY.replace("[timers]", 'hop_tags = "required"\n[timers]')
    assert load_relay(_written(tmp_path, tagged)).relay.hop_tags == "required"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('address = "3ffe::1000:b"', 'address = "10.0.0.1"', "expected IPv6 to fit"),
        ('address = "3ffe::1000:b"\ndata_port = 5000', 'address = "3ffe::1000:a"', "nobody else"),
        ("[servers.b]", "[servers.B_]", "servers.B_: expected"),
        ('servers_certificate_authority = "servers.pem"\n', "", "because there are VPN servers"),
        ('delivery_by = "cascade"', 'delivery_by = "flood"', "expected one of direct, cascade"),
        ('distribution = "full"', 'distribution = "some"', "expected one of full, delta"),
        ('distribution = "full"', 'forwarding = "hub"', 'expected "relay", because'),
        ('distribution = "full"', 'keys = "manual"\nmanual_file = "x"', 'expected "tls", because'),
        ('distribution = "full"', 'hop_tags = "on"', "expected one of off, required"),
        ('"ff1e::1"', '"ff1e::1"\ndelivery = "multicast"', 'expected "relay", because'),
    ],
)
def test_a_mistake_in_a_representatives_file_is_one_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert REPRESENTATIVE.count(old) == 1
    path = _written(tmp_path, REPRESENTATIVE.replace(old, new))
    with pytest.raises(ConfigurationError, match=expected):
        load_server(path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"3ffe::1000:a"', '"ff1e::1"', ":2: relay.address: expected the address of one host"),
        ('"3ffe::1000"', '"192.0.2.1"', ":3: relay.representative: expected IPv6"),
        ('certificate = "a.pem"\n', "", "relay.certificate: expected a path, got nothing"),
        ("[timers]", 'key = "00"\n[timers]', ":8: relay.key: expected one of"),
        ("[timers]", 'hop_tags = "on"\n[timers]', ":8: relay.hop_tags: expected one of off, req"),
        ("[timers]", "[groups.1001]", ":8: groups: expected one of relay, timers"),
    ],
)
@pytest.mark.parametrize("arguments", [[], ["--status"]])
def test_a_mistake_in_a_relays_file_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    expected: str,
    arguments: list[str],
) -> None:
    assert RELAY.count(old) == 1
    path = _written(tmp_path, RELAY.replace(old, new))
    assert relay.main(["--config", str(path), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize(
    ("main", "text"), [(relay.main, RELAY), (server.main, REPRESENTATIVE)], ids=["relay", "server"]
)
def test_status_of_a_process_that_does_not_run_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], int],
    text: str,
) -> None:
    assert main(["--config", str(_written(tmp_path, text)), "--status", "--json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a process that answers" in line


def test_a_certificate_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert relay.main(["--config", str(_written(tmp_path, RELAY))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "authority.pem: expected certificates in PEM, got no such file" in line

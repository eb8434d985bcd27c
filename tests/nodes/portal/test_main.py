"""The page's file and command line: what is wrong is named in one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from experiments.credentials import CertificateAuthority
from nodes.portal.__main__ import main
from nodes.portal.configuration import load_portal
from protocol.types import SECOND

SERVER = """\
[server]
address = "127.0.0.1"
certificate = "server.pem"
private_key = "server.key"
database = "users.sqlite"
status_socket = "server.status"
admin_socket = "server.admin"
[groups.1001]
multicast_address = "239.192.0.1"
"""
PORTAL = """\
[portal]
server = "server.toml"
address = "127.0.0.1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server.toml").write_text(SERVER)
    (tmp_path / "portal.toml").write_text(PORTAL)
    return tmp_path


def test_what_the_file_leaves_out_is_the_servers(folder: Path) -> None:
    configuration = load_portal(folder / "portal.toml")
    assert configuration.origins == {"https://127.0.0.1:4793"}
    assert configuration.certificate == folder / "server.pem"
    assert configuration.admin_socket == folder / "server.admin"
    assert configuration.idle_time == 1800 * SECOND


def test_names_are_origins_too_and_the_usual_port_is_left_out(folder: Path) -> None:
    more = 'port = 443\nnames = ["vpn.example.org"]\n'
    (folder / "portal.toml").write_text(PORTAL.replace("127.0.0.1", "3ffe::1000") + more)
    configuration = load_portal(folder / "portal.toml")
    assert configuration.origins == {"https://[3ffe::1000]", "https://vpn.example.org"}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("portal.toml", '"127.0.0.1"', '"here"', "portal.toml:3: portal.address: expected an IPv4"),
        ("portal.toml", "server =", "servers =", "portal.toml:2: portal.servers: expected one of"),
        ("portal.toml", "server.toml", "none.toml", "none.toml: file: expected a readable TOML"),
        ("server.toml", "[groups.1001]", "[group.1001]", "server.toml:8: group: expected one of"),
        ("server.toml", 'private_key = "server.key"\n', "", "server.private_key: expected a path"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    expected: str,
) -> None:
    text = (folder / file).read_text()
    assert text.count(old) == 1
    (folder / file).write_text(text.replace(old, new))
    assert main(["--config", str(folder / "portal.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_a_certificate_that_is_none_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(folder / "portal.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "server.pem" in line
    assert "expected a certificate and its private key in PEM" in line


def test_an_address_that_is_taken_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = load_portal(folder / "portal.toml").address
    CertificateAuthority().issue(address, folder / "server.pem", folder / "server.key")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "portal.toml").write_text(f"{PORTAL}port = {port}\n")
        assert main(["--config", str(folder / "portal.toml")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"TCP 127.0.0.1:{port}: address already in use")

"""What is said of a capture outside: IKE as such, and no octet of a message."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from experiments.deployment import Settings, deploy
from experiments.observation.ike_outside import hides_messages, look_outside, tcp_payloads
from experiments.observation.pcapng import CapturedFrame, write_capture
from nodes.ike.machine import missing_packages
from topologies.catalog import single
from topologies.emulate import emulate

WORD = b'"multicast_address":"'
MESSAGE = b'{"type":"registered",' + WORD + b'ff1e::1","lan_mtu":1346}'
SEALED = bytes(range(100))


def capture(path: Path, *packets: bytes) -> Path:
    return write_capture(path, [CapturedFrame(0, "x", packet) for packet in packets])


def in_tcp(payload: bytes) -> bytes:
    """Returns an IPv6 packet with a TCP segment, as charon's device shows it."""
    segment = bytes(12) + b"\x50" + bytes(7) + payload
    return b"\x60" + bytes(3) + len(segment).to_bytes(2, "big") + b"\x06" + bytes(33) + segment


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    return capture(tmp_path / "inside.pcapng", in_tcp(MESSAGE), in_tcp(b""))


def test_tcp_payloads_are_found_behind_both_headers(inside: Path) -> None:
    assert list(tcp_payloads(inside)) == [MESSAGE]


def test_a_capture_of_sealed_packets_hides_messages(tmp_path: Path, inside: Path) -> None:
    found = hides_messages(capture(tmp_path / "outside.pcapng", SEALED), inside, [WORD])
    assert found.held
    assert f"{len(MESSAGE)} octets of messages" in found.detail


@pytest.mark.parametrize("octets", [MESSAGE[:20], WORD, MESSAGE[-16:]])
def test_any_run_of_a_message_outside_is_found(tmp_path: Path, inside: Path, octets: bytes) -> None:
    outside = capture(tmp_path / "outside.pcapng", SEALED, SEALED + octets + SEALED)
    assert not hides_messages(outside, inside, [WORD]).held


def test_a_search_that_finds_nothing_inside_shows_nothing(tmp_path: Path) -> None:
    outside = capture(tmp_path / "outside.pcapng", SEALED)
    inside = capture(tmp_path / "inside.pcapng", in_tcp(SEALED))
    assert not hides_messages(outside, inside, [WORD]).held


def test_where_the_kernel_does_esp_words_alone_are_looked_for(tmp_path: Path) -> None:
    assert hides_messages(capture(tmp_path / "sealed.pcapng", SEALED), None, [WORD]).held
    assert not hides_messages(capture(tmp_path / "clear.pcapng", MESSAGE), None, [WORD]).held


@pytest.mark.emulated
@pytest.mark.parametrize("control", ["ike", "tls"])
def test_a_run_by_ike_shows_ike_and_one_by_tls_does_not(control: str) -> None:
    if control == "ike" and (missing := missing_packages()):
        pytest.skip(f"missing Debian packages: {' '.join(missing)}")
    plan = single(clients=2, terminals=1, second_group=0)
    with (
        tempfile.TemporaryDirectory(prefix="blindrelay-test-") as folder,
        emulate(plan) as network,
        deploy(network, Path(folder), Settings(control=control)) as deployment,
    ):
        found = look_outside(deployment, Path(folder))
    assert found["tshark_reads_ike_outside"].held is (control == "ike")
    assert found["no_octet_of_a_message_is_outside"].held, found

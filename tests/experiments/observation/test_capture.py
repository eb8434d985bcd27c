"""Captures are whole, and make one where there are several."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from experiments.observation.capture import Capture, CaptureError, merge
from experiments.observation.packets import read_packets
from experiments.records.environment import CHECKOUT

CAPTURING = """
import socket, subprocess, sys
from pathlib import Path
from experiments.observation.capture import Capture
from experiments.observation.packets import read_packets
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
def popen(node, argv, **arguments):
    assert node == "here"
    return subprocess.Popen(argv, **arguments)
with Capture(popen, "here", ["lo"], Path(sys.argv[1]), "udp") as capture:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(2000):
            sender.sendto(number.to_bytes(4, "big") * 25, ("127.0.0.1", 9))
packets = [octets for octets in read_packets(capture.path) if len(octets) == 142]
assert [int.from_bytes(octets[42:46], "big") for octets in packets] == list(range(2000))
assert capture.counts["lo"].lost == 0, capture.counts
assert capture.counts["lo"].captured >= 2000, capture.counts
"""


@pytest.mark.emulated
def test_a_capture_begins_before_the_block_and_ends_whole(tmp_path: Path) -> None:
    command = ["unshare", "--net", sys.executable, "-c", CAPTURING, str(tmp_path / "lo.pcapng")]
    result = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.emulated
def test_an_interface_that_is_not_there_is_named(tmp_path: Path) -> None:
    def popen(node: str, argv: Any, **arguments: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, **arguments)

    assert "nowhere" not in [name for _, name in socket.if_nameindex()]
    with (
        pytest.raises(CaptureError, match="capture at c1 on nowhere"),
        Capture(popen, "c1", ["nowhere"], tmp_path / "x.pcapng"),
    ):
        pytest.fail("the block must not begin")


def stamped(path: Path, *packets: tuple[float, bytes]) -> Path:
    """Writes a capture of packets, each with its Unix time in s."""
    made = []
    for at, octets in packets:
        packet: Any = Ether(octets)
        packet.time = at
        made.append(packet)
    wrpcap(str(path), made)
    return path


def test_captures_are_merged_by_time_while_all_ran(tmp_path: Path) -> None:
    begun = 1_800_000_000.25
    early, a, b, c = (bytes([number]) * 60 for number in range(4))
    one = stamped(tmp_path / "one.pcap", (begun - 0.1, early), (begun, a), (begun + 2, c))
    late = bytes([9]) * 60
    other = stamped(
        tmp_path / "other.pcap", (begun - 30, early), (begun + 1, b), (begun + 3.1, late)
    )
    merged = merge([one, other], tmp_path / "merged.pcapng", begun, begun + 3)
    assert list(read_packets(merged)) == [a, b, c]
    assert {path.name for path in tmp_path.iterdir()} == {"one.pcap", "other.pcap", merged.name}


def test_one_capture_alone_is_kept_as_it_is(tmp_path: Path) -> None:
    one = stamped(tmp_path / "one.pcap", (1.0, bytes(60)), (9.0, bytes(61)))
    whole = one.read_bytes()
    assert merge([one], tmp_path / "merged.pcapng", 5.0, 6.0).read_bytes() == whole


def test_captures_that_cannot_be_merged_name_the_program_and_why(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"mergecap: .*nosuch"):
        merge([tmp_path / "nosuch", tmp_path / "other"], tmp_path / "merged.pcapng", 0.0, 1.0)

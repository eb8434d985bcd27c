"""Packets are read, and what is sought is found wherever it begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from experiments.observation.capture import CaptureError
from experiments.observation.packets import contains_run_of, find_runs, read_packets

FRAME = os.urandom(512)


def test_a_file_that_is_no_capture_gives_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "no.pcap"
    path.write_text("nothing of the kind, but long enough to have a header")
    with pytest.raises(CaptureError, match=r"no\.pcap"):
        list(read_packets(path))


def test_a_run_is_found_wherever_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "leak.pcap"
    leak = FRAME[100:116]
    wrpcap(str(path), [Ether(os.urandom(99)), Ether(os.urandom(77) + leak + os.urandom(3))])
    assert contains_run_of(path, FRAME)
    assert not contains_run_of(path, bytes(range(0x80, 0x90)))
    sighting = next(find_runs(path, [FRAME]))
    assert (sighting.packet, sighting.octets) == (2, leak)
    assert not contains_run_of(path, FRAME, length=17)


def test_a_needle_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="needle of 3 octets"):
        contains_run_of(tmp_path, b"abc")

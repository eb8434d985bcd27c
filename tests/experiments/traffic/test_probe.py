"""Shows that probe frames check to the last octet and that a plan is checked before it is sent."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.traffic.probe import (
    ETHERTYPE,
    MINIMUM_LENGTH,
    SIZES,
    ProbeError,
    ProbeFrame,
    SendPlan,
    Stream,
    mac_from_text,
    observe,
    parse,
    verify,
)
from experiments.traffic.probe_program import check_plan, load_plan, run, told_begin

MARKER = bytes(range(0x40, 0x50))
SOURCE = mac_from_text("02:00:00:00:aa:01")
DESTINATION = mac_from_text("02:00:00:00:bb:01")


def frame(sequence: int = 7, length: int = 64) -> ProbeFrame:
    """Makes a frame of the usual sender."""
    return ProbeFrame(DESTINATION, SOURCE, MARKER, 3, sequence, length)


@pytest.mark.parametrize("length", [MINIMUM_LENGTH, *SIZES])
def test_a_frame_has_its_length_and_reads_back_as_it_was(length: int) -> None:
    octets = frame(length=length).to_bytes()
    assert len(octets) == length
    assert octets[12:14] == ETHERTYPE.to_bytes(2, "big")
    assert octets[14:30] == MARKER
    assert parse(octets) == frame(length=length)
    assert verify(octets)


@given(st.integers(0, 511), st.integers(1, 255))
def test_any_changed_octet_is_noticed(index: int, change: int) -> None:
    octets = bytearray(frame(length=512).to_bytes())
    octets[index] ^= change
    # A changed MAC address is a sound frame between other stations: its record differs.
    sound = frame(length=512).to_bytes()
    assert not verify(bytes(octets)) or observe(bytes(octets), 0) != observe(sound, 0)
    assert index < 12 or not verify(bytes(octets))


def test_a_cut_or_padded_frame_is_noticed() -> None:
    octets = frame(length=512).to_bytes()
    assert not verify(octets[:-1])
    assert not verify(octets + b"\0")


def test_fillings_differ_between_frames_and_are_the_same_for_the_same_frame() -> None:
    assert frame(1).to_bytes() == frame(1).to_bytes()
    assert frame(1).to_bytes()[MINIMUM_LENGTH:] != frame(2).to_bytes()[MINIMUM_LENGTH:]


def test_what_is_no_probe_frame_says_so() -> None:
    with pytest.raises(ProbeError, match="0x0800"):
        parse(DESTINATION + SOURCE + b"\x08\x00" + bytes(50))
    with pytest.raises(ProbeError, match="at least 38"):
        parse(b"short")
    assert observe(b"short", 0).sequence == -1


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (Stream("02:00:00:00:bb:01", 37, 1, 1.0), "37 octets"),
        (Stream("02:00:00:00:bb", 64, 1, 1.0), "MAC address '02:00:00:00:bb'"),
        (Stream("02:00:00:00:bb:01", 64, 0, 1.0), "count and rate above 0"),
        (Stream("02:00:00:00:bb:01", 64, 10_000_000, 1e6), "at most"),
    ],
)
def test_a_bad_stream_is_refused_by_name(stream: Stream, complaint: str) -> None:
    plan = SendPlan(MARKER.hex(), 1, "02:00:00:00:aa:01", (stream,))
    with pytest.raises(ProbeError, match=complaint):
        check_plan(plan)


def test_a_broken_plan_file_gives_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"marker": 5}')
    assert run(["send", "--interface", "lo", "--plan", str(path)]) == 2
    complaint = capsys.readouterr().err.strip()
    assert "plan.json" in complaint
    assert len(complaint.splitlines()) == 1


def test_a_held_sender_says_that_it_is_ready_and_begins_when_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.monotonic() + 5
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{begin}\n"))
    assert told_begin() == begin
    assert capsys.readouterr().out == "ready\n"


@pytest.mark.parametrize("line", ["", "soon\n", "nan\n", "inf\n", "-1e9\n"])
def test_a_held_sender_is_told_a_time_of_soon(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))
    with pytest.raises(ProbeError, match="expected a monotonic time of soon"):
        told_begin()


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    stream = Stream("ff:ff:ff:ff:ff:ff", 64, 3, 100.0, first_sequence=10)
    plan = SendPlan(MARKER.hex(), 1, "02:00:00:00:aa:01", (stream,))
    path = tmp_path / "plan.json"
    path.write_bytes(msgspec.json.encode(plan))
    assert load_plan(path) == plan
    assert [each.sequence for each in plan.frames_of(stream)] == [10, 11, 12]

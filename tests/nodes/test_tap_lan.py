"""TAP devices, each test in a network namespace of its own."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest

from nodes import interface as device
from nodes.lan import LanError
from nodes.packet_socket_lan import PacketSocketLan
from nodes.tap_lan import TapLan
from protocol.types import FrameRun
from tests.nodes.lans import (
    FRAME,
    PAYLOAD,
    STATION,
    arrived,
    assert_segments_come,
    far_host,
    far_socket,
    ip,
    program,
    quiet,
    send_large,
    sent,
    wait_for_frame,
)
from tests.nodes.tcp import segments

pytestmark = pytest.mark.emulated


def test_frames_pass_in_both_directions(private_network: None) -> None:
    with TapLan("tap-a", 1346) as lan:
        quiet("tap-a")
        with far_socket("tap-a") as machine:
            machine.send(FRAME)
            assert wait_for_frame(lan, lambda frame: frame[12:14] == b"\x88\xb5") == FRAME
            assert lan.send(FRAME[::-1])
            while machine.recv(2048) != FRAME[::-1]:
                pass
        assert lan.sent == 1


def test_a_vlan_tag_survives_both_directions(private_network: None) -> None:
    tagged = FRAME[:12] + struct.pack("!HH", 0x8100, 0x6007) + FRAME[12:]
    with TapLan("tap-a", 1346) as lan, PacketSocketLan("tap-a") as machine:
        quiet("tap-a")
        assert machine.send(tagged)
        assert wait_for_frame(lan, lambda frame: frame.endswith(PAYLOAD)) == tagged
        assert lan.send(tagged)
        assert wait_for_frame(machine, lambda frame: frame.endswith(PAYLOAD)) == tagged


def test_a_large_frame_is_cut_and_every_segment_is_received(private_network: None) -> None:
    with TapLan("tap-a", 1346) as lan:
        quiet("tap-a")
        far_host("tap-a")
        send_large("192.0.2.2")
        assert_segments_come(lan)


def test_segments_are_joined_for_the_machine_and_arrive_as_they_were(private_network: None) -> None:
    frames = [*segments(4, 9, 1200, 700), *segments(6, 5, 1200)]
    with TapLan("tap-a", 1346) as lan, PacketSocketLan("tap-a") as machine:
        quiet("tap-a")
        lan.send_all([FrameRun.of(frame) for frame in frames])
        assert arrived(machine, len(frames)) == frames
        assert (lan.joined, machine.cut) == (2, 2)


def test_the_device_is_up_with_the_mtu_and_mac_that_were_asked_for(private_network: None) -> None:
    with TapLan("tap-a", 1346, mac=STATION) as lan:
        command = [shutil.which("ip") or "/sbin/ip", "-details", "link", "show", "tap-a"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert lan.mtu == 1346
        assert "mtu 1346" in shown
        assert "02:00:00:00:00:aa" in shown
        assert ",UP" in shown
        assert "persist off" in shown


def test_the_device_is_gone_after_close(private_network: None) -> None:
    lan = TapLan("tap-a", 1346)
    assert device.exists("tap-a")
    lan.close()
    lan.close()
    assert not device.exists("tap-a")


def test_a_device_that_could_not_be_configured_is_not_left_behind(private_network: None) -> None:
    with pytest.raises(LanError, match="interface tap-a: MTU 10: out of the range"):
        TapLan("tap-a", 10)
    with pytest.raises(LanError, match="interface tap-a: MAC ff:ff:ff:ff:ff:ff: expected"):
        TapLan("tap-a", 1346, mac=b"\xff" * 6)
    assert not device.exists("tap-a")


def test_a_name_in_use_is_refused_and_left_alone(wire: tuple[str, str]) -> None:
    ip("tuntap", "add", "mode", "tap", "name", "tap-b")
    for name in (wire[0], "tap-b"):
        with pytest.raises(LanError, match=f"{name}: expected a free name, got one in use"):
            TapLan(name, 1346)
        assert device.exists(name)


def test_a_deleted_device_is_told_and_refuses_frames(private_network: None) -> None:
    with TapLan("tap-a", 1346) as lan:
        ip("link", "delete", "tap-a")
        while lan.receive() is not None:
            pass
        assert lan.gone
        assert lan.receive_errors == 1
        assert not lan.send(FRAME)
        assert lan.counters()["send_refused"] == 1


def test_frames_that_the_kernel_could_not_queue_are_counted(private_network: None) -> None:
    with TapLan("tap-a", 1346) as lan:
        quiet("tap-a")
        ip("link", "set", "tap-a", "txqueuelen", "5")
        # Without a queue of its own before the device's, whose drops would be no count of the device.
        program("tc", "qdisc", "replace", "dev", "tap-a", "root", "noqueue")
        with far_socket("tap-a") as machine:
            refused = sum(not sent(machine, FRAME) for _ in range(50))
        assert refused >= 44
        assert lan.kernel_drops >= refused


def test_nothing_to_read_is_none(private_network: None) -> None:
    with TapLan("tap-a", 1346) as lan:
        while lan.receive() is not None:
            pass
        assert lan.receive_errors == 0

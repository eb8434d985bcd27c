"""A packet socket on a LAN, each test in a network namespace of its own."""

from __future__ import annotations

import errno
import shutil
import socket
import struct
import subprocess
import time

import pytest

from nodes.lan import LanError
from nodes.packet_socket_lan import PacketSocketLan
from nodes.segmentation import NO_OFFLOAD
from protocol.types import FrameRun
from tests.nodes.lans import (
    DEADLINE,
    FRAME,
    LOCAL_EXPERIMENTAL,
    OTHER_STATION,
    STATION,
    arrived,
    assert_checksums_hold,
    assert_segments_come,
    far_host,
    far_socket,
    ip,
    quiet,
    send_large,
    wait_for_frame,
    wait_until_up,
)
from tests.nodes.tcp import segments

pytestmark = pytest.mark.emulated


def test_a_frame_for_another_station_is_received_whole(wire: tuple[str, str]) -> None:
    with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
        far.send(FRAME)
        assert wait_for_frame(lan) == FRAME
        assert lan.receive() is None
        assert lan.counters()["received"] == 1


def test_own_injections_reach_the_wire_and_do_not_come_back(wire: tuple[str, str]) -> None:
    with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
        assert lan.send(FRAME)
        assert far.recv(2048) == FRAME
        far.send(STATION + OTHER_STATION + LOCAL_EXPERIMENTAL + b"answer")
        assert wait_for_frame(lan).endswith(b"answer")
        assert lan.receive() is None
        assert (lan.sent, lan.received) == (1, 1)


def test_what_the_machine_itself_sends_there_is_not_captured(wire: tuple[str, str]) -> None:
    with (
        PacketSocketLan(wire[0]) as lan,
        far_socket(wire[0]) as neighbour,
        far_socket(wire[1]) as far,
    ):
        neighbour.send(FRAME)
        assert far.recv(2048) == FRAME
        far.send(FRAME[::-1])
        assert wait_for_frame(lan) == FRAME[::-1]
        assert lan.receive() is None


def test_the_interface_is_promiscuous_as_long_as_the_lan_is_open(wire: tuple[str, str]) -> None:
    def promiscuity() -> str:
        command = [shutil.which("ip") or "/sbin/ip", "-details", "link", "show", wire[0]]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return shown.split("promiscuity ")[1].split()[0]

    assert promiscuity() == "0"
    with PacketSocketLan(wire[0]):
        assert promiscuity() == "1"
    assert promiscuity() == "0"


@pytest.mark.parametrize("tag_protocol", [0x8100, 0x88A8], ids=["802.1Q", "802.1ad"])
def test_a_vlan_tag_that_the_kernel_took_off_is_put_back(
    wire: tuple[str, str], tag_protocol: int
) -> None:
    tagged = FRAME[:12] + struct.pack("!HH", tag_protocol, 0x6007) + FRAME[12:]
    with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
        far.send(tagged)
        assert wait_for_frame(lan) == tagged


def test_a_priority_tag_with_vlan_zero_is_put_back(wire: tuple[str, str]) -> None:
    tagged = FRAME[:12] + struct.pack("!HH", 0x8100, 0) + FRAME[12:]
    with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
        far.send(tagged)
        assert wait_for_frame(lan) == tagged


def test_frames_of_other_interfaces_never_come_in(
    wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ip("link", "add", "other", "type", "veth", "peer", "name", "other-far")
    for name in ("other", "other-far"):
        quiet(name)
        ip("link", "set", name, "up")
    wait_until_up("other", "other-far")
    configure = PacketSocketLan._configure
    with (
        far_socket(wire[1]) as far,
        far_socket("other-far") as foreign,
        far_socket("other") as witness,
    ):

        def send_foreign_frame() -> None:
            foreign.send(FRAME)
            assert witness.recv(2048) == FRAME

        def configure_late(lan: PacketSocketLan, index: int) -> None:
            send_foreign_frame()
            configure(lan, index)

        monkeypatch.setattr(PacketSocketLan, "_configure", configure_late)
        with PacketSocketLan(wire[0]) as lan:
            send_foreign_frame()
            far.send(FRAME[::-1])
            assert wait_for_frame(lan) == FRAME[::-1]
            assert lan.receive() is None


def test_a_checksum_left_to_an_offload_is_completed(wire: tuple[str, str]) -> None:
    far_host(wire[1])
    with PacketSocketLan(wire[0]) as lan, socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"unfinished checksum", ("192.0.2.2", 9))
        frame = wait_for_frame(lan, lambda frame: frame.endswith(b"unfinished checksum"))
        assert lan.received >= 1
    assert_checksums_hold(frame)


def test_a_large_frame_is_cut_and_every_segment_is_received(wire: tuple[str, str]) -> None:
    far_host(wire[1])
    with PacketSocketLan(wire[0]) as lan:
        send_large("192.0.2.2")
        assert_segments_come(lan)


@pytest.mark.parametrize("tso", ["on", "off"])
def test_segments_leave_joined_and_arrive_as_they_were(wire: tuple[str, str], tso: str) -> None:
    subprocess.run(["ethtool", "-K", wire[0], "tso", tso], check=True, capture_output=True)
    frames = [*segments(4, 9, 1400, 700), FRAME, *segments(6, 5, 1400)]
    with PacketSocketLan(wire[0]) as lan, PacketSocketLan(wire[1]) as far:
        lan.send_all([FrameRun.of(frame) for frame in frames])
        assert arrived(far, len(frames)) == frames
        assert (lan.joined, lan.sent, lan.send_refused) == (2, len(frames), 0)
        assert far.cut == (2 if tso == "on" else 0)


def test_where_no_large_frame_is_taken_they_go_one_by_one(
    wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PacketSocketLan._write

    def refuse_large(lan: PacketSocketLan, header: bytes, octets: bytes) -> bool:
        return header == NO_OFFLOAD and write(lan, header, octets)

    monkeypatch.setattr(PacketSocketLan, "_write", refuse_large)
    frames = segments(4, 9, 1400, 700)
    with PacketSocketLan(wire[0]) as lan, PacketSocketLan(wire[1]) as far:
        lan.send_all([FrameRun.of(frame) for frame in frames])
        lan.send_all([FrameRun.of(frame) for frame in frames])
        assert arrived(far, 2 * len(frames)) == 2 * frames
        assert (lan.joined, lan.sent, lan.send_refused) == (0, 2 * len(frames), 0)


def test_segments_above_the_mtu_are_refused_each(wire: tuple[str, str]) -> None:
    with PacketSocketLan(wire[0]) as lan:
        lan.send_all([FrameRun.of(frame) for frame in segments(4, 9, 1500)])
        assert (lan.joined, lan.sent, lan.send_refused) == (0, 0, 9)


def test_a_frame_above_the_mtu_is_refused_and_counted(wire: tuple[str, str]) -> None:
    with PacketSocketLan(wire[0]) as lan:
        assert lan.mtu == 1500
        assert not lan.send(FRAME + bytes(1500))
        assert not lan.send(b"short")
        assert lan.counters()["send_refused"] == 2
        assert lan.sent == 0


def test_an_interface_that_goes_down_is_counted_and_serves_again_when_it_is_up(
    wire: tuple[str, str],
) -> None:
    with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
        ip("link", "set", wire[0], "down")
        assert lan.receive() is None
        assert lan.receive_errors == 1
        assert not lan.send(FRAME)
        assert not lan.gone
        ip("link", "set", wire[0], "up")
        wait_until_up(*wire)
        far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # the far end went down, too
        far.send(FRAME)
        assert wait_for_frame(lan) == FRAME


def test_an_interface_that_vanishes_is_told(wire: tuple[str, str]) -> None:
    with PacketSocketLan(wire[0]) as lan:
        ip("link", "delete", wire[0])
        assert lan.receive() is None
        assert lan.gone
        assert lan.receive_errors == 1
        assert not lan.send(FRAME)


def test_frames_that_the_kernel_could_not_queue_are_counted(wire: tuple[str, str]) -> None:
    with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
        lan._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(200):
            far.send(FRAME)
        deadline = time.monotonic() + DEADLINE
        taken = 0
        while taken + lan.kernel_drops < 200 and time.monotonic() < deadline:
            taken += lan.receive() is not None
        assert 0 < taken < 200
        assert taken + lan.kernel_drops == 200
    assert lan.counters()["kernel_drops"] == 200 - taken


def test_it_can_be_closed_twice(wire: tuple[str, str]) -> None:
    lan = PacketSocketLan(wire[0])
    lan.close()
    lan.close()
    assert lan.fileno() == -1


def test_a_missing_interface_is_named(private_network: None) -> None:
    with pytest.raises(LanError, match="^interface c1-lan: no such device$"):
        PacketSocketLan("c1-lan")


def test_an_interface_that_carries_no_ethernet_is_refused(private_network: None) -> None:
    with pytest.raises(LanError, match="interface lo: expected an Ethernet interface"):
        PacketSocketLan("lo")


def test_missing_rights_are_named(wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("nodes.packet_socket_lan.socket.socket", refuse)
    with pytest.raises(LanError, match="interface lan: not permitted: needs CAP_NET_RAW"):
        PacketSocketLan(wire[0])

"""LAN attachments, each test in a network namespace of its own."""

from __future__ import annotations

import errno
import json
import select
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from nodes import interface as device
from nodes.batch_socket import UDP_SEGMENT
from nodes.lan import Lan, LanError, PacketSocketLan, TapLan
from nodes.segmentation import NO_OFFLOAD
from protocol.types import FrameRun
from tests.nodes.tcp import segments

DEADLINE = 30.0
STATION = bytes.fromhex("0200000000aa")
OTHER_STATION = bytes.fromhex("0200000000bb")
PAYLOAD = bytes(range(64))
LOCAL_EXPERIMENTAL = b"\x88\xb5"
DATAGRAMS = [bytes([number]) * 1000 for number in range(4)] + [b"the last is shorter"]
FRAME = OTHER_STATION + STATION + LOCAL_EXPERIMENTAL + PAYLOAD


def test_interface_names_that_linux_refuses_are_refused_before_the_kernel_is_asked() -> None:
    for name in ("", "sixteen-octets-x", "a/b", "a b", ".."):
        with pytest.raises(LanError, match="expected a name"):
            PacketSocketLan(name)


@pytest.fixture
def wire(private_network: None) -> tuple[str, str]:
    """Makes two veth interfaces that are up and silent: no IPv6, no addresses."""
    ip("link", "add", "lan", "type", "veth", "peer", "name", "far")
    for name in ("lan", "far"):
        quiet(name)
        ip("link", "set", name, "up")
    wait_until_up("lan", "far")
    return "lan", "far"


def wait_until_up(*names: str) -> None:
    """Waits until interfaces carry frames: what is sent before that is lost without a word."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        shown = subprocess.run(["ip", "-json", "link", "show"], check=True, capture_output=True)
        states = {one["ifname"]: one["operstate"] for one in json.loads(shown.stdout)}
        if all(states[name] == "UP" for name in names):
            return
    raise AssertionError(f"{names}: expected to be up")


def ip(*arguments: str) -> None:
    program("ip", *arguments)


def program(name: str, *arguments: str) -> None:
    found = shutil.which(name) or f"/sbin/{name}"
    subprocess.run([found, *arguments], check=True, capture_output=True)


def quiet(name: str) -> None:
    ip("link", "set", "dev", name, "addrgenmode", "none", "multicast", "off")


def far_socket(name: str) -> socket.socket:
    """Returns a raw socket as somebody else's end of the wire."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    opened.bind((name, 0))
    opened.settimeout(DEADLINE)
    return opened


def sent(machine: socket.socket, frame: bytes) -> bool:
    """Sends a frame; returns whether the device took it."""
    try:
        machine.send(frame)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return False
    return True


def far_host(name: str) -> None:
    """Gives the far end an address, and a neighbour to send to."""
    ip("address", "add", "192.0.2.1/24", "dev", name)
    ip("neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:02", "dev", name)


def send_large(host: str) -> None:
    """Sends five datagrams as one large frame."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        size = struct.pack("=H", len(DATAGRAMS[0]))
        sender.sendmsg(DATAGRAMS, [(socket.IPPROTO_UDP, UDP_SEGMENT, size)], 0, (host, 9))


def assert_segments_come(lan: Lan) -> list[bytes]:
    """Returns the five frames, each complete."""
    frames = wait_for_frames(lan, lambda frame: frame.endswith(DATAGRAMS[0]))
    assert len(frames) == len(DATAGRAMS)
    assert all(map(bytes.endswith, frames, DATAGRAMS))
    assert lan.counters()["cut"] == 1
    for frame in frames:
        assert_checksums_hold(frame)
    return frames


def assert_checksums_hold(frame: bytes) -> None:
    read = Ether(frame)
    again: Any = read.copy()
    del again[IP].chksum, again[IP].len, again[UDP].chksum, again[UDP].len
    assert bytes(again) == frame


def wait_for_frame(lan: Lan, wanted: Callable[[bytes], bool] = lambda frame: True) -> bytes:
    """Returns the next frame that is wanted, the only one of its read."""
    (frame,) = wait_for_frames(lan, wanted)
    return frame


def wait_for_frames(lan: Lan, wanted: Callable[[bytes], bool]) -> list[bytes]:
    """Returns the frames of the next read whose first is wanted; fails after the deadline."""
    deadline = time.monotonic() + DEADLINE
    while (left := deadline - time.monotonic()) > 0:
        select.select([lan], [], [], left)
        frames = lan.receive()
        if frames and wanted(frames[0]):
            return frames
    raise AssertionError("no such frame came")


def arrived(lan: Lan, count: int) -> list[bytes]:
    """Returns the next frames of a LAN, as many as are awaited."""
    frames: list[bytes] = []
    while len(frames) < count:
        frames += wait_for_frames(lan, lambda frame: True)
    return frames


@pytest.mark.emulated
class TestPacketSocketLan:
    def test_a_frame_for_another_station_is_received_whole(self, wire: tuple[str, str]) -> None:
        with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
            far.send(FRAME)
            assert wait_for_frame(lan) == FRAME
            assert lan.receive() is None
            assert lan.counters()["received"] == 1

    def test_own_injections_reach_the_wire_and_do_not_come_back(
        self, wire: tuple[str, str]
    ) -> None:
        with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
            assert lan.send(FRAME)
            assert far.recv(2048) == FRAME
            far.send(STATION + OTHER_STATION + LOCAL_EXPERIMENTAL + b"answer")
            assert wait_for_frame(lan).endswith(b"answer")
            assert lan.receive() is None
            assert (lan.sent, lan.received) == (1, 1)

    def test_what_the_machine_itself_sends_there_is_not_captured(
        self, wire: tuple[str, str]
    ) -> None:
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

    def test_the_interface_is_promiscuous_as_long_as_the_lan_is_open(
        self, wire: tuple[str, str]
    ) -> None:
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
        self, wire: tuple[str, str], tag_protocol: int
    ) -> None:
        tagged = FRAME[:12] + struct.pack("!HH", tag_protocol, 0x6007) + FRAME[12:]
        with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
            far.send(tagged)
            assert wait_for_frame(lan) == tagged

    def test_a_priority_tag_with_vlan_zero_is_put_back(self, wire: tuple[str, str]) -> None:
        tagged = FRAME[:12] + struct.pack("!HH", 0x8100, 0) + FRAME[12:]
        with PacketSocketLan(wire[0]) as lan, far_socket(wire[1]) as far:
            far.send(tagged)
            assert wait_for_frame(lan) == tagged

    def test_frames_of_other_interfaces_never_come_in(
        self, wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch
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

    def test_a_checksum_left_to_an_offload_is_completed(self, wire: tuple[str, str]) -> None:
        far_host(wire[1])
        with PacketSocketLan(wire[0]) as lan, socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"unfinished checksum", ("192.0.2.2", 9))
            frame = wait_for_frame(lan, lambda frame: frame.endswith(b"unfinished checksum"))
            assert lan.received >= 1
        assert_checksums_hold(frame)

    def test_a_large_frame_is_cut_and_every_segment_is_received(
        self, wire: tuple[str, str]
    ) -> None:
        far_host(wire[1])
        with PacketSocketLan(wire[0]) as lan:
            send_large("192.0.2.2")
            assert_segments_come(lan)

    @pytest.mark.parametrize("tso", ["on", "off"])
    def test_segments_leave_joined_and_arrive_as_they_were(
        self, wire: tuple[str, str], tso: str
    ) -> None:
        subprocess.run(["ethtool", "-K", wire[0], "tso", tso], check=True, capture_output=True)
        frames = [*segments(4, 9, 1400, 700), FRAME, *segments(6, 5, 1400)]
        with PacketSocketLan(wire[0]) as lan, PacketSocketLan(wire[1]) as far:
            lan.send_all([FrameRun.of(frame) for frame in frames])
            assert arrived(far, len(frames)) == frames
            assert (lan.joined, lan.sent, lan.send_refused) == (2, len(frames), 0)
            assert far.cut == (2 if tso == "on" else 0)

    def test_where_no_large_frame_is_taken_they_go_one_by_one(
        self, wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch
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

    def test_segments_above_the_mtu_are_refused_each(self, wire: tuple[str, str]) -> None:
        with PacketSocketLan(wire[0]) as lan:
            lan.send_all([FrameRun.of(frame) for frame in segments(4, 9, 1500)])
            assert (lan.joined, lan.sent, lan.send_refused) == (0, 0, 9)

    def test_a_frame_above_the_mtu_is_refused_and_counted(self, wire: tuple[str, str]) -> None:
        with PacketSocketLan(wire[0]) as lan:
            assert lan.mtu == 1500
            assert not lan.send(FRAME + bytes(1500))
            assert not lan.send(b"short")
            assert lan.counters()["send_refused"] == 2
            assert lan.sent == 0

    def test_an_interface_that_goes_down_is_counted_and_serves_again_when_it_is_up(
        self, wire: tuple[str, str]
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

    def test_an_interface_that_vanishes_is_told(self, wire: tuple[str, str]) -> None:
        with PacketSocketLan(wire[0]) as lan:
            ip("link", "delete", wire[0])
            assert lan.receive() is None
            assert lan.gone
            assert lan.receive_errors == 1
            assert not lan.send(FRAME)

    def test_frames_that_the_kernel_could_not_queue_are_counted(
        self, wire: tuple[str, str]
    ) -> None:
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

    def test_it_can_be_closed_twice(self, wire: tuple[str, str]) -> None:
        lan = PacketSocketLan(wire[0])
        lan.close()
        lan.close()
        assert lan.fileno() == -1

    def test_a_missing_interface_is_named(self, private_network: None) -> None:
        with pytest.raises(LanError, match="^interface c1-lan: no such device$"):
            PacketSocketLan("c1-lan")

    def test_an_interface_that_carries_no_ethernet_is_refused(self, private_network: None) -> None:
        with pytest.raises(LanError, match="interface lo: expected an Ethernet interface"):
            PacketSocketLan("lo")

    def test_missing_rights_are_named(
        self, wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr("nodes.lan.socket.socket", refuse)
        with pytest.raises(LanError, match="interface lan: not permitted: needs CAP_NET_RAW"):
            PacketSocketLan(wire[0])


@pytest.mark.emulated
class TestTapLan:
    def test_frames_pass_in_both_directions(self, private_network: None) -> None:
        with TapLan("tap-a", 1346) as lan:
            quiet("tap-a")
            with far_socket("tap-a") as machine:
                machine.send(FRAME)
                assert wait_for_frame(lan, lambda frame: frame[12:14] == b"\x88\xb5") == FRAME
                assert lan.send(FRAME[::-1])
                while machine.recv(2048) != FRAME[::-1]:
                    pass
            assert lan.sent == 1

    def test_a_vlan_tag_survives_both_directions(self, private_network: None) -> None:
        tagged = FRAME[:12] + struct.pack("!HH", 0x8100, 0x6007) + FRAME[12:]
        with TapLan("tap-a", 1346) as lan, PacketSocketLan("tap-a") as machine:
            quiet("tap-a")
            assert machine.send(tagged)
            assert wait_for_frame(lan, lambda frame: frame.endswith(PAYLOAD)) == tagged
            assert lan.send(tagged)
            assert wait_for_frame(machine, lambda frame: frame.endswith(PAYLOAD)) == tagged

    def test_a_large_frame_is_cut_and_every_segment_is_received(
        self, private_network: None
    ) -> None:
        with TapLan("tap-a", 1346) as lan:
            quiet("tap-a")
            far_host("tap-a")
            send_large("192.0.2.2")
            assert_segments_come(lan)

    def test_segments_are_joined_for_the_machine_and_arrive_as_they_were(
        self, private_network: None
    ) -> None:
        frames = [*segments(4, 9, 1200, 700), *segments(6, 5, 1200)]
        with TapLan("tap-a", 1346) as lan, PacketSocketLan("tap-a") as machine:
            quiet("tap-a")
            lan.send_all([FrameRun.of(frame) for frame in frames])
            assert arrived(machine, len(frames)) == frames
            assert (lan.joined, machine.cut) == (2, 2)

    def test_the_device_is_up_with_the_mtu_and_mac_that_were_asked_for(
        self, private_network: None
    ) -> None:
        with TapLan("tap-a", 1346, mac=STATION) as lan:
            command = [shutil.which("ip") or "/sbin/ip", "-details", "link", "show", "tap-a"]
            shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            assert lan.mtu == 1346
            assert "mtu 1346" in shown
            assert "02:00:00:00:00:aa" in shown
            assert ",UP" in shown
            assert "persist off" in shown

    def test_the_device_is_gone_after_close(self, private_network: None) -> None:
        lan = TapLan("tap-a", 1346)
        assert device.exists("tap-a")
        lan.close()
        lan.close()
        assert not device.exists("tap-a")

    def test_a_device_that_could_not_be_configured_is_not_left_behind(
        self, private_network: None
    ) -> None:
        with pytest.raises(LanError, match="interface tap-a: MTU 10: out of the range"):
            TapLan("tap-a", 10)
        with pytest.raises(LanError, match="interface tap-a: MAC ff:ff:ff:ff:ff:ff: expected"):
            TapLan("tap-a", 1346, mac=b"\xff" * 6)
        assert not device.exists("tap-a")

    def test_a_name_in_use_is_refused_and_left_alone(self, wire: tuple[str, str]) -> None:
        ip("tuntap", "add", "mode", "tap", "name", "tap-b")
        for name in (wire[0], "tap-b"):
            with pytest.raises(LanError, match=f"{name}: expected a free name, got one in use"):
                TapLan(name, 1346)
            assert device.exists(name)

    def test_a_deleted_device_is_told_and_refuses_frames(self, private_network: None) -> None:
        with TapLan("tap-a", 1346) as lan:
            ip("link", "delete", "tap-a")
            while lan.receive() is not None:
                pass
            assert lan.gone
            assert lan.receive_errors == 1
            assert not lan.send(FRAME)
            assert lan.counters()["send_refused"] == 1

    def test_frames_that_the_kernel_could_not_queue_are_counted(
        self, private_network: None
    ) -> None:
        with TapLan("tap-a", 1346) as lan:
            quiet("tap-a")
            ip("link", "set", "tap-a", "txqueuelen", "5")
            # Without a queue of its own before the device's, whose drops would be no count of the device.
            program("tc", "qdisc", "replace", "dev", "tap-a", "root", "noqueue")
            with far_socket("tap-a") as machine:
                refused = sum(not sent(machine, FRAME) for _ in range(50))
            assert refused >= 44
            assert lan.kernel_drops >= refused

    def test_nothing_to_read_is_none(self, private_network: None) -> None:
        with TapLan("tap-a", 1346) as lan:
            while lan.receive() is not None:
                pass
            assert lan.receive_errors == 0

"""What both attachments to a LAN are tested with: interfaces, frames, waiting."""

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

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from nodes.batch_socket import UDP_SEGMENT
from nodes.lan import Lan

DEADLINE = 30.0
STATION = bytes.fromhex("0200000000aa")
OTHER_STATION = bytes.fromhex("0200000000bb")
PAYLOAD = bytes(range(64))
LOCAL_EXPERIMENTAL = b"\x88\xb5"
DATAGRAMS = [bytes([number]) * 1000 for number in range(4)] + [b"the last is shorter"]
FRAME = OTHER_STATION + STATION + LOCAL_EXPERIMENTAL + PAYLOAD


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

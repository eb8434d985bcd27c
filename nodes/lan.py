"""The client's attachment to its LAN: a packet socket on an existing interface, or a TAP device.

Both give whole Ethernet frames without frame check sequence, never block, and turn what the kernel
refuses into counters: only opening can fail, with :class:`LanError`.

Patent: Fig. 2 parts 105-107; Fig. 8-1 step 801; Fig. 8-2 step 820.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeVar

from nodes import interface as device
from nodes.interface import LanError
from nodes.segmentation import (
    FEWEST_JOINED,
    HEADER_LENGTH,
    NO_OFFLOAD,
    Octets,
    SegmentationError,
    VirtioHeader,
    complete,
)
from protocol.types import FrameRun

__all__ = ["Lan", "LanError", "PacketSocketLan", "TapLan"]

# linux/if_ether.h, linux/if_packet.h
ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_STATISTICS = 6
PACKET_AUXDATA = 8
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_PROMISC = 1
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6
ETHERTYPE_VLAN = 0x8100
# asm-generic/socket.h
SO_RCVBUFFORCE = 33
# linux/if_tun.h
TUN_DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
IFF_TUN_EXCL = 0x8000
TUNSETOFFLOAD = 0x400454D0
TUN_F_CSUM = 0x01
TUN_F_TSO = 0x02 | 0x04 | 0x08  # IPv4, IPv6, with ECN
TUN_F_USO = 0x20 | 0x40

MAC_ADDRESSES_LENGTH = 12
FRAME_BUFFER_LENGTH = 65536 + 18
"""Octets: more than the largest segmentation-offload frame with its tagged header."""
ETHERNET_HEADER_LENGTH = 14
MTU_SECONDS = 1.0
"""For so long an interface's MTU is taken to be what it was."""
RECEIVE_BUFFER_LENGTH = 8 * 1024 * 1024
"""Octets that the kernel may queue on a packet socket while the process is busy."""

AnyLan = TypeVar("AnyLan", bound="Lan")

_MEMBERSHIP = struct.Struct("@iHH8s")
_STATISTICS = struct.Struct("@II")
_AUXILIARY = struct.Struct("@IIIHHHH")
_VLAN_TAG = struct.Struct("!HH")
_AUXILIARY_SPACE = socket.CMSG_SPACE(_AUXILIARY.size)


class Lan(ABC):
    """What a client needs of its LAN; counters are frames since opening."""

    def __init__(self, interface: str) -> None:
        device.check_name(interface)
        self.interface = interface
        self.received = 0
        self.sent = 0
        self.truncated = 0
        self.send_refused = 0
        self.receive_errors = 0
        self.cut = 0
        self.not_cut = 0
        self._kernel_drops = 0
        self.joined = 0
        self._buffer = bytearray(FRAME_BUFFER_LENGTH)
        self._view = memoryview(self._buffer)
        self._takes_large = True
        self._longest = 0
        self._longest_since = -math.inf

    @abstractmethod
    def fileno(self) -> int:
        """Returns the descriptor to wait for until a frame may be there; -1 when closed."""

    @abstractmethod
    def receive(self) -> list[bytes] | None:
        """Returns the frames of one read, or None when there is nothing more now.

        What a terminal has left to offloads is done: a large frame is cut, which makes several of one
        station to the same destination, and a checksum completed. None are left of a frame for which
        that cannot be done.
        """

    def _complete(self, octets: memoryview) -> list[bytes]:
        """Does what is left to do to a frame behind its header; none when that cannot be done."""
        self.received += 1
        frame = octets[HEADER_LENGTH:]
        if octets[:HEADER_LENGTH] == NO_OFFLOAD:
            return [bytes(frame)]
        try:
            frames = complete(frame, VirtioHeader.parse(octets))
        except SegmentationError:
            self.not_cut += 1
            return []
        self.cut += len(frames) > 1
        return frames

    def send(self, frame: bytes) -> bool:
        """Puts one frame on the LAN; returns False, and counts, when the kernel refuses it."""
        if not self._write(NO_OFFLOAD, frame):
            self.send_refused += 1
            return False
        self.sent += 1
        return True

    def send_all(self, runs: Sequence[FrameRun]) -> None:
        """Puts frames on the LAN in this order, neighbours of one TCP stream as one large frame.

        The kernel cuts it into the same frames, or gives it whole to a station that can take it.
        """
        if not self._takes_large or sum([run.rows for run in runs]) < FEWEST_JOINED:
            self._send_singly(runs)
            return
        from nodes import large_frames  # numpy, for those alone who get so many frames at once

        for header, octets, parts in large_frames.join(runs, self._longest_now()):
            if header == NO_OFFLOAD or not self._send_large(header, octets, parts):
                self._send_singly(parts)

    def _send_singly(self, runs: Iterable[FrameRun]) -> None:
        for run in runs:
            for frame in run.frames():
                self.send(frame)

    def _send_large(self, header: bytes, octets: Octets, parts: Sequence[FrameRun]) -> bool:
        """Returns False when the kernel takes no such frame: what is in it may well go one by one."""
        if not self._takes_large or not self._write(header, octets):
            self._takes_large = False
            return False
        self.joined += 1
        self.sent += sum(run.rows for run in parts)
        return True

    @abstractmethod
    def _write(self, header: bytes, octets: Octets) -> bool:
        """Gives a frame with its virtio header to the kernel; False when that refuses it."""

    def _longest_now(self) -> int:
        """Returns the octets of the longest frame that the interface takes, as it was a moment ago."""
        moment = time.monotonic()
        if moment - self._longest_since > MTU_SECONDS:
            with contextlib.suppress(LanError):
                self._longest = self.mtu + ETHERNET_HEADER_LENGTH
            self._longest_since = moment
        return self._longest

    @abstractmethod
    def close(self) -> None:
        """Gives the descriptor back; a TAP device vanishes with it. May be called twice."""

    @property
    @abstractmethod
    def kernel_drops(self) -> int:
        """Frames that the kernel dropped because they were not fetched in time."""

    @property
    def mtu(self) -> int:
        """The interface's MTU as it is now, in octets without the Ethernet header."""
        return device.mtu(self.interface)

    @property
    def gone(self) -> bool:
        """Whether the interface no longer exists: ask when ``receive_errors`` has grown.

        The descriptor of a TAP device that somebody deleted stays readable for ever.
        """
        return not device.exists(self.interface)

    def counters(self) -> dict[str, int]:
        """Returns every counter by its name."""
        return {
            "received": self.received,
            "sent": self.sent,
            "truncated": self.truncated,
            "send_refused": self.send_refused,
            "receive_errors": self.receive_errors,
            "cut": self.cut,
            "not_cut": self.not_cut,
            "joined": self.joined,
            "kernel_drops": self.kernel_drops,
        }

    def _count_failure(self, error: OSError) -> None:
        """Counts a failed receive, unless it only means that no frame is waiting."""
        if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
            self.receive_errors += 1

    def __enter__(self: AnyLan) -> AnyLan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class PacketSocketLan(Lan):
    """Captures every frame on an existing interface, save those that it injects itself.

    Needs CAP_NET_RAW.

    Patent: Fig. 8-1 step 801; Fig. 8-2 step 820.
    """

    def __init__(self, interface: str) -> None:
        super().__init__(interface)
        index = device.index(interface)
        try:
            # protocol 0 receives nothing: no other interface's frames come in before the bind
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            message = f"interface {interface}: not permitted: needs CAP_NET_RAW (root)"
            raise LanError(message) from None
        try:
            self._configure(index)
        except OSError as error:
            self._socket.close()
            raise device.failure(interface, error) from None
        except LanError:
            self._socket.close()
            raise

    def _configure(self, index: int) -> None:
        lan_socket = self._socket
        lan_socket.setblocking(False)
        lan_socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        lan_socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        lan_socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        try:
            lan_socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_LENGTH)
        except PermissionError:  # CAP_NET_RAW without CAP_NET_ADMIN: as much as the machine allows
            lan_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_LENGTH)
        membership = _MEMBERSHIP.pack(index, PACKET_MR_PROMISC, 0, b"")
        lan_socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
        lan_socket.bind((self.interface, ETH_P_ALL))
        hardware_type = lan_socket.getsockname()[3]
        if hardware_type != device.ARPHRD_ETHER:
            message = f"expected an Ethernet interface, got hardware type {hardware_type}"
            raise LanError(f"interface {self.interface}: {message}")

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[bytes] | None:
        while True:
            try:
                length, ancillary, flags, _ = self._socket.recvmsg_into(
                    [self._buffer], _AUXILIARY_SPACE
                )
            except OSError as error:
                self._count_failure(error)
                return None
            if flags & socket.MSG_TRUNC:
                self.truncated += 1
                continue
            tag = self._vlan_tag(ancillary)
            frames = self._complete(self._view[:length])
            if tag is None:
                return frames
            at = MAC_ADDRESSES_LENGTH
            return [frame[:at] + tag + frame[at:] for frame in frames]

    @staticmethod
    def _vlan_tag(ancillary: Iterable[tuple[int, int, bytes]]) -> bytes | None:
        """Returns the VLAN tag that the kernel keeps beside the frame (802.1Q, 802.1ad)."""
        for level, kind, octets in ancillary:
            if level != SOL_PACKET or kind != PACKET_AUXDATA or len(octets) < _AUXILIARY.size:
                continue
            status, _, _, _, _, tag, tag_protocol = _AUXILIARY.unpack_from(octets)
            if not status & TP_STATUS_VLAN_VALID:
                continue
            if not status & TP_STATUS_VLAN_TPID_VALID:
                tag_protocol = ETHERTYPE_VLAN
            return _VLAN_TAG.pack(tag_protocol, tag)
        return None

    def _write(self, header: bytes, octets: Octets) -> bool:
        try:
            self._socket.sendmsg((header, octets))
        except OSError:
            return False
        return True

    @property
    def kernel_drops(self) -> int:
        if self.fileno() >= 0:  # to read is to reset the kernel's count
            octets = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size)
            self._kernel_drops += _STATISTICS.unpack(octets)[1]
        return self._kernel_drops

    def close(self) -> None:
        if self.fileno() < 0:
            return
        _ = self.kernel_drops
        self._socket.close()


class TapLan(Lan):
    """Makes a TAP device: what the machine sends into it is received here, and the reverse.

    The device is new, up, has the given MTU (octets) and lives as long as this object. Needs
    CAP_NET_ADMIN.

    Patent: Fig. 8-1 step 801; Fig. 8-2 step 820.
    """

    def __init__(self, name: str, mtu: int, mac: bytes | None = None) -> None:
        super().__init__(name)
        try:
            self._descriptor = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            message = f"interface {name}: {TUN_DEVICE}: expected the kernel's tun driver, got none"
            raise LanError(message) from None
        except OSError as error:
            raise device.failure(name, error) from None
        try:
            self._configure(mtu, mac)
        except LanError:
            self.close()
            raise

    def _configure(self, mtu: int, mac: bytes | None) -> None:
        # exclusive: a device that somebody else made would outlive this process
        flags = struct.pack("@H", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)
        try:
            fcntl.ioctl(self._descriptor, TUNSETIFF, device.request(self.interface, flags))
        except OSError as error:
            if device.exists(self.interface):
                message = f"interface {self.interface}: expected a free name, got one in use"
                raise LanError(message) from None
            raise device.failure(self.interface, error) from None
        self._allow_offloads()
        device.set_mtu(self.interface, mtu)
        if mac is not None:
            device.set_mac(self.interface, mac)
        device.bring_up(self.interface)

    def _allow_offloads(self) -> None:
        """Lets the kernel leave to us what it would leave to hardware: as much as it knows of."""
        for offloads in (TUN_F_CSUM | TUN_F_TSO | TUN_F_USO, TUN_F_CSUM | TUN_F_TSO):
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._descriptor, TUNSETOFFLOAD, offloads)
                return

    def fileno(self) -> int:
        return self._descriptor

    def receive(self) -> list[bytes] | None:
        try:
            length = os.readv(self._descriptor, [self._buffer])
        except OSError as error:
            self._count_failure(error)
            return None
        return self._complete(self._view[:length])

    def _write(self, header: bytes, octets: Octets) -> bool:
        try:
            os.writev(self._descriptor, (header, octets))
        except OSError:
            return False
        return True

    @property
    def kernel_drops(self) -> int:
        if self.fileno() >= 0:
            drops = device.transmit_drops(self.interface)
            self._kernel_drops = self._kernel_drops if drops is None else drops
        return self._kernel_drops

    def close(self) -> None:
        if self.fileno() < 0:
            return
        _ = self.kernel_drops
        os.close(self._descriptor)
        self._descriptor = -1

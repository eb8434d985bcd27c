"""A LAN by a packet socket on an interface that is there: packet(7).

Patent: Fig. 8-1 step 801; Fig. 8-2 step 820.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from nodes import interface as device
from nodes.lan import Lan, LanError
from nodes.segmentation import Octets

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
MAC_ADDRESSES_LENGTH = 12
RECEIVE_BUFFER_LENGTH = 8 * 1024 * 1024
"""Octets that the kernel may queue on a packet socket while the process is busy."""

_MEMBERSHIP = struct.Struct("@iHH8s")
_STATISTICS = struct.Struct("@II")
_AUXILIARY = struct.Struct("@IIIHHHH")
_VLAN_TAG = struct.Struct("!HH")
_AUXILIARY_SPACE = socket.CMSG_SPACE(_AUXILIARY.size)


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

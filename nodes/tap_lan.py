"""A LAN by a TAP device of our own making, for stations on this machine.

Patent: Fig. 8-1 step 801; Fig. 8-2 step 820.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct

from nodes import interface as device
from nodes.lan import Lan, LanError
from nodes.segmentation import Octets

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

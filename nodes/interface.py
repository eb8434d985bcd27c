"""A network interface's name, index, MTU, MAC and state, by ioctl: no other program is called.

Every failure is a :class:`LanError` that names the interface and what was expected.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from pathlib import Path

# linux/sockios.h
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCGIFMTU = 0x8921
SIOCSIFMTU = 0x8922
SIOCSIFHWADDR = 0x8924
# linux/if.h, linux/if_arp.h
IFF_UP = 0x1
ARPHRD_ETHER = 1

NAME_LENGTH = 15
"""Octets of an interface name, without the NUL that ends it (IFNAMSIZ - 1)."""

_NAME_FIELD = NAME_LENGTH + 1
_REQUEST_LENGTH = 40
_DEVICE_STATISTICS = Path("/proc/thread-self/net/dev")
_TRANSMIT_DROPS_COLUMN = 11
_REASONS = {
    errno.ENODEV: "no such device",
    errno.ENXIO: "no such device",
    errno.EPERM: "not permitted: needs CAP_NET_ADMIN (root)",
    errno.EACCES: "not permitted: needs CAP_NET_ADMIN (root)",
}


class LanError(Exception):
    """A LAN attachment that cannot be opened: names the interface and what was expected."""


def failure(interface: str, error: OSError) -> LanError:
    """Returns the LanError for what the kernel answered."""
    reason = _REASONS.get(error.errno or 0) or os.strerror(error.errno or 0)
    return LanError(f"interface {interface}: {reason}")


def check_name(name: str) -> None:
    """Raises LanError when Linux would not take ``name`` for an interface."""
    length = len(os.fsencode(name))
    if not 1 <= length <= NAME_LENGTH or name in (".", ".."):
        raise LanError(f"interface {name!r}: expected a name of 1 to {NAME_LENGTH} octets")
    if any(character.isspace() or character in "/:%" for character in name):
        raise LanError(f"interface {name!r}: expected a name without space, '/', ':' and '%'")


def exists(name: str) -> bool:
    """Tells whether there is an interface of this name in the process's network namespace."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def index(name: str) -> int:
    """Returns the interface's index."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise LanError(f"interface {name}: no such device") from None


def mtu(name: str) -> int:
    """Returns the MTU in octets."""
    return int(struct.unpack_from("@i", _exchange(name, SIOCGIFMTU), _NAME_FIELD)[0])


def set_mtu(name: str, octets: int) -> None:
    """Sets the MTU."""
    refusal = f"MTU {octets}: out of the range that it can have"
    _exchange(name, SIOCSIFMTU, struct.pack("@i", octets), invalid=refusal)


def set_mac(name: str, mac: bytes) -> None:
    """Sets the MAC address: six octets, of one station."""
    if len(mac) != 6 or mac[0] & 1 or not any(mac):
        raise LanError(f"interface {name}: MAC {mac.hex(':')}: expected the address of one station")
    _exchange(name, SIOCSIFHWADDR, struct.pack("@H6s", ARPHRD_ETHER, mac))


def bring_up(name: str) -> None:
    """Sets the interface administratively up."""
    (flags,) = struct.unpack_from("@H", _exchange(name, SIOCGIFFLAGS), _NAME_FIELD)
    _exchange(name, SIOCSIFFLAGS, struct.pack("@H", flags | IFF_UP))


def transmit_drops(name: str) -> int | None:
    """Returns how many frames the kernel could not give to the interface; None when it is gone."""
    try:
        lines = _DEVICE_STATISTICS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        label, separator, columns = line.partition(":")
        if separator and label.strip() == name:
            return int(columns.split()[_TRANSMIT_DROPS_COLUMN])
    return None


def request(name: str, value: bytes = b"") -> bytes:
    """Returns a ``struct ifreq``: the name, then the union's first octets."""
    return (os.fsencode(name).ljust(_NAME_FIELD, b"\0") + value).ljust(_REQUEST_LENGTH, b"\0")


def _exchange(name: str, operation: int, value: bytes = b"", invalid: str | None = None) -> bytes:
    """Does one ioctl; ``invalid`` says what it means when the kernel finds the value invalid."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
            return fcntl.ioctl(control, operation, request(name, value))
    except OSError as error:
        if invalid is not None and error.errno == errno.EINVAL:
            raise LanError(f"interface {name}: {invalid}") from None
        raise failure(name, error) from None

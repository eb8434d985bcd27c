"""The program on its interface: attached, taken off again, and found when an earlier run left it.

The filter's handle says what had to be changed besides, so that whoever takes it off can undo that.
Nobody else's filter or qdisc is touched.
"""

from __future__ import annotations

import socket
from pathlib import Path

from nodes.kernel import filters
from nodes.kernel.library import KernelPlaneError, Library

PROGRAM = "blindrelay"
PRIORITY = 0xB11D

_OURS = 1
_FORWARDING_CHANGED = 2
_QDISC_MADE = 4
_IPV4 = 8
_HANDLES = range(_OURS, 2 * _IPV4, 2)


class Attachment:
    """The program at one interface's ingress, and what it needs there."""

    def __init__(self, library: Library, interface: int) -> None:
        """Claims the interface, and clears away what an earlier run left on it.

        Raises KernelPlaneError when another running relay has it.
        """
        self._library = library
        self._interface = interface
        self._handle = 0
        self._claim = _claim(interface)
        try:
            self._clear()
        except BaseException:
            self._claim.close()
            raise

    def attach(self, program: int, version: int) -> None:
        """Attaches the program, which looks ways up for one IP version; raises OSError."""
        handle = _OURS if version == 6 else _OURS | _IPV4
        if self._library.create_hook(self._interface):
            handle |= _QDISC_MADE
        if _forwarding(handle).read_text(encoding="ascii").strip() == "0":
            handle |= _FORWARDING_CHANGED
        try:
            self._library.attach(self._interface, program, handle, PRIORITY)
        except OSError:
            self._undo(handle & _QDISC_MADE)
            raise
        self._handle = handle
        # bpf_fib_lookup answers only for an interface that may forward; ours asks for the loopback,
        # from which no packet comes that could be forwarded by this
        if handle & _FORWARDING_CHANGED:
            _forwarding(handle).write_text("1", encoding="ascii")

    def close(self) -> None:
        """Takes the program off, undoes what had been changed, gives the interface up; once suffices."""
        with self._claim:
            # an interface that is gone took the filter along
            if self._handle and _name(self._interface) is not None:
                self._remove(self._handle)
            elif self._handle:
                self._undo(self._handle & ~_QDISC_MADE)
            self._handle = 0

    def _clear(self) -> None:
        """Removes programs of ours that stand on the interface: nobody who is alive has them."""
        for handle in _HANDLES:
            if self._library.attached(self._interface, handle, PRIORITY) == PROGRAM:
                self._remove(handle)

    def _remove(self, handle: int) -> None:
        self._library.detach(self._interface, handle, PRIORITY)
        self._undo(handle)

    def _undo(self, handle: int) -> None:
        """Undoes what a handle says had been changed; the qdisc stays while others' filters are on it."""
        if handle & _FORWARDING_CHANGED:
            _forwarding(handle).write_text("0", encoding="ascii")
        if handle & _QDISC_MADE and not filters.any_on(self._interface):
            self._library.destroy_hook(self._interface)


def _claim(interface: int) -> socket.socket:
    """Takes a name that one process of this network namespace can have; it goes with the process."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0blindrelay-kernel-plane-{interface}")
    except OSError:
        claim.close()
        name = _name(interface)
        raise KernelPlaneError(f"interface {name}: another relay forwards there") from None
    return claim


def _name(interface: int) -> str | None:
    try:
        return socket.if_indextoname(interface)
    except OSError:
        return None


def _forwarding(handle: int) -> Path:
    version = 4 if handle & _IPV4 else 6
    return Path(f"/proc/sys/net/ipv{version}/conf/lo/forwarding")

"""The eBPF program, loaded and attached: its maps, its counters, its lease.

Patent: Fig. 7-2 steps 709, 719.
"""

from __future__ import annotations

import errno
import mmap
import socket
from pathlib import Path

from nodes.clock import now
from nodes.esp_socket import interface_with
from nodes.kernel import layout
from nodes.kernel.attachment import PROGRAM, Attachment
from nodes.kernel.library import KernelPlaneError, Library
from protocol.types import IpAddress

COMPILED = Path(__file__).with_name("relay.bpf.o")

_NO_ROOM = (errno.E2BIG, errno.ENOMEM)


class KernelProgram:
    """What a plane needs of the kernel: flows and lists to put and remove, counters to read."""

    def __init__(self, address: IpAddress, port: int, tagged: bool) -> None:
        """Loads the program for the relay's address and attaches it to the interface that has it.

        ``tagged``: every datagram must have the hop tag of its sender.

        Raises KernelPlaneError, naming what is missing or refused.
        """
        self.version: int = address.version
        self._stopped = False
        self._library = Library()
        self._object = self._load(layout.settings(address, port, tagged))
        try:
            self._flows = self._library.map(self._object, b"flows")
            self._lists = self._library.map(self._object, b"lists")
            size = layout.SLOTS * layout.SLOT_WORDS * layout.WORD
            self._memory = mmap.mmap(self._library.map(self._object, b"slots"), size)
            self._slots = memoryview(self._memory).cast("Q")
            self._attachment = self._attach(address)
        except BaseException:
            self._library.close(self._object)
            raise

    def _load(self, settings: bytes) -> int:
        if not COMPILED.exists():
            raise KernelPlaneError(f"{COMPILED}: not there, scripts/setup compiles it with clang")
        try:
            opened = self._library.open(COMPILED)
        except OSError as error:
            raise KernelPlaneError(f"{COMPILED}: {_reason(error)}") from None
        try:
            self._library.set_constants(opened, settings)
            self._library.load(opened)
        except OSError as error:
            self._library.close(opened)
            raise KernelPlaneError(f"eBPF program: {_reason(error)}") from None
        return opened

    def _attach(self, address: IpAddress) -> Attachment:
        try:
            name = interface_with(address)
            attachment = Attachment(self._library, socket.if_nametoindex(name))
        except OSError as error:
            raise KernelPlaneError(f"interface with {address}: {error.strerror or error}") from None
        try:
            program = self._library.program(self._object, PROGRAM.encode())
            attachment.attach(program, self.version)
        except OSError as error:
            attachment.close()
            raise KernelPlaneError(f"interface {name}: {_reason(error)}") from None
        return attachment

    def close(self) -> None:
        """Takes the program off the interface and gives it up."""
        self._stop()
        try:
            self._attachment.close()
        finally:
            self._slots.release()
            self._memory.close()
            self._library.close(self._object)

    def detach(self) -> None:
        """Takes the program off the interface; its counters stay readable until it is closed."""
        self._stop()
        self._attachment.close()

    def put_flow(self, key: bytes, list_number: int, slot: int, hop_key: bytes) -> bool:
        """Has a flow's datagrams sent to a list, counted in a slot; False when there is no room."""
        return self._put(self._flows, key, layout.FLOW.pack(list_number, slot, hop_key))

    def remove_flow(self, key: bytes) -> None:
        """Leaves a flow's datagrams to the process from now on.

        OSError when the kernel does not remove it: then the program serves nothing any more.
        """
        try:
            self._library.remove(self._flows, key)
        except OSError:
            self._stop()
            raise

    def put_list(self, number: int, destinations: bytes) -> bool:
        """Adds a list of destinations; False when there is no room."""
        return self._put(self._lists, layout.LIST_NUMBER.pack(number), destinations)

    def remove_list(self, number: int) -> None:
        """Removes a list of destinations."""
        self._library.remove(self._lists, layout.LIST_NUMBER.pack(number))

    def passed(self, slot: int) -> tuple[int, int]:
        """Returns how many packets and octets were counted in a slot since the program was loaded."""
        first = slot * layout.SLOT_WORDS
        return self._slots[first], self._slots[first + 1]

    def passed_up(self) -> int:
        """Returns how often the program left something to the process: a batch counts once."""
        return self._slots[layout.PASSED_UP]

    def renew(self, lease: int) -> None:
        """Lets the program serve for so many nanoseconds from now on."""
        if not self._stopped:
            self._slots[layout.LEASE] = now() + lease

    def _stop(self) -> None:
        """Has everything go up to the process, for good."""
        self._stopped = True
        self._slots[layout.LEASE] = 0

    def _put(self, descriptor: int, key: bytes, value: bytes) -> bool:
        try:
            self._library.put(descriptor, key, value)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
            raise
        return True


def _reason(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "not permitted: needs root, or CAP_BPF and CAP_NET_ADMIN"
    return f"refused by this kernel: {error.strerror}"

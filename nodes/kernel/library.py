"""libbpf, called by ctypes: loads the program, changes its maps, puts it behind a tc hook.

Needs libbpf 1.0 or later. What libbpf would print is kept off standard error.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

LIBRARY = "libbpf.so.1"
INGRESS = 1
EGRESS = 2

_INFO_LENGTH = 128
_NAME_IN_INFO = slice(64, 80)


class KernelPlaneError(Exception):
    """Why this machine cannot forward in the kernel: names what is missing or refused."""


class Hook(ctypes.Structure):
    """``struct bpf_tc_hook``."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("interface", ctypes.c_int),
        ("attach_point", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class Options(ctypes.Structure):
    """``struct bpf_tc_opts``."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("program", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("program_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


class Library:
    """The functions of libbpf that we use; each that can fail raises OSError."""

    def __init__(self) -> None:
        """Loads the library; raises KernelPlaneError when it is not there."""
        try:
            self._c = ctypes.CDLL(LIBRARY, use_errno=True)
        except OSError:
            raise KernelPlaneError(f"{LIBRARY}: not found, install the package libbpf1") from None
        for name in ("open_file", "find_program_by_name", "find_map_by_name"):
            getattr(self._c, f"bpf_object__{name}").restype = ctypes.c_void_p
        self._c.libbpf_set_print.restype = ctypes.c_void_p
        self._c.libbpf_set_print(None)

    def open(self, path: Path) -> int:
        """Reads a compiled program; returns the object's address."""
        return self._pointer(self._c.bpf_object__open_file(os.fsencode(path), None))

    def set_constants(self, opened: int, value: bytes) -> None:
        """Sets the program's constants, before it is loaded."""
        constants = self._map(opened, b".rodata")
        size = ctypes.c_size_t(len(value))
        self._check(self._c.bpf_map__set_initial_value(constants, value, size))

    def load(self, opened: int) -> None:
        """Has the kernel verify the program and make its maps."""
        self._check(self._c.bpf_object__load(ctypes.c_void_p(opened)))

    def close(self, opened: int) -> None:
        """Gives program and maps up; what is attached stays."""
        self._c.bpf_object__close(ctypes.c_void_p(opened))

    def program(self, opened: int, name: bytes) -> int:
        """Returns a loaded program's descriptor, which belongs to the object."""
        found = self._pointer(
            self._c.bpf_object__find_program_by_name(ctypes.c_void_p(opened), name)
        )
        return self._check(self._c.bpf_program__fd(ctypes.c_void_p(found)))

    def map(self, opened: int, name: bytes) -> int:
        """Returns a map's descriptor, which belongs to the object."""
        return self._check(self._c.bpf_map__fd(self._map(opened, name)))

    def _map(self, opened: int, name: bytes) -> ctypes.c_void_p:
        found = self._c.bpf_object__find_map_by_name(ctypes.c_void_p(opened), name)
        return ctypes.c_void_p(self._pointer(found))

    # -- maps

    def put(self, descriptor: int, key: bytes, value: bytes) -> None:
        """Adds or changes an element."""
        self._check(self._c.bpf_map_update_elem(descriptor, key, value, ctypes.c_uint64(0)))

    def remove(self, descriptor: int, key: bytes) -> None:
        """Removes an element."""
        self._check(self._c.bpf_map_delete_elem(descriptor, key))

    # -- tc

    def create_hook(self, interface: int) -> bool:
        """Makes sure that an interface has a clsact qdisc; tells whether it is new."""
        hook = Hook(ctypes.sizeof(Hook), interface, INGRESS, 0)
        result = self._c.bpf_tc_hook_create(ctypes.byref(hook))
        if result == -errno.EEXIST:
            return False
        self._check(result)
        return True

    def destroy_hook(self, interface: int) -> None:
        """Removes the clsact qdisc with all that is on it."""
        hook = Hook(ctypes.sizeof(Hook), interface, INGRESS | EGRESS, 0)
        self._check(self._c.bpf_tc_hook_destroy(ctypes.byref(hook)))

    def attach(self, interface: int, program: int, handle: int, priority: int) -> None:
        """Puts a program at an interface's ingress."""
        hook, options = _at(interface, handle, priority, program)
        self._check(self._c.bpf_tc_attach(ctypes.byref(hook), ctypes.byref(options)))

    def detach(self, interface: int, handle: int, priority: int) -> None:
        """Takes a program off an interface's ingress."""
        hook, options = _at(interface, handle, priority)
        self._check(self._c.bpf_tc_detach(ctypes.byref(hook), ctypes.byref(options)))

    def attached(self, interface: int, handle: int, priority: int) -> str | None:
        """Returns the name of the program that stands there, None when there is none."""
        hook, options = _at(interface, handle, priority)
        result = self._c.bpf_tc_query(ctypes.byref(hook), ctypes.byref(options))
        if result in (-errno.ENOENT, -errno.EINVAL):
            return None
        self._check(result)
        program = self._check(self._c.bpf_prog_get_fd_by_id(options.program_id))
        try:
            info = ctypes.create_string_buffer(_INFO_LENGTH)
            length = ctypes.c_uint32(_INFO_LENGTH)
            self._check(self._c.bpf_obj_get_info_by_fd(program, info, ctypes.byref(length)))
        finally:
            os.close(program)
        return info.raw[_NAME_IN_INFO].rstrip(b"\0").decode("ascii")

    # -- answers

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    @staticmethod
    def _pointer(found: int | None) -> int:
        if found is None:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return found


def _at(interface: int, handle: int, priority: int, program: int = 0) -> tuple[Hook, Options]:
    """Returns what says to tc where a program stands, and which."""
    hook = Hook(ctypes.sizeof(Hook), interface, INGRESS, 0)
    return hook, Options(ctypes.sizeof(Options), program, 0, 0, handle, priority)

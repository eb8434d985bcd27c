"""Puts a thread into another network namespace, for as long as a block runs: what it opens stays there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """Puts this thread into a process's network namespace, and back."""
    theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _back_afterwards():
            _demand(ctypes.CDLL(None, use_errno=True).setns(theirs, CLONE_NEWNET), "setns")
            yield
    finally:
        os.close(theirs)


@contextmanager
def inside_new() -> Iterator[None]:
    """Puts this thread into a new network namespace, and back; OSError where there are none."""
    with _back_afterwards():
        _demand(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET), "unshare")
        yield


@contextmanager
def _back_afterwards() -> Iterator[None]:
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _demand(ctypes.CDLL(None, use_errno=True).setns(own, CLONE_NEWNET), "setns")
        finally:
            os.close(own)


def _demand(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), call)

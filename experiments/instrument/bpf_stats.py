"""What eBPF programs cost: the kernel's own run-time statistics, on while somebody asks for them."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

_CALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_ENABLE_STATS = 32
_RUN_TIME = 0
_ATTRIBUTE_OCTETS = 128


class RunTime(NamedTuple):
    """A program's total: time in ns, and how often it ran."""

    ns: int
    runs: int


def bpf(command: int, attribute: bytes) -> int:
    """Makes the system call bpf(2); returns what it returns, or raises OSError."""
    number = _CALL_NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(f"bpf: no system call number known for {platform.machine()}")
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attribute, max(len(attribute), _ATTRIBUTE_OCTETS))
    # The call takes a size beyond what a kernel knows only if the rest is zero: it is.
    found: int = library.syscall(
        ctypes.c_long(number), command, buffer, ctypes.c_uint(_ATTRIBUTE_OCTETS)
    )
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf command {command}: {os.strerror(error)}")
    return found


class BpfStats:
    """Keeps the statistics on while its ``with`` block runs; they end with this process, too."""

    def __enter__(self) -> BpfStats:
        self._descriptor = bpf(_ENABLE_STATS, _RUN_TIME.to_bytes(4, sys.byteorder))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    @staticmethod
    def run_time(descriptor: int) -> RunTime:
        """Returns the total of the program behind a descriptor of this process."""
        text = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
        values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "run_time_ns" not in values:
            raise ValueError(f"descriptor {descriptor}: expected an eBPF program")
        return RunTime(int(values["run_time_ns"]), int(values["run_cnt"]))

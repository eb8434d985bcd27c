"""What every process of ours does alike: exit codes, one-line errors, an orderly end, a look at itself."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

EXIT_GOOD = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_MACHINE = 3

_KIB = 1024


def complain(program: str, text: object) -> None:
    """Writes one line about what went wrong."""
    print(f"{program}: {text}", file=sys.stderr, flush=True)


def reason_of(error: OSError | asyncio.TimeoutError) -> str:
    """Returns why a call failed, in lower case and without the number."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno).lower()
    return str(error) or "timed out"


def on_end(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    """Has ``end`` called when the process is asked to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)


def memory() -> dict[str, int]:
    """Returns the resident memory now and at its peak, in octets.

    The peak is the kernel's for this program: getrusage's would begin with that of the starter.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {
        "resident_octets": int(values["VmRSS"].split()[0]) * _KIB,
        "peak_resident_octets": int(values["VmHWM"].split()[0]) * _KIB,
    }


def cipher_calls() -> dict[str, int | bool]:
    """Returns how often this process called the cipher, and whether it holds one at all."""
    cipher = sys.modules.get("protocol.cipher")
    if cipher is None:
        loaded = any(name.split(".")[0] == "cryptography" for name in sys.modules)
        return {"cipher_loaded": loaded, "frames_sealed": 0, "frames_opened": 0}
    calls = cipher.CallCounter
    return {"cipher_loaded": True, "frames_sealed": calls.sealed, "frames_opened": calls.opened}

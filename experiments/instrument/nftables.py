"""libnftables, called by ctypes: what the program nft would do, without a process for each time."""

from __future__ import annotations

import ctypes
import json
import weakref
from typing import Any

from experiments.isolation import MachineError
from topologies.delay_line import network_of
from topologies.emulate import EmulationError

LIBRARY, PACKAGE = "libnftables.so.1", "libnftables1"
_JSON = 1 << 4


class Nftables:
    """The tables of one network namespace; they go with it."""

    def __init__(self, process: int, node: str) -> None:
        """Opens what a process's namespace has; MachineError without the library."""
        self._node = node
        self._c = load()
        with network_of(process):
            self._context = ctypes.c_void_p(self._c.nft_ctx_new(0))
        weakref.finalize(self, self._c.nft_ctx_free, self._context)
        self._c.nft_ctx_buffer_output(self._context)
        self._c.nft_ctx_buffer_error(self._context)
        self._c.nft_ctx_output_set_flags(self._context, _JSON)

    def do(self, command: str) -> str:
        """Carries out a command and returns what is shown, JSON; EmulationError when it is refused."""
        refused = self._c.nft_run_cmd_from_buffer(self._context, command.encode())
        # both have to be read, or they stay for the next time
        shown = self._c.nft_ctx_get_output_buffer(self._context)
        words = self._c.nft_ctx_get_error_buffer(self._context)
        if refused:
            raise EmulationError(f"node {self._node}: nftables: {' '.join(words.decode().split())}")
        return str(shown.decode())

    def counter(self, table: str, name: str) -> tuple[int, int]:
        """Returns the packets and octets of a named counter; EmulationError when there is none."""
        shown: dict[str, list[dict[str, Any]]] = json.loads(self.do(f"list counter {table} {name}"))
        for item in shown["nftables"]:
            if "counter" in item:
                return item["counter"]["packets"], item["counter"]["bytes"]
        raise EmulationError(f"node {self._node}: nftables: expected the counter {name}")


def load() -> ctypes.CDLL:
    """Returns the library; MachineError when it is not there."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise MachineError(f"{LIBRARY}: not found, install the package {PACKAGE}") from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    return library

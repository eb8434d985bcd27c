"""Takes off what killed relays left on this machine's interfaces: ``python -m nodes.kernel``.

A relay that runs keeps its program.
"""

from __future__ import annotations

import socket
import sys

from nodes.kernel.attachment import Attachment
from nodes.kernel.library import KernelPlaneError, Library
from nodes.process import EXIT_GOOD, EXIT_MACHINE, complain


def main() -> int:
    """Returns the exit code."""
    try:
        library = Library()
    except KernelPlaneError:
        return EXIT_GOOD  # without it there never was a program
    for interface, name in socket.if_nameindex():
        try:
            Attachment(library, interface).close()
        except KernelPlaneError:
            continue  # a relay that runs has it
        except OSError as error:
            complain("blindrelay kernel", f"interface {name}: {error.strerror}")
            return EXIT_MACHINE
    return EXIT_GOOD


if __name__ == "__main__":
    sys.exit(main())

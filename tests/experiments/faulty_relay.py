"""A VPN server with a fault: ``python -m tests.experiments.faulty_relay altered --config b.toml``.

``altered``: it changes one octet of one datagram that carries a probe frame. ``onward``: what comes
from a server it sends to other servers too, as the patent's text has it.
"""

from __future__ import annotations

import functools
import sys

from nodes import relay
from tests.experiments.altered_server import alter_one_octet

FAULTS = ("altered", "onward")


def main() -> int:
    """Runs the VPN server; returns its exit code."""
    fault = sys.argv.pop(1)
    if fault == "altered":
        alter_one_octet()
    else:
        relay.Relay = functools.partial(relay.Relay, split_horizon=False)  # type: ignore[misc]
    return relay.main()


if __name__ == "__main__":
    sys.exit(main())

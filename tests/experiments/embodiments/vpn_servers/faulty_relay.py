"""A VPN server with a fault: ``altered`` or ``onward``, and then ``--config b.toml``.

``altered``: it changes one octet of one datagram that carries a probe frame. ``onward``: what comes
from a server it sends to other servers too, as the patent's text has it.
"""

from __future__ import annotations

import sys

from nodes import relay
from protocol.relay import Relay, Strip
from tests.experiments.altered_server import alter_one_octet

FAULTS = ("altered", "onward")


def send_on() -> None:
    """Has this process forward without split horizon."""
    whole = Relay.__init__

    def made(self: Relay, strip: Strip, mac_lifetime: int, hold_down: int) -> None:
        whole(self, strip, mac_lifetime, hold_down, split_horizon=False)

    Relay.__init__ = made  # type: ignore[method-assign,assignment]


def main() -> int:
    """Runs the VPN server; returns its exit code."""
    fault = sys.argv.pop(1)
    if fault == "altered":
        alter_one_octet()
    else:
        send_on()
    return relay.main()


if __name__ == "__main__":
    sys.exit(main())

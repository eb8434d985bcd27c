"""The measured server: ``python -m experiments.planes.server --config kernel-anew.toml``.

It is `nodes.server`. With a word of FURTHER in its name its relay knows somebody more, at an address that
nobody has, to whom a copy of every frame for all goes: another VPN server, whose copy gets a tag made anew
for that hop, or a client, whose copy keeps the sender's. All that is done for it the relay and its planes do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from nodes import server
from nodes.configuration import ServerConfiguration
from nodes.forwarding import Forwarding, RelayForwarding, forwarding_of
from nodes.sections import DEFAULT_DATA_PORT
from protocol.hop_tag import KEY_LENGTH
from protocol.relay import Member, Relay
from protocol.relay.tables import NextHop
from protocol.types import Address, ClientId, IpAddress, Secret, VpnId

FURTHER = ANEW, KEPT = "anew", "kept"
_NOBODY = b"\xde\xad"
"""The end of the address: the rig's unknown neighbour, whose MAC address the server knows."""
_KEY = Secret(bytes(range(KEY_LENGTH)))
_FIRST_CLIENT = 60_000
"""Beyond the numbers of the rig's clients."""


def unknown_to(address: IpAddress) -> Address:
    """Returns the address of whom a server at ``address`` knows besides."""
    host = ip_address(address.packed[: -len(_NOBODY)] + _NOBODY)
    return Address(str(host), DEFAULT_DATA_PORT)


def add_another(relay: Relay, address: Address, vpn_ids: Sequence[VpnId], anew: bool) -> None:
    """Has a relay know another VPN server at ``address``, or, not ``anew``, a client in each group."""
    if anew:
        relay.install_next_hop(NextHop("another", address, _KEY, (_KEY,)), frozenset(vpn_ids))
        return
    for number, vpn_id in enumerate(vpn_ids, _FIRST_CLIENT):
        relay.add_member(Member(ClientId(number), vpn_id, address, hop_keys=(_KEY,)))


def _know_another(anew: bool) -> None:
    """Has the server that is about to be made know somebody more."""

    def knowing(configuration: ServerConfiguration) -> Forwarding:
        forwarding = forwarding_of(configuration)
        assert isinstance(forwarding, RelayForwarding)
        address = unknown_to(configuration.server.address)
        add_another(forwarding._relay, address, [*map(VpnId, configuration.groups)], anew)
        return forwarding

    server.forwarding_of = knowing  # type: ignore[attr-defined]


def main(arguments: list[str]) -> int:
    """Runs the server; returns its exit code."""
    words = Path(arguments[arguments.index("--config") + 1]).stem.split("-")
    if not set(words).isdisjoint(FURTHER):
        _know_another(ANEW in words)
    return server.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Which peers there are, and what is missing of those that are asked for."""

from __future__ import annotations

from experiments.isolation import MachineError
from experiments.peers.adapter import Peer, missing
from experiments.peers.fastd import Fastd
from experiments.peers.n2n import N2n
from experiments.peers.openvpn import OpenVpn
from experiments.peers.softether import SoftEther
from experiments.peers.tinc import Tinc

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (OpenVpn, Tinc, Fastd, N2n, SoftEther)}
ALL = "all"
"""Asks for all that are installed."""


class PeersError(ValueError):
    """Says which name is no peer's."""


def parse(text: str) -> tuple[str, ...]:
    """Reads ``openvpn,tinc`` or ``all``; PeersError names what is no peer.

    A peer that is named has to be there: MachineError names its program and package.
    """
    if text == ALL:
        return tuple(name for name, peer in PEERS.items() if not missing(peer.programs))
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if unknown := [name for name in names if name not in PEERS]:
        known = ", ".join(PEERS)
        raise PeersError(f"PEERS={text}: {', '.join(unknown)}: expected {ALL} or some of {known}")
    for name in names:
        for program, package in missing(PEERS[name].programs).items():
            raise MachineError(f"{name}: {program}: not found, install the package {package}")
    return names


def absent() -> dict[str, str]:
    """Returns the peers that are not installed, with what is missing in words."""
    return {
        name: f"missing: {', '.join(sorted(set(gone.values())))}"
        for name, peer in PEERS.items()
        if (gone := missing(peer.programs))
    }

"""n2n: the supernode passes sealed packets on, and does not open them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from experiments.peers.adapter import PORT, TAP, Peer, Site
from topologies.plan import Node

_COMMUNITY = "blindrelay"
_KEY = "one key for all, given on the command line"


class N2n(Peer):
    """Debian has version 1.3.1: one key for the community, given by hand, Twofish.

    Its supernode knows edges by their TAP device's MAC alone. Each edge is therefore given the MAC
    of its LAN's one terminal.
    """

    name = "n2n"
    title = "n2n 1.3.1 (via the supernode)"
    programs: ClassVar[Mapping[str, str]] = {"supernode": "n2n", "edge": "n2n"}
    cipher = "Twofish-CBC, nothing authenticated"
    remark = (
        "does not decrypt in the middle either; IPv4 only; unicast to one station an edge, whose MAC "
        "the edge is given; one key for ever"
    )

    ready_word = "Ready"

    def files(self, site: Site) -> dict[str, str]:
        """Returns none: all is on the command line."""
        return {}

    def hub_command(self, site: Site) -> list[str]:
        """Returns the supernode's command line."""
        return ["supernode", "-l", str(PORT)]

    def client_command(self, site: Site, client: Node) -> list[str]:
        """Returns an edge's command line. Its address is never used: frames come from the LAN."""
        (station, *_) = site.plan.terminals_of(client.name)
        number = site.clients.index(client) + 1
        options = {
            "-d": TAP,
            "-a": f"192.0.2.{number}",
            "-s": "255.255.255.0",
            "-c": _COMMUNITY,
            "-k": _KEY,
            "-m": str(site.plan.lan_interface(station.name).mac),
            "-M": str(site.mtu),
            "-l": f"{site.address(site.hub)}:{PORT}",
            "-p": str(PORT),
        }
        return ["edge", "-r", *(word for pair in options.items() for word in pair)]

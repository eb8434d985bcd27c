"""Counts a node's datagrams of IKE and of ESP in UDP, so that what is left is not the control channel's.

charon's socket is one of the kernel's UDP sockets; an invariant that says "no datagram at the
server" speaks of frames.
"""

from __future__ import annotations

import json

from topologies.emulate import Network

READ_SECONDS = 30.0
_TABLE = "ike_datagrams"
_RULES = f"""
table inet {_TABLE} {{
    counter InDatagrams {{}}
    counter OutDatagrams {{}}
    chain incoming {{
        type filter hook input priority 0
        udp dport {{500, 4500}} counter name InDatagrams
    }}
    chain outgoing {{
        type filter hook output priority 0
        udp sport {{500, 4500}} counter name OutDatagrams
    }}
}}
"""


def start(network: Network, node: str) -> None:
    """Begins to count at a node; subprocess.CalledProcessError when the kernel refuses."""
    network.run(node, ["nft", _RULES], timeout=READ_SECONDS).check_returncode()


def read(network: Network, node: str) -> dict[str, int]:
    """Returns datagrams in and out so far, by the names of the kernel's UDP counters."""
    shown = network.run(node, ["nft", "-j", "list", "counters"], timeout=READ_SECONDS)
    shown.check_returncode()
    entries = (entry.get("counter") for entry in json.loads(shown.stdout)["nftables"])
    found = [one for one in entries if one is not None and one["table"] == _TABLE]
    return {one["name"]: one["packets"] for one in found}


def without(network: Network, node: str, udp: dict[str, int]) -> dict[str, int]:
    """Returns UDP counters without IKE's."""
    ike = read(network, node)
    return {name: value - ike.get(name, 0) for name, value in udp.items()}

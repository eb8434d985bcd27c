"""The keys of hops between VPN servers: one for each direction of each pair, as long as an epoch.

Patent: Fig. 19; table 507.
"""

from __future__ import annotations

from protocol import hop_tag
from protocol.types import RandomOctets, Secret


class HopKeys:
    """Makes the key of a hop when it is first asked for."""

    def __init__(self, random_octets: RandomOctets) -> None:
        self._random_octets = random_octets
        self._keys: dict[tuple[str, str], Secret] = {}

    def of(self, sender: str, receiver: str) -> Secret:
        """Returns what ``sender`` tags its datagrams to ``receiver`` with."""
        key = self._keys.get((sender, receiver))
        if key is None:
            key = self._keys[sender, receiver] = Secret(self._random_octets(hop_tag.KEY_LENGTH))
        return key

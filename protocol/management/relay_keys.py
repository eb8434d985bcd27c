"""What each client shares with its relay, and with nobody else: the keys of hop tags and of bindings.

Patent: table 507.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from protocol import binding_tag, hop_tag
from protocol.management.connections import Connection
from protocol.management.tables import GroupConfiguration
from protocol.relay.tables import Member
from protocol.types import Address, RandomOctets, Secret, VpnId


class RelayKeys:
    """Makes these keys for the clients that are to have them."""

    def __init__(
        self,
        groups: Mapping[VpnId, GroupConfiguration],
        random_octets: RandomOctets,
        hop_tags: bool,
        bindings: bool,
    ) -> None:
        self.hop_tags = hop_tags
        """Whether datagrams carry hop tags."""
        self._groups = groups
        self._random_octets = random_octets
        self._bindings = bindings

    def binds(self, vpn_id: VpnId) -> bool:
        """Tells whether a group's clients show where they are: they need not without a relay."""
        return self._bindings and self._groups[vpn_id].delivery == "relay"

    def renew(self, member: Member) -> Member:
        """Returns a client with fresh keys for its hop to its relay, as far as it is to have them."""
        if self.hop_tags:
            hop_keys = (Secret(self._random_octets(hop_tag.KEY_LENGTH)),)
            member = replace(member, hop_keys=hop_keys)
        if self.binds(member.vpn_id):
            binding_key = Secret(self._random_octets(binding_tag.KEY_LENGTH))
            member = replace(member, binding_key=binding_key)
        return member


def former_hop_keys(
    known: Connection, earlier: Connection | None, address: Address
) -> tuple[Secret, ...]:
    """Returns what a client that registers again may tag with until it knows its new key."""
    if earlier is None or earlier.member is None or earlier.server != known.server:
        return ()
    return earlier.member.hop_keys[:1] if earlier.member.address == address else ()

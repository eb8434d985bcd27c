"""Whole datagrams: the vectors that docs/wire-format.md quotes, sealed and opened to the octet."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from protocol.client.tables import SaManagementTable, VpnInformation
from protocol.client.transfer import Transfer
from protocol.security_association import SecurityAssociation
from protocol.types import Address, ClientId, Secret, VpnId
from protocol.wire.inner_packet import lan_mtu
from protocol.wire.messages import GroupSecurityAssociation
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("datagram")
every_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())


def transfer_of(vector: dict[str, Any], sender_id: int) -> tuple[Transfer, VpnInformation]:
    parameters = GroupSecurityAssociation(
        vector["spi"],
        vector["algorithm"],
        Secret(bytes.fromhex(vector["key"])),
        Secret(bytes.fromhex(vector["salt"])),
        sender_id,
    )
    table = SaManagementTable()
    table.install(SecurityAssociation(parameters, first_counter=vector["counter"]))
    source, destination = (
        ip_address(vector["client_address"]),
        ip_address(vector["multicast_address"]),
    )
    relay, mtu = Address("3ffe::1000", 5000), lan_mtu(source.version, destination.version)
    information = VpnInformation(ClientId(1), VpnId(1001), source, destination, relay, mtu)
    return Transfer(table), information


@every_vector
def test_the_frame_is_sealed_to_the_very_datagram(vector: dict[str, Any]) -> None:
    transfer, information = transfer_of(vector, vector["sender_id"])
    assert transfer.seal(bytes.fromhex(vector["frame"]), information, 0) == octets_of(vector)


@every_vector
@pytest.mark.parametrize("strip", [0, 16], ids=["whole", "stripped"])
def test_the_datagram_opens_to_the_very_frame(vector: dict[str, Any], strip: int) -> None:
    transfer, information = transfer_of(vector, vector["sender_id"] + 1)
    opened = transfer.open(octets_of(vector)[strip:], information, 0)
    assert opened == bytes.fromhex(vector["frame"])


@every_vector
def test_a_datagram_with_any_changed_octet_is_not_delivered(vector: dict[str, Any]) -> None:
    datagram = octets_of(vector)
    delivered = []
    for place in range(len(datagram)):
        transfer, information = transfer_of(vector, vector["sender_id"] + 1)
        changed = bytearray(datagram)
        changed[place] ^= 0x80
        if isinstance(transfer.open(bytes(changed), information, 0), bytes):
            delivered.append(place)
    first_inner = 16
    unprotected = {0, *range(1, 4), 7} if ":" in vector["client_address"] else set()
    unprotected |= set(range(8, 24)) if ":" in vector["client_address"] else set()
    assert {place - first_inner for place in delivered} <= unprotected

"""Datagrams and relays for the relay's tests: no key is needed for either."""

from __future__ import annotations

from ipaddress import ip_address

from protocol.relay import Forward, Member, Relay, RelayedGroup, Strip
from protocol.relay.verdicts import Verdict
from protocol.types import SECOND, Address, ClientId, VpnId
from protocol.wire.esp import EspHeader
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.vpn_header import VpnHeader
from tests.world import mac

GROUPS = {
    VpnId(1001): ("ff1e::1", 4097),
    VpnId(1002): ("ff1e::2", 4098),
    VpnId(1003): ("239.1.1.3", 4099),
}
PLACES = {
    "a": (ClientId(1), VpnId(1001)),
    "b": (ClientId(2), VpnId(1001)),
    "c": (ClientId(3), VpnId(1001)),
    "d": (ClientId(4), VpnId(1002)),
    "e": (ClientId(5), VpnId(1002)),
    "v": (ClientId(6), VpnId(1003)),
    "w": (ClientId(7), VpnId(1003)),
}


def address(name: str) -> Address:
    """Returns the data address of client ``name``."""
    return Address(f"3ffe::{PLACES[name][0]:x}", 5000)


def member(name: str) -> Member:
    """Returns client ``name`` as a relay knows it."""
    client_id, vpn_id = PLACES[name]
    return Member(client_id, vpn_id, address(name))


def relay_with(*names: str, strip: Strip = Strip.KEEP, mac_lifetime: int = 3600 * SECOND) -> Relay:
    """Returns a relay that knows every group, and these clients."""
    relay = Relay(strip, mac_lifetime)
    for vpn_id, (group, spi) in GROUPS.items():
        relay.install_group(RelayedGroup(vpn_id, ip_address(group), frozenset([spi])))
    for name in names:
        relay.add_member(member(name))
    return relay


def station(name: str) -> bytes:
    """Returns a MAC address: two hexadecimal digits, or ``*`` (broadcast), ``m`` (group), ``0``."""
    special = {"*": b"\xff" * 6, "m": bytes.fromhex("333300000001"), "0": bytes(6)}
    return special[name] if name in special else mac(name)


def datagram(
    vpn_id: int,
    source: str | None = "aa",
    destination: str = "*",
    spi: int | None = None,
    length: int = 64,
    flags: int = 0,
) -> bytes:
    """Builds a datagram's payload for a group; without a source the header has no MAC addresses."""
    group, group_spi = GROUPS[VpnId(vpn_id)]
    macs = None if source is None else (station(source), station(destination))
    sealed = EspHeader(group_spi if spi is None else spi, 1, 1, 1).pack() + bytes(length)
    inner = "3ffe::99" if ":" in group else "198.51.100.99"
    packet = InnerPacket(ip_address(inner), ip_address(group), sealed)
    return VpnHeader(macs, flags).pack() + packet.pack()


def receivers(verdict: Verdict) -> set[str] | str:
    """Returns the names of the clients that a datagram goes to, or the reason why to none."""
    if not isinstance(verdict, Forward):
        return verdict.reason.value
    hosts = [destination.host for destination, *_ in verdict.destinations]
    assert len(hosts) == len(set(hosts))
    return {name for name in PLACES if address(name).host in hosts}


def pass_on(relay: Relay, name: str, payload: bytes, now: int = 0) -> set[str] | str:
    """Gives the relay a datagram of client ``name`` and returns what becomes of it."""
    return receivers(relay.receive_datagram(payload, address(name), now))

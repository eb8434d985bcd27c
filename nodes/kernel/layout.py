"""The octets of the eBPF program's maps; ``relay.bpf.c`` describes the same ones.

Values stand in network order where they are compared with octets of a datagram, else in the machine's.

Patent: Fig. 7-2 steps 710, 711.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address

from protocol.relay import Destination
from protocol.relay.flow_table import FlowKey
from protocol.types import IpAddress
from protocol.wire import vpn_header

MAXIMUM_DESTINATIONS = 64
SLOTS = 65536
"""One for the state, and one for each flow."""
SLOT_WORDS = 2
WORD = 8
LEASE, PASSED_UP = 0, 1
"""Words of the state: until when the program serves (ns), and how often it passed something up."""
KEY_LENGTH = 88
LIST_LENGTH = 8 + 40 * MAXIMUM_DESTINATIONS
FLOW = struct.Struct("=II16s")
LIST_NUMBER = struct.Struct("=I")

_ADDRESS_LENGTH = 16
_KEPT_LENGTH = 64
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_SETTINGS = struct.Struct(f"={_ADDRESS_LENGTH}s2sHI")
_DESTINATION = struct.Struct(f"!16s{_ADDRESS_LENGTH}sHB5x")
"""Hop key, address, port, whether the copy is tagged with the key."""
_KEY = struct.Struct(f"!{_KEPT_LENGTH}s{_ADDRESS_LENGTH}sH6x")
# fragment field | protocol | source, destination and SPI, as `protocol.relay.flow` cuts them out
_IPV4_TAIL = struct.Struct("!2sc12s")
_KEPT = {4: struct.Struct("!18s4x2sxc2x12s"), 6: struct.Struct("!20s2x38s")}


def settings(address: IpAddress, port: int, tagged: bool = False) -> bytes:
    """Returns what the program is told before it is loaded: address, port, whether tags are required."""
    family = _FAMILIES[address.version]
    return _SETTINGS.pack(address.packed, port.to_bytes(2, "big"), family, tagged)


def flow_key(key: FlowKey, version: int) -> bytes | None:
    """Returns the key of a flow; None when the program leaves such datagrams to the process.

    It serves those with MACs in the VPN header and with ``version`` both inside and outside.
    """
    source, head, tail = key
    address = packed_address(source[0], version)
    if address is None or head[0] != vpn_header.MAC_BLOCK_FOLLOWS:
        return None
    if head[vpn_header.LENGTH] >> 4 != version:
        return None
    parts = (tail,) if version == 6 else _IPV4_TAIL.unpack(tail)
    return _KEY.pack(_KEPT[version].pack(head, *parts), address, source[1])


def destination_list(destinations: Sequence[Destination], version: int) -> bytes | None:
    """Returns a list of destinations; None when the program cannot send to one of them as asked."""
    if len(destinations) > MAXIMUM_DESTINATIONS:
        return None
    rows = [LIST_NUMBER.pack(len(destinations)) + bytes(4)]
    # a tag is made over the one before: those that get the sender's go first
    for to, strip, hop_key in sorted(destinations, key=lambda one: one.hop_key is not None):
        address = packed_address(to.host, version)
        if address is None or strip:
            return None
        key = b"" if hop_key is None else hop_key.reveal()
        rows.append(_DESTINATION.pack(key, address, to.port, hop_key is not None))
    return b"".join(rows).ljust(LIST_LENGTH, b"\0")


def packed_address(host: str, version: int) -> bytes | None:
    """Returns an address's octets; None for one of the other IP version or with a zone."""
    if (":" in host) != (version == 6) or "%" in host:
        return None
    return ip_address(host).packed

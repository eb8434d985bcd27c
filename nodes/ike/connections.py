"""What a charon is told of its side: addresses, credentials, and the one connection that we set up by it.

IKEv2 authenticates the user by EAP-MSCHAPv2, IKEv1 by XAUTH inside main mode ("hybrid": the server by
its certificate, which must have an RSA key then). Either is charon's own; what differs is settings.

Patent: background (XAUTH); Fig. 7-1 step 701.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Literal

from nodes.ike.identity import identity_of
from protocol.types import IpAddress, Secret

IkeVersion = Literal[1, 2]
CONNECTION = "blindrelay"
POOL = "blindrelay-clients"
DPD_DELAY = "1s"
"""How soon a peer that says nothing is asked whether it is there."""
_IKE_PROPOSALS: dict[IkeVersion, str] = {
    1: "aes128-sha256-ecp256",  # IKEv1 itself has no AES-GCM
    2: "aes128gcm16-prfsha256-ecp256",
}
_ESP_PROPOSAL = "aes128gcm16-ecp256"


@dataclass(frozen=True)
class ServerSide:
    """What a server's charon is told; certificate and key in PEM."""

    address: IpAddress
    inner: IPv6Address
    pool: IPv6Network
    certificate: str
    private_key: Secret
    version: IkeVersion = 2


@dataclass(frozen=True)
class ClientSide:
    """What a client's charon is told; the authority's certificate in PEM."""

    address: IpAddress
    server: IpAddress
    server_name: str
    inner: IPv6Address
    authority: str
    user: str
    password: Secret
    version: IkeVersion = 2


def server_connection(side: ServerSide) -> dict[str, Any]:
    """Returns the connection that a server's charon offers to all its users."""
    local: dict[str, Any] = {"auth": "pubkey", "certs": [side.certificate], "id": "%any"}
    remote = {"auth": "eap-mschapv2", "eap_id": "%any"}
    if side.version == 1:
        local["id"] = str(side.address)  # who answers in IKEv1 says by itself who it is
        remote = {"auth": "xauth-eap"}
    return {
        **_common(side.version, side.address),
        "unique": "replace",
        "send_cert": "always",
        "pools": [POOL],
        "local": local,
        "remote": remote,
        "children": _child("local_ts", side.inner),
    }


def client_connection(side: ClientSide) -> dict[str, Any]:
    """Returns the connection that a client's charon sets up."""
    identity = identity_of(side.user)
    local = {"auth": "eap-mschapv2", "id": identity, "eap_id": identity}
    if side.version == 1:
        local = {"auth": "xauth-generic", "id": identity, "xauth_id": identity}
    return {
        **_common(side.version, side.address),
        "remote_addrs": [str(side.server)],
        "vips": ["::"],
        "local": local,
        "remote": {"auth": "pubkey", "id": side.server_name, "cacerts": [side.authority]},
        "children": _child("remote_ts", side.inner),
    }


def _common(version: IkeVersion, address: IpAddress) -> dict[str, Any]:
    return {
        "version": str(version),
        "local_addrs": [str(address)],
        "proposals": [_IKE_PROPOSALS[version]],
        "encap": "yes",
        "mobike": "no",
        "dpd_delay": DPD_DELAY,
    }


def _child(selector: str, inner: IPv6Address) -> dict[str, Any]:
    child = {
        selector: [f"{inner}/{inner.max_prefixlen}"],
        "esp_proposals": [_ESP_PROPOSAL],
        "dpd_action": "clear",
    }
    return {CONNECTION: child}

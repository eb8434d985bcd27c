"""Embodiments 4 and 5: a representative, and VPN servers at sites of their own with clients near.

Each site is a router with one VPN server and its share of the clients; the sites hang on the
representative's router by links with a delay.
"""

from __future__ import annotations

from dataclasses import replace

from topologies.branches import (
    LAN_MTU,
    MAXIMUM_SIMULATED_CLIENTS,
    assemble,
    check_family,
    check_range,
    command,
    members_of,
    outside_link,
    trunk,
)
from topologies.plan import Link, Node, Plan, PlanError, Role

MAXIMUM_SERVERS = 8
SITE_DELAY_NS = 5_000_000
"""One way between the first site and the middle; the second is twice as far, and so on."""


def multiserver(
    clients: int = 4,
    terminals: int = 2,
    family: int = 6,
    second_group: int = 2,
    lan_mtu: int | None = None,
    servers: int = 3,
) -> Plan:
    """Plans the representative `server` and VPN servers `a`, `b`, … at their sites.

    Clients are spread over the sites in turn; groups and terminals are those of `single`. From a
    client to the server of its own site there is no delay; to that of site n it is 5 ms times the
    sum of both sites' numbers, so that no two servers are equally far for any client. The servers'
    networks are their own, 3ffe:0:0:a::/64 and so on: the 3ffe::1000:a of the patent would lie in
    the representative's. PlanError for a value out of range.

    Patent: Fig. 15 parts 1501-1503.
    """
    return _plan("multiserver", 4, clients, terminals, family, second_group, lan_mtu, servers)


def cascade(
    clients: int = 4,
    terminals: int = 2,
    family: int = 6,
    second_group: int = 2,
    lan_mtu: int | None = None,
    servers: int = 3,
) -> Plan:
    """Plans the network of `multiserver` for delivery through the server that holds the client.

    Patent: Fig. 17 parts 1501-1503.
    """
    return _plan("cascade", 5, clients, terminals, family, second_group, lan_mtu, servers)


def swap_delays(plan: Plan, one: str, other: str) -> Plan:
    """Returns the Plan in which two VPN servers have changed places, each with its addresses.

    Every client's delay to `one` is then what it was to `other`, and the reverse. PlanError unless
    both are VPN servers of the Plan.
    """
    for name in (one, other):
        if plan.node(name).role is not Role.RELAY:
            raise PlanError(f"node {name}: role: expected relay, got {plan.node(name).role.value}")
    (first,), (second,) = plan.links_of(one), plan.links_of(other)
    moved = {first: _at_place_of(first, one, second, other)}
    moved[second] = _at_place_of(second, other, first, one)
    return replace(plan, links=tuple(moved.get(link, link) for link in plan.links))


def relay_link(relay: str, index: int, router: str, family: int) -> Link:
    """Plans the link between VPN server number `index` (from 0) and its router."""
    network = f"3ffe:0:0:{0xA + index:x}::"
    near, far = f"{network}1000/64", f"{network}1/64"
    if family == 4:
        network = f"198.18.{200 + index}"
        near, far = f"{network}.100/24", f"{network}.1/24"
    return outside_link(relay, f"{relay}-out", router, near, far)


def router_link(one: str, other: str, number: int, family: int) -> Link:
    """Plans link `number` (1 to 254) between two routers, in a network of its own."""
    near, far = f"3ffe:0:1:{number:x}::1/64", f"3ffe:0:1:{number:x}::2/64"
    if family == 4:
        near, far = f"198.19.{number}.1/24", f"198.19.{number}.2/24"
    return outside_link(one, f"{one}-{other}", other, near, far)


def _plan(
    name: str,
    embodiment: int,
    clients: int,
    terminals: int,
    family: int,
    second_group: int,
    lan_mtu: int | None,
    servers: int,
) -> Plan:
    check_family(name, family)
    mtu = LAN_MTU[family] if lan_mtu is None else lan_mtu
    check_range(name, "clients", clients, 2, MAXIMUM_SIMULATED_CLIENTS)
    check_range(name, "servers", servers, 1, MAXIMUM_SERVERS)
    members = members_of(name, clients, terminals, second_group, mtu)
    nodes, links = trunk(family)
    sites = []
    for index in range(servers):
        relay = chr(ord("a") + index)
        site = f"site-{relay}"
        nodes += [
            Node(site, Role.ROUTER),
            Node(relay, Role.RELAY, command=command("nodes.relay", relay)),
        ]
        way = router_link(site, "internet", index + 1, family)
        links.append(replace(way, delay_ns=SITE_DELAY_NS * (index + 1)))
        links.append(relay_link(relay, index, site, family))
        sites.append(site)
    return assemble(name, embodiment, (nodes, links), members, family, mtu, sites)


def _at_place_of(link: Link, relay: str, taken: Link, former: str) -> Link:
    """Returns a VPN server's link as it is where the other one was: router, port, delay, rate."""
    router = taken.other_end(former)
    near, far = link.interface_of(relay), link.interface_of(link.other_end(relay))
    far = replace(far, name=taken.interface_of(router).name)
    return Link((relay, router), (near, far), taken.delay_ns, taken.rate_bits)

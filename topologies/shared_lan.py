"""Two clients on one LAN: a Plan in which one client has been moved to the LAN of another."""

from __future__ import annotations

from dataclasses import replace

from topologies.plan import Link, Plan, PlanError, Role


def share_lan(plan: Plan, client: str, guest: str) -> Plan:
    """Returns the Plan with ``guest`` on the LAN of ``client``; its own LAN and terminals are gone.

    PlanError unless both are clients with LANs of their own.
    """
    (lan,), (own,) = (plan.neighbours(name, Role.LAN) for name in (client, guest))
    if lan == own:
        raise PlanError(f"node {guest}: expected a LAN of its own, got that of {client}")
    gone = {own.name, *(terminal.name for terminal in plan.terminals_of(guest))}
    links = [link for link in plan.links if not gone & set(link.ends)]
    port = replace(plan.lan_interface(guest), name=f"{lan.name}-{guest}", mac=None)
    links.append(Link((guest, lan.name), (plan.lan_interface(guest), port)))
    nodes = tuple(node for node in plan.nodes if node.name not in gone)
    return replace(plan, nodes=nodes, links=tuple(links))

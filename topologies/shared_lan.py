"""Several clients on one LAN: a Plan in which one client has been moved to the LAN of another."""

from __future__ import annotations

from dataclasses import replace

from topologies.plan import Link, Plan, PlanError, Role


def share_lan(plan: Plan, client: str, guest: str, with_terminals: bool = False) -> Plan:
    """Returns the Plan with ``guest`` on the LAN of ``client``; its own LAN is gone.

    Its terminals are gone too, or come along. PlanError unless both are clients with LANs of their own.
    """
    (lan,), (own,) = (plan.neighbours(name, Role.LAN) for name in (client, guest))
    if lan == own:
        raise PlanError(f"node {guest}: expected a LAN of its own, got that of {client}")
    terminals = [terminal.name for terminal in plan.terminals_of(guest)]
    coming = [guest, *(terminals if with_terminals else ())]
    gone = {own.name, *terminals} - set(coming)
    links = [link for link in plan.links if not {own.name, *gone} & set(link.ends)]
    for name in coming:
        inside = plan.lan_interface(name)
        port = replace(inside, name=f"{lan.name}-{name}", mac=None, addresses=())
        links.append(Link((name, lan.name), (inside, port)))
    nodes = tuple(node for node in plan.nodes if node.name not in gone)
    return replace(plan, nodes=nodes, links=tuple(links))

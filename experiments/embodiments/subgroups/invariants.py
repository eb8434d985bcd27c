"""What must hold in embodiment 2 before anything is changed: Sub IDs keep a group's users apart.

Patent: Figs. 11, 12-1, 12-2.
"""

from __future__ import annotations

from collections.abc import Callable

from experiments.embodiments.invariants import INVARIANTS
from experiments.embodiments.seen import Seen, examples
from experiments.records.record import Invariant

_OTHERWISE_HERE = ("one_address_and_association_a_group", "counters_balance")


def one_association_a_sub_id(seen: Seen) -> Invariant:
    """All clients of a Sub ID hold its one SA; those of two have two, for the same group address."""
    wrong = []
    spis: dict[tuple[int | None, int], set[str]] = {}
    addresses: dict[int | None, set[str]] = {}
    for client in seen.plan.clients():
        held = seen.column(client.name, "308", "SPI")
        spis.setdefault((client.vpn_id, client.sub_id), set()).update(held)
        addresses.setdefault(client.vpn_id, set()).update(
            seen.column(client.name, "309", "multicast address")
        )
    wrong += [f"{key}: SPIs {sorted(held)}" for key, held in spis.items() if len(held) != 1]
    wrong += [f"VPN {key}: {sorted(held)}" for key, held in addresses.items() if len(held) != 1]
    different = {spi for held in spis.values() for spi in held}
    if len(different) != len(spis):
        wrong.append(f"{len(spis)} Sub IDs share {len(different)} SAs")
    return Invariant(len(spis) > len(addresses) and not wrong, f"{len(spis)} SAs" + examples(wrong))


def others_drop_what_they_cannot_open(seen: Seen) -> Invariant:
    """Clients of the other Sub ID have got packets, as the text has it, and dropped each for its SPI."""
    apart = [client.name for client in seen.plan.clients() if client.sub_id != 1]
    dropped = sum(seen.counter(name, "dropped_unknown_spi") for name in apart)
    copies = seen.counter(seen.server, "copies_unreadable")
    return Invariant(dropped > 0 and copies > 0, f"{dropped} dropped; {copies} copies in vain")


SUBGROUP_INVARIANTS: dict[str, Callable[[Seen], Invariant]] = {
    **{name: check for name, check in INVARIANTS.items() if name not in _OTHERWISE_HERE},
    "one_association_a_sub_id_for_one_address": one_association_a_sub_id,
    "other_sub_id_drops_what_it_cannot_open": others_drop_what_they_cannot_open,
}

"""Verdicts on the patent's claims: structure is shown by invariants, effects by figures."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.records.record import Claim, Invariant

STRUCTURE: dict[str, tuple[str, ...]] = {
    "C1": (
        "one_address_and_association_a_group",
        "server_seals_and_opens_no_frame",
        "relay_forwards_octets_unchanged",
        "broadcast_probes_reach_every_other_once",
    ),
    "C3": ("one_address_and_association_a_group", "tshark_decodes_the_capture_to_the_frames"),
    "C4": ("one_address_and_association_a_group",),
    "C5": ("one_address_and_association_a_group", "tshark_decodes_the_capture_to_the_frames"),
    "C6": ("tshark_decodes_the_capture_to_the_frames", "scapy_opens_ours_and_we_open_scapys"),
    "C7": ("one_address_and_association_a_group",),
    "C8": ("one_address_and_association_a_group", "tshark_decodes_the_capture_to_the_frames"),
    "C9": ("one_address_and_association_a_group",),
    "C10": (
        "unicast_probes_arrive_once_byte_for_byte",
        "broadcast_probes_reach_every_other_once",
        "server_seals_and_opens_no_frame",
    ),
    "C11": ("server_seals_and_opens_no_frame", "relay_forwards_octets_unchanged"),
}
"""The invariants that show a claim, all of which must hold."""


def structure(invariants: Mapping[str, Invariant]) -> dict[str, Claim]:
    """Returns a verdict for every claim whose invariants a run has checked."""
    verdicts = {}
    for claim, names in STRUCTURE.items():
        if not all(name in invariants for name in names):
            continue
        broken = [name for name in names if not invariants[name].held]
        if broken:
            verdicts[claim] = Claim("refuted", f"did not hold: {', '.join(broken)}")
        else:
            verdicts[claim] = Claim("confirmed", f"held: {', '.join(names)}")
    return verdicts

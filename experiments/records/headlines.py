"""Which figures of a run stand for it: what `compare` and the report over all runs look at.

Absolute times are none of them: they change with the machine's mood, and ratios of the same blocks do not.
Counts that timing or chance has a part in are none either: datagrams of a TCP transfer, copies of what is
flooded until a station is known, octets of messages in which random numbers are written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from experiments.records.record import COUNT, Figure

RATIOS: dict[str, tuple[str, ...]] = {
    "single": ("hub_over_relay.*",),
    "ladder": ("over_relay.*.gcm-*", "over_relay.*.cbc-*", "gap_share.*.gcm.*"),
    "planes": ("bar.*",),
    "startup": ("ike_over_tls.*", "octets_to_register.*", "ike_messages.*"),
    "simbench": ("frame_in_events",),
    "ns3": ("*.arrays_over_ns3",),
    "calibrate": ("error.*",),
}
"""Patterns of the estimated figures that two runs of a kind must agree on, by their intervals."""

_SEVERAL_SERVERS = (
    *(
        "busiest_datagrams.*",
        "most_rows_50?.*",
        "copies_between_servers.*",
        "flooded_known_unicast.*",
    ),
    "frames_missing_while_representative_away",
)
_OF_A_WAY = (
    *("busiest_server", "all_servers", "between_servers", "most_rows"),
    *("busiest_link", "link_copies", "link_octets", "rekey_*_messages"),
)
COUNTS: dict[str, tuple[str, ...]] = {
    "single": ("probe_deliveries",),
    "subgroups": (
        *("probe_deliveries", "frames_lost_over_changes", "changes_under_load"),
        "rekey_messages.*",
    ),
    "multicast": ("probe_deliveries", "server_datagrams", "probe_copies_due_on_links"),
    "multiserver": ("probe_deliveries", *_SEVERAL_SERVERS),
    "cascade": ("probe_deliveries", *_SEVERAL_SERVERS),
    "planes": ("soak.*.sent", "soak.*.lost", "soak.*.changed"),
    "simbench": ("many_clients", "many_clients_deliveries"),
    "ns3": ("*.transmissions", "*.latencies_that_differ"),
    "scale": ("routers", "links", *(f"*.{name}" for name in _OF_A_WAY)),
    "sweep": ("cases", "mean.*"),
}
"""Patterns of the exact figures that two runs of a kind with one seed must agree on, beside the counts
of scripted frames, which every network has: a user's own, too.
"""


def ratios(kind: str, figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Returns the estimated headline figures of a run of this kind."""
    return _chosen(figures, RATIOS.get(kind, ()))


def counts(kind: str, figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Returns the exact headline figures of a run of this kind, counts of scripted frames among them."""
    return _chosen(figures, (f"{COUNT}*", *COUNTS.get(kind, ())))


def _chosen(figures: Mapping[str, Figure], patterns: tuple[str, ...]) -> dict[str, Figure]:
    return {
        name: figure
        for name, figure in figures.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }

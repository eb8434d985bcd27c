"""When a Sub ID gets a fresh SA because somebody holds the old one who should not.

The patent never withdraws an SA. Here the policy says for which changes one is replaced, and the
schedule how often: however many leave, a (VPN ID, Sub ID) is rekeyed once for all of them.

Patent: claim 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from protocol.types import SECOND, SubId, VpnId
from protocol.wire.codec import MOST_PACKETS

RekeyPolicy = Literal["on-leave", "on-change", "never"]
Place = tuple[VpnId, SubId]

ACTIVATION_DELAY = 2 * SECOND
DEACTIVATION_DELAY = 10 * SECOND
"""RFC 9838's delays: when to send with a new SA, and how much later to forget the old one."""
SA_LIFETIME = 8 * 3600 * SECOND


@dataclass(frozen=True)
class Rekeying:
    """The policy: which changes bring a fresh SA, and for how long and how many packets one serves.

    Times are in ns.

    ``on-leave``: when somebody goes, is expelled or moved. ``on-change``: also when somebody comes.
    ``never``: neither, nor for its age or packets, as the text has it; an SA then ends with its counters, its
    sender IDs, or the group's last client.
    """

    policy: RekeyPolicy = "on-leave"
    sa_lifetime: int = SA_LIFETIME
    sa_packets: int = MOST_PACKETS
    """How many packets of each sender an SA serves for."""
    spacing: int = ACTIVATION_DELAY
    """The least time between two such replacements of the SA of one (VPN ID, Sub ID)."""

    @property
    def on_leave(self) -> bool:
        """Whether those who stay get a fresh SA when somebody goes."""
        return self.policy != "never"

    @property
    def on_join(self) -> bool:
        """Whether who comes is kept from what was sealed before."""
        return self.policy == "on-change"

    @property
    def packets(self) -> int:
        """How many packets of a sender an SA serves for under the policy."""
        return MOST_PACKETS if self.policy == "never" else self.sa_packets

    def end_of(self, created: int) -> int | None:
        """Returns when an SA is too old, or None; never while it is replacing another."""
        if self.policy == "never":
            return None
        return created + max(self.sa_lifetime, ACTIVATION_DELAY + DEACTIVATION_DELAY)


class RekeySchedule:
    """Which (VPN ID, Sub ID) are to be rekeyed for those who have gone, and from when on."""

    def __init__(self) -> None:
        self._withdrawn: dict[Place, int] = {}
        self._away: dict[Place, dict[str, int]] = {}

    def withdrawn(self, place: Place, now: int) -> None:
        """Notes that somebody was expelled or moved: the rest is to be rekeyed at once."""
        self._withdrawn.setdefault(place, now)

    def away(self, place: Place, user: str, until: int) -> None:
        """Notes that a user has gone by himself, and how long he may take to come back."""
        self._away.setdefault(place, {})[user] = until

    def is_away(self, place: Place, user: str) -> bool:
        """Tells whether a user has gone from there and may come back without a rekey."""
        return user in self._away.get(place, {})

    def back(self, place: Place, user: str) -> None:
        """Notes that a user has come back with the Sub ID that he had."""
        self._away.get(place, {}).pop(user, None)

    def away_users(self) -> list[tuple[Place, str]]:
        """Returns who is away from where."""
        return [(place, user) for place, users in self._away.items() for user in users]

    def forget(self, place: Place) -> None:
        """Forgets who has gone: there is a fresh SA, or nobody left to need one."""
        self._withdrawn.pop(place, None)
        self._away.pop(place, None)

    def due(self) -> dict[Place, int]:
        """Returns since when, or from when on, each is to be rekeyed."""
        due = dict(self._withdrawn)
        for place, users in self._away.items():
            if users:
                due[place] = min(due.get(place, min(users.values())), *users.values())
        return due

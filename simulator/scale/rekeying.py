"""What a fresh SA costs in messages and octets, from the message that the key server sends.

Patent: claim 2; effect E2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocol.management.rekeying import ACTIVATION_DELAY, DEACTIVATION_DELAY, RekeyPolicy
from protocol.management.tables import SENDER_IDS
from protocol.types import KEY_LENGTHS, SALT_LENGTH, SECOND, Algorithm, Secret, SenderId, Spi
from protocol.wire.codec import pack
from protocol.wire.messages import GroupSecurityAssociation, NewSecurityAssociation
from simulator.scale.loads import Way
from simulator.scale.routers import Integers

POLICIES: tuple[RekeyPolicy, ...] = ("on-leave", "on-change", "never")
_MILLISECOND = 1_000_000
_LONG_SPI = Spi((1 << 32) - 1)
"""Three of four SPIs drawn by chance have ten digits, as this one."""


@dataclass(frozen=True)
class RekeyCost:
    """What changes of members cost the key server, all groups together.

    ``messages`` and ``octets`` are for one leaving from each group (and with ``on-change`` one joining),
    ``messages_a_second`` for a churn. ``too_large`` groups have more members than an SA has sender IDs.
    """

    messages: int
    octets: int
    messages_a_second: float
    too_large: int


def rekey_cost(
    way: Way,
    policy: RekeyPolicy,
    sizes: Integers,
    stay_seconds: float,
    algorithm: Algorithm = "aes-128-gcm",
) -> RekeyCost:
    """Returns the cost where each client stays so long and is then followed by another.

    A hub has an SA with each client, and so nothing to replace. Replacements of one group's SA are at
    least the activation delay apart: however many leave meanwhile, one serves for all.
    """
    too_large = 0 if way == "hub" else int((sizes > SENDER_IDS).sum())
    if way == "hub" or policy == "never":
        return RekeyCost(0, 0, 0.0, too_large)
    others = sizes - 1
    changes = 2 if policy == "on-change" else 1
    rates = changes * sizes / stay_seconds
    spaced = rates / (1 + rates * ACTIVATION_DELAY / SECOND)
    octets = sum(
        octets_to(int(count), algorithm) * int(times)
        for count, times in zip(*np.unique(others, return_counts=True), strict=True)
    )
    messages = int(others.sum())
    return RekeyCost(
        changes * messages, changes * octets, float((spaced * others).sum()), too_large
    )


def octets_to(members: int, algorithm: Algorithm = "aes-128-gcm") -> int:
    """Returns the octets of the messages that give so many members a fresh SA with ten digits in its SPI."""
    association = GroupSecurityAssociation(
        _LONG_SPI,
        algorithm,
        Secret(bytes(KEY_LENGTHS[algorithm])),
        Secret(bytes(SALT_LENGTH)),
        SenderId(0),
    )
    delays = ACTIVATION_DELAY // _MILLISECOND, DEACTIVATION_DELAY // _MILLISECOND
    one = len(pack(NewSecurityAssociation(association, "older", (), *delays)))
    digits = sum(max(0, members - 10**power) for power in range(1, 6))
    octets: int = members * one + digits
    return octets

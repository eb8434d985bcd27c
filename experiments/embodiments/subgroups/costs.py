"""What a rekey costs, from the very objects that the server runs: messages, octets, processor time.

Patent: claim 2; effect E2.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from experiments.records import figures as figures_of
from experiments.records.record import Figure
from protocol.management import GroupConfiguration, Management, UserRecord
from protocol.management.actions import CheckCredentials, SendMessage
from protocol.types import SECOND, Address, Secret, SubId, VpnId
from protocol.wire.codec import pack
from protocol.wire.messages import VERSION, Register

MEMBERS = (2, 8, 32, 128)
REPETITIONS = 15
GROUP = VpnId(1001)
APART, TOGETHER = SubId(2), SubId(1)


@dataclass(frozen=True)
class RekeyCost:
    """What taking one user out of a Sub ID with so many others costs the server."""

    members: int
    messages: int
    octets: int
    cpu_ns: Sequence[int]

    def figures(self) -> dict[str, Figure]:
        """Returns its figures, named after the number of members."""
        name = f"rekey_{{}}.{self.members}_members"
        return {
            name.format("messages"): figures_of.exact(self.messages, "messages"),
            name.format("octets"): figures_of.exact(self.octets, "octets"),
            name.format("cpu"): figures_of.mean([each / 1e3 for each in self.cpu_ns], "us"),
        }


def rekey_costs(numbers: Sequence[int] = MEMBERS) -> list[RekeyCost]:
    """Measures a rekey for each of these numbers of members."""
    return [_cost(members) for members in numbers]


def _cost(members: int) -> RekeyCost:
    """Moves a user away and back; each time those who stay get a fresh SA, and it is paid for."""
    names = [f"u{number}" for number in range(members + 1)]
    management = Management(
        [GroupConfiguration(GROUP, ip_address("ff1e::1"))],
        _users(names, TOGETHER),
        Address("3ffe::1000", 4790),
        os.urandom,
        timeout=1_000_000 * SECOND,
    )
    now = SECOND
    for number, name in enumerate(names, 1):
        management.connection_made(number, f"3ffe::{number:x}", now)
        request = Register(VERSION, name, Secret(b"open"), GROUP, 4790)
        management.receive_message(number, request, now)
        while (action := management.next_action()) is not None:
            if isinstance(action, CheckCredentials):
                management.credentials_checked(action.connection, True, now)
    times, sent = [], 0
    octets = 0
    for _ in range(REPETITIONS):
        now += 60 * SECOND
        begin = time.process_time_ns()
        management.users_changed(_users(names, APART), now)
        sizes = _sizes(management)
        times.append(time.process_time_ns() - begin)
        sent, octets = len(sizes), sum(sizes)
        now += 60 * SECOND
        management.users_changed(_users(names, TOGETHER), now)
        _sizes(management)
        management.handle_timeout(now)
        _sizes(management)
    return RekeyCost(members, sent, octets, times)


def _users(names: Sequence[str], last: SubId) -> list[UserRecord]:
    *others, mover = names
    return [*(UserRecord(name, GROUP, TOGETHER) for name in others), UserRecord(mover, GROUP, last)]


def _sizes(management: Management) -> list[int]:
    """Does what management asks for, as far as it is messages, and returns their octets."""
    sizes = []
    while (action := management.next_action()) is not None:
        if isinstance(action, SendMessage):
            sizes.append(len(pack(action.message)))
    return sizes

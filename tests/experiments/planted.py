"""Mistakes to plant in the protocol, one for each thing that must never be: the search is to find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from protocol.cipher import Aead
from protocol.client.announcing import Announcing
from protocol.client.loop_protection import LoopProtection
from protocol.client.transfer import Transfer
from protocol.errors import DropReason
from protocol.management.tables import GroupKey, MulticastAddressTable
from protocol.relay import Forward, Relay
from protocol.relay.verdicts import Verdict
from protocol.replay import ReplayWindow
from protocol.types import SenderId, SubId
from protocol.wire.table_messages import Snapshot
from simulator import processes
from simulator.servers import ServerProcess

Plant = Callable[[pytest.MonkeyPatch], None]


def clear_text(patch: pytest.MonkeyPatch) -> None:
    """Seals without a cipher."""
    patch.setattr(Aead, "seal", lambda _, nonce, plaintext, data: plaintext + bytes(16))
    patch.setattr(Aead, "open", lambda _, nonce, packet, data: bytes(packet[:-16]))


def key_to_a_relay(patch: pytest.MonkeyPatch) -> None:
    """Tells VPN servers a data key where the probes' token belongs."""
    original = ServerProcess._say

    def tell(self: ServerProcess, number: int, message: Any) -> None:
        rows = list(self.management.multicast_addresses.rows())
        if isinstance(message, Snapshot) and rows:
            message = structs.replace(message, token=rows[0][2].key)
        original(self, number, message)

    patch.setattr(ServerProcess, "_say", tell)


def key_in_a_relay(patch: pytest.MonkeyPatch) -> None:
    """Leaves a data key with what relays, where nobody would look for it."""
    original = ServerProcess._do

    def leave(self: ServerProcess, action: Any) -> None:
        original(self, action)
        self.relay.flows.__dict__["kept"] = list(self.management.multicast_addresses.rows())

    patch.setattr(ServerProcess, "_do", leave)


def no_window(patch: pytest.MonkeyPatch) -> None:
    """Takes every packet for new."""
    patch.setattr(ReplayWindow, "check", lambda *_: True)


def altered_frame(patch: pytest.MonkeyPatch) -> None:
    """Turns over the last bit of what is opened."""
    original = Transfer.open

    def alter(self: Transfer, *arguments: Any) -> bytes | DropReason:
        frame = original(self, *arguments)
        return frame if isinstance(frame, DropReason) else frame[:-1] + bytes([frame[-1] ^ 1])

    patch.setattr(Transfer, "open", alter)


def another_groups_key(patch: pytest.MonkeyPatch) -> None:
    """Hands Sub ID 1's SA to everybody."""
    original = MulticastAddressTable.newest
    patch.setattr(
        MulticastAddressTable,
        "newest",
        lambda self, vpn_id, sub_id: original(self, vpn_id, SubId(1)),
    )


def round_and_round(patch: pytest.MonkeyPatch) -> None:
    """Has servers send to servers what came from one."""
    patch.setattr(processes, "relay_of", lambda world: Relay(split_horizon=False))


def uncounted_copy(patch: pytest.MonkeyPatch) -> None:
    """Sends one copy more than the relay counts."""
    original = Relay.receive_datagram

    def double(self: Relay, *arguments: Any) -> Verdict:
        verdict = original(self, *arguments)
        if not isinstance(verdict, Forward) or not verdict.destinations:
            return verdict
        return Forward((*verdict.destinations, verdict.destinations[0]))

    patch.setattr(Relay, "receive_datagram", double)


def one_sender_id(patch: pytest.MonkeyPatch) -> None:
    """Gives everybody the same sender ID, whose nonces then meet."""
    patch.setattr(GroupKey, "take_sender_id", lambda _: SenderId(7))


def deaf_on_lans(patch: pytest.MonkeyPatch) -> None:
    """Has clients hear no claim of each other."""
    patch.setattr(LoopProtection, "receive_frame", lambda *_: DropReason.CLAIM_REFUSED)


def silent_after_takeovers(patch: pytest.MonkeyPatch) -> None:
    """Announces no station."""
    patch.setattr(Announcing, "begin", lambda *_: None)


PLANTED: dict[str, tuple[Plant, str, str]] = {
    "no plaintext at a relay": (clear_text, "single", "was shown a payload"),
    "no data key told to a relay": (key_to_a_relay, "cascade", "given the key of SPI"),
    "no data key held by a relay": (key_in_a_relay, "single", "in its memory server was given"),
    "no frame twice": (no_window, "single", "twice"),
    "none opened by who is no member": (another_groups_key, "subgroups", "sealed with an SA made"),
    "octets are equal": (altered_frame, "single", "opened a frame that nobody sent"),
    "no loop": (round_and_round, "cascade", "a storm"),
    "counters balance": (uncounted_copy, "single", "and counted"),
    "nonces never repeat": (one_sender_id, "single", "sealed twice with nonce"),
    "one forwards for a LAN": (deaf_on_lans, "single", "forwards, too"),
    "each station is reached": (silent_after_takeovers, "single", "to it alone 0 times"),
}
"""By what is broken: how, in which topology, and what is said of it."""

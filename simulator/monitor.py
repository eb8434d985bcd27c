"""Watches a world, and says what must never be, whatever goes wrong in it.

On a LAN with several clients two may forward, and frames come back, while the LAN itself is disturbed, they
do not hold each other's SAs or one of them stands still, and a moment longer; never otherwise.

It keeps a model of its own: which frames were sent, who belongs where since when, and which SAs were
handed out when. Nothing in the world depends on it.
"""

from __future__ import annotations

import gc
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from protocol.client.loop_protection import INTERVAL
from protocol.wire import ip, vpn_header
from protocol.wire.binding import BINDING
from protocol.wire.codec import Message
from protocol.wire.ethernet import is_group
from protocol.wire.messages import GroupSecurityAssociation, NewSecurityAssociation, Registered
from simulator.observer import Observer

if TYPE_CHECKING:
    from simulator.processes import ClientProcess
    from simulator.world import World

Place = tuple[int, int]
"""(VPN ID, Sub ID)."""
_TAG = 8
_IV_AT = 8
_NONCE_END = 16
_RECENT = 20
MARKER = b"seen in clear: no"
"""What every frame of a search has in it, and nothing at a relay."""
GRACE = INTERVAL + 50_000_000
"""ns for which two may forward on a LAN after it was mended: until the next claim is heard."""
MOST_SEALINGS, MOST_TO_ONE = 8, 64
"""How often a frame to many, and one to a station, may be sealed while a shared LAN is disturbed."""


class Monitor(Observer):
    """Collects violations as sentences, in the order in which they were seen."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.reached: Counter[str] = Counter()
        """How often things came about that a search is to reach."""
        self.hops: Counter[tuple[str, bytes]] = Counter()
        """How often what was sealed under a nonce came to each relay; emptied at will."""
        self.recent: dict[str, list[bytes]] = {}
        """The latest datagrams of each client."""
        self._world: World | None = None
        self._sent: dict[bytes, str] = {}
        self._nonces: set[bytes] = set()
        self._keys: dict[int, bytes] = {}
        self._made: dict[int, int] = {}
        self._places: dict[int, Place] = {}
        self._since: dict[str, tuple[Place | None, int]] = {}
        self._opened: Counter[tuple[ClientProcess, bytes]] = Counter()
        self._sealings: dict[bytes, set[tuple[ClientProcess, int]]] = {}
        self._companions: dict[str, list[str]] = {}
        self._deaf_at: dict[str, int] = {}
        """When a client was last seen to forward beside one whose SAs are others."""

    # -- what the search tells

    def watch(self, world: World) -> None:
        """Takes the world, and who belongs where at its beginning."""
        self._world = world
        for node in world.plan.clients():
            assert node.vpn_id is not None
            self._since[node.name] = ((node.vpn_id, node.sub_id), 0)
            self._companions[node.name] = [
                other.name
                for other in world.plan.clients()
                if other != node and world.lan_of[other.name] is world.lan_of[node.name]
            ]

    def belongs(self, client: str, place: Place | None, now: int) -> None:
        """Notes that an administrator has put a client elsewhere, or (None) out of its group."""
        if self._since[client][0] != place:
            self._since[client] = (place, now)

    def place(self, client: str) -> Place | None:
        """Returns where a client belongs."""
        return self._since[client][0]

    def sends(self, terminal: str, frame: bytes) -> None:
        """Notes that a terminal sends a frame, which has MARKER in it and is like no other."""
        self._sent[frame] = terminal

    # -- what the world tells

    def handed_out(self, message: Message) -> None:
        """Notes when an SA was first given to anybody, and whose it is."""
        given: tuple[GroupSecurityAssociation, ...] = ()
        if isinstance(message, (Registered, NewSecurityAssociation)):
            given = (message.security_association, *message.older)
        for one in given:
            self._keys[one.spi] = one.key.reveal()
            if one.spi not in self._made:
                self._made[one.spi] = self._now
                self.reached["an SA is made"] += 1
        server = None if self._world is None else self._world.server
        if given and server is not None:
            rows = server.management.multicast_addresses.rows()
            self._places.update((key.spi, (vpn_id, sub_id)) for vpn_id, sub_id, key in rows)

    def sealed(self, process: ClientProcess, frame: bytes, payload: bytes) -> None:
        """Checks that no nonce serves twice under one SA."""
        self._check_nonce(process, frame, esp_of(payload))
        recent = self.recent.setdefault(process.name, [])
        recent.append(payload)
        del recent[:-_RECENT]

    def sealed_packet(self, process: ClientProcess, frame: bytes, packet: bytes) -> None:
        """Checks the same where the network replicates."""
        self._check_nonce(process, frame, packet)

    def claimed(self, process: ClientProcess, packet: bytes) -> None:
        """Checks the same on the LAN."""
        self._check_nonce(process, b"", packet)

    def _check_nonce(self, process: ClientProcess, frame: bytes, esp: bytes) -> None:
        nonce = esp[:4] + esp[_IV_AT:_NONCE_END]
        if nonce in self._nonces:
            self._violate(f"{process.name} sealed twice with nonce {nonce.hex()}")
        self._nonces.add(nonce)
        if frame in self._sent:
            sealings = self._sealings.setdefault(frame, set())
            sealings.add((process, self._now))
            if len(sealings) > (MOST_SEALINGS if is_group(frame) else MOST_TO_ONE):
                self._violate(f"a frame of {self._sent[frame]} was sealed {len(sealings)} times")
            self._check_alone(process, "sealed")
            self._check_round(process, frame)

    def _check_alone(self, process: ClientProcess, did: str) -> None:
        """Checks that no other client forwards on the same LAN that could hear this one."""
        if not self._companions[process.name]:
            return
        for other in self._forwarding_beside(process):
            if not can_hear(process, other):
                for name in (process.name, *self._companions[process.name]):
                    self._deaf_at[name] = self._now
            elif self._is_settled(process):
                self._violate(f"{process.name} {did} a frame while {other.name} forwards, too")
            self.reached["two forward"] += 1

    def _check_round(self, process: ClientProcess, frame: bytes) -> None:
        """Checks that what a client seals was sent on its own LAN, and has not come out of the VPN."""
        assert self._world is not None
        lans = self._world.lan_of
        if lans[self._sent[frame]] is lans[process.name]:
            return
        self.reached["a frame goes round"] += 1
        if self._is_settled(process):
            text = f"{process.name} sealed a frame of {self._sent[frame]}, which is not on its LAN"
            self._violate(text)

    def _forwarding_beside(self, process: ClientProcess) -> Iterator[ClientProcess]:
        """Yields the other clients on the LAN that forward."""
        assert self._world is not None
        for name in self._companions[process.name]:
            other = self._world.clients.get(name)
            if other is not None and forwards(other) and not other.paused:
                yield other

    def _is_settled(self, process: ClientProcess) -> bool:
        """Tells whether a client's LAN is sound, and all on it hear each other, for long enough."""
        assert self._world is not None
        lan = self._world.lan_of[process.name]
        names = (process.name, *self._companions[process.name])
        moved = max(self._since[one][1] for one in names)
        running = (self._world.clients.get(one) for one in names)
        stalled = max((one.stalled_at for one in running if one is not None), default=0)
        last = max(lan.mended_at, moved, stalled, self._deaf_at.get(process.name, lan.mended_at))
        return lan.is_sound and self._now - last > GRACE

    def opened(self, process: ClientProcess, frame: bytes) -> None:
        """Checks that a frame is one that was sent, comes once, and is this client's to read."""
        sent = self._sent.get(frame)
        if sent is None:
            self._violate(f"{process.name} opened a frame that nobody sent: {frame[:40].hex()}")
            return
        key = (process, frame)
        self._opened[key] += 1
        if self._opened[key] > len(self._sealings.get(frame, ())):
            self._violate(f"{process.name} opened a frame of {sent} twice")
        assert self._world is not None
        if self._world.lan_of[sent] is self._world.lan_of[process.name]:
            self._comes_back(process.name, f"opened a frame of its own LAN's {sent}")
        self._check_alone(process, "opened")
        place, since = self._since[process.name]
        spi = int.from_bytes(esp_of(process.opening)[:4], "big")
        if self._places.get(spi) != place and self._made.get(spi, 0) > since:
            self._violate(
                f"{process.name} of {place} opened a frame of {self._places.get(spi)}, "
                f"sealed with an SA made {self._made.get(spi, 0) - since} ns after it left"
            )

    def _comes_back(self, name: str, what: str) -> None:
        """Notes that a frame has come back to its LAN: one with several clients may be disturbed."""
        assert self._world is not None
        lan = self._world.lan_of[name]
        shared = [one for one in self._companions if self._world.lan_of[one] is lan]
        process = self._world.clients.get(shared[0])
        self.reached["a frame comes back"] += 1
        if len(shared) < 2 or process is None or self._is_settled(process):
            self._violate(f"{name} {what}")

    def at_relay(self, name: str, payload: bytes) -> None:
        """Checks that what relays is shown no payload in clear, and counts what comes to it."""
        if MARKER in payload:
            self._violate(f"{name} was shown a payload")
        if payload[:1] == bytes((BINDING,)):
            return
        esp = esp_of(payload)
        if len(esp) >= _NONCE_END:
            self.hops[name, esp[:4] + esp[_IV_AT:_NONCE_END]] += 1

    def told_relay(self, name: str, body: bytes) -> None:
        """Checks that a VPN server is told neither a key nor a payload."""
        self._look_for_secrets(name, body)

    def seen(self, terminal: str, frame: bytes, now: int) -> None:
        """Checks that a terminal sees nothing but what was sent, to the octet, and by another."""
        sent = self._sent.get(frame)
        if sent is None:
            self._violate(f"{terminal} saw a frame that nobody sent: {frame[:40].hex()}")
        elif sent == terminal:
            self._comes_back(terminal, "saw a frame of its own come back")

    def look_into(self, name: str, *held: object) -> None:
        """Checks that what relays holds no data key anywhere in its memory, reached from ``held``."""
        for octets in octets_within(*held):
            self._look_for_secrets(f"in its memory {name}", octets)

    # -- what is wrong

    @property
    def _now(self) -> int:
        return 0 if self._world is None else self._world.engine.now

    def _violate(self, text: str) -> None:
        self.violations.append(f"at {self._now / 1e9:.3f} s: {text}")

    def _look_for_secrets(self, name: str, octets: bytes) -> None:
        if MARKER in octets:
            self._violate(f"{name} was shown a payload")
        for spi, key in self._keys.items():
            written = (key, key.hex().encode(), b64encode(key).rstrip(b"="))
            if any(one in octets for one in written):
                self._violate(f"{name} was given the key of SPI {spi:#x}")


def forwards(process: ClientProcess) -> bool:
    """Tells whether a client is in its group and carries frames."""
    client = process.client
    return client.information is not None and not client.loop_protection.standing_by


def can_hear(one: ClientProcess, other: ClientProcess) -> bool:
    """Tells whether two clients hold an SA in common, under which they hear each other's claims."""
    mine, others = one.client.associations, other.client.associations
    return any(others.at(association.spi) is not None for association, _ in mine.rows())


def octets_within(*held: object) -> Iterator[bytes]:
    """Yields all octet strings that objects hold, through any number of others; code is left out."""
    found: dict[int, object] = {}
    waiting = list(held)
    while waiting:
        one = waiting.pop()
        if id(one) in found or isinstance(one, (type, ModuleType, FunctionType, CodeType)):
            continue
        found[id(one)] = one
        if isinstance(one, (bytes, bytearray)):
            yield bytes(one)
        elif isinstance(one, str):
            yield one.encode(errors="replace")
        else:
            waiting.extend(gc.get_referents(one))


def esp_of(payload: bytes) -> bytes:
    """Returns the ESP packet in a datagram's payload, or in a packet that is one; empty where none is."""
    if not payload or payload[0] not in (
        vpn_header.MAC_BLOCK_FOLLOWS,
        vpn_header.IP_HEADER_FOLLOWS,
    ):
        return payload
    head = vpn_header.LENGTH if payload[0] == vpn_header.MAC_BLOCK_FOLLOWS else 4
    head += _TAG if payload[1:2] and payload[1] & vpn_header.HOP_TAG_FOLLOWS else 0
    version = payload[head] >> 4 if len(payload) > head else 0
    return payload[head + ip.HEADER_LENGTHS.get(version, 40) :]

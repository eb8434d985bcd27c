"""Watches a world, and says what must never be, whatever goes wrong in it.

It keeps a model of its own: which frames were sent, who belongs where since when, and which SAs were
handed out when. Nothing in the world depends on it.
"""

from __future__ import annotations

import gc
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from protocol.wire import ip, vpn_header
from protocol.wire.binding import BINDING
from protocol.wire.codec import Message
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


@dataclass
class _Sent:
    """A frame that a terminal has sent, and the SPIs under which it was sealed."""

    terminal: str
    spis: set[int] = field(default_factory=set)


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
        self._sent: dict[bytes, _Sent] = {}
        self._nonces: set[bytes] = set()
        self._keys: dict[int, bytes] = {}
        self._made: dict[int, int] = {}
        self._places: dict[int, Place] = {}
        self._since: dict[str, tuple[Place | None, int]] = {}
        self._opened: Counter[tuple[ClientProcess, bytes]] = Counter()

    # -- what the search tells

    def watch(self, world: World) -> None:
        """Takes the world, and who belongs where at its beginning."""
        self._world = world
        for node in world.plan.clients():
            assert node.vpn_id is not None
            self._since[node.name] = ((node.vpn_id, node.sub_id), 0)

    def belongs(self, client: str, place: Place | None, now: int) -> None:
        """Notes that an administrator has put a client elsewhere, or (None) out of its group."""
        if self._since[client][0] != place:
            self._since[client] = (place, now)

    def place(self, client: str) -> Place | None:
        """Returns where a client belongs."""
        return self._since[client][0]

    def sends(self, terminal: str, frame: bytes) -> None:
        """Notes that a terminal sends a frame, which has MARKER in it and is like no other."""
        self._sent[frame] = _Sent(terminal)

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
            self._sent[frame].spis.add(int.from_bytes(esp[:4], "big"))

    def opened(self, process: ClientProcess, frame: bytes) -> None:
        """Checks that a frame is one that was sent, comes once, and is this client's to read."""
        sent = self._sent.get(frame)
        if sent is None:
            self._violate(f"{process.name} opened a frame that nobody sent: {frame[:40].hex()}")
            return
        key = (process, frame)
        self._opened[key] += 1
        if self._opened[key] > 1:
            self._violate(f"{process.name} opened a frame of {sent.terminal} twice")
        assert self._world is not None
        if self._world.plan.client_of(sent.terminal).name == process.name:
            self._violate(f"{process.name} opened a frame of its own LAN's {sent.terminal}")
        place, since = self._since[process.name]
        for spi in sent.spis:
            if self._places.get(spi) != place and self._made.get(spi, 0) > since:
                self._violate(
                    f"{process.name} of {place} opened a frame of {self._places.get(spi)}, "
                    f"sealed with an SA made {self._made.get(spi, 0) - since} ns after it left"
                )

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
        elif sent.terminal == terminal:
            self._violate(f"{terminal} saw a frame of its own come back")

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

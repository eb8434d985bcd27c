"""A Plan as a world: its network, LANs, terminals and processes, driven by one engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from protocol.distribution.publisher import Distribution
from protocol.management import RekeyPolicy, UserRecord
from protocol.relay import Strip
from protocol.types import SECOND, Algorithm, MemberDelivery, SubId
from protocol.wire.claim import is_claim
from simulator.chance import Chance
from simulator.channels import Exchange
from simulator.engine import Engine
from simulator.lan import Lan, Receive
from simulator.links import SOUND, Impairment
from simulator.network import Network
from simulator.observer import Observer
from simulator.processes import ClientProcess, Process, RelayProcess
from simulator.servers import ServerProcess, record_of
from simulator.trace import Trace
from topologies.plan import Plan, Role

READY_TIME = 60 * SECOND


class WorldError(RuntimeError):
    """Says what did not come about in a world."""


@dataclass(frozen=True)
class WorldSettings:
    """What may be chosen about the processes; times in ns."""

    strip: Strip = Strip.KEEP
    algorithm: Algorithm = "aes-128-gcm"
    rekey: RekeyPolicy = "on-leave"
    member_delivery: MemberDelivery = "patent"
    distribution: Distribution = "delta"
    mac_reports: bool = True
    split_horizon: bool = True
    hop_tags: bool = False
    bindings: bool = True
    """Whether clients show relays where they are; without, hole 18 stays open."""
    recovery: int = 4 * SECOND
    data_port: int = 4790
    data_ports: Mapping[str, int] = field(default_factory=dict)
    """Those of clients that have another, by their nodes' names."""


class World:
    """Everything of a Plan but sockets, clocks and machines."""

    def __init__(
        self,
        plan: Plan,
        seed: int = 0,
        settings: WorldSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Lays the network; nothing runs before :meth:`start`."""
        self.plan = plan
        self.settings = settings or WorldSettings()
        self.observer = observer or Observer()
        self.engine = Engine(SECOND)
        self.chance = Chance(seed)
        self.trace = Trace()
        self.network = Network(plan, self.engine, self.chance)
        self.exchange = Exchange(self.engine, self._delay, self._is_up)
        self.server_name = plan.servers[0].name
        self.server: ServerProcess | None = None
        self.relays: dict[str, RelayProcess] = {}
        self.clients: dict[str, ClientProcess] = {}
        self.lan_of: dict[str, Lan] = {}
        """The LAN of each client and terminal."""
        self.received: dict[str, list[tuple[int, bytes]]] = {}
        """What each terminal has seen, and when (ns)."""
        self._records = {node.name: record_of(node) for node in plan.clients()}
        self._starts = 0
        self._delays: dict[tuple[str, str], int] = {}
        for node in plan.with_role(Role.LAN):
            self._lay_lan(node.name)

    # -- processes

    def start(self) -> None:
        """Starts the server, then VPN servers, then clients."""
        self.start_process(self.server_name)
        for node in (*self.plan.relays, *self.plan.clients()):
            self.start_process(node.name)

    def start_process(self, name: str) -> None:
        """Starts a process that is not there, with nothing but its configuration."""
        node = self.plan.node(name)
        if node.role is Role.SERVER and self.server is None:
            self._start_server(name)
        elif node.role is Role.RELAY and name not in self.relays:
            relay = self.relays[name] = RelayProcess(self, node, self.server_name)
            self.network.attach(name, relay.data_port.receive)
            relay.connect()
        elif node.role is Role.CLIENT and name not in self.clients:
            client = self.clients[name] = ClientProcess(self, node, self.server_name)
            self.network.attach(name, client.receive_packet)
            self.lan_of[name].connect(name, client.receive_frame)
            client.connect()

    def crash(self, name: str) -> None:
        """Ends a process at once; no error if it is not there."""
        process: Process | None = self.relays.pop(name, None) or self.clients.pop(name, None)
        if name == self.server_name:
            process, self.server = self.server, None
        if process is None:
            return
        self.trace.note(self.engine.now, name, "crash")
        process.crash()
        self.network.nodes[name].receive = None
        if name in self.lan_of:
            self.lan_of[name].disconnect(name)

    def cut_channel(self, name: str) -> None:
        """Breaks the control channel of a client or VPN server."""
        process = self.clients.get(name) or self.relays.get(name)
        if process is not None and process.channel is not None:
            process.channel.cut()

    def all_registered(self) -> bool:
        """Whether every client that is to be in its group is, and VPN servers have tables."""
        ready = all(one.registered or not one.wanted for one in self.clients.values())
        return ready and all(relay.serving for relay in self.relays.values())

    def wait_until_registered(self) -> None:
        """Lets time pass until all clients are in their groups; WorldError when they do not get there."""
        deadline = self.engine.now + READY_TIME
        if not self.engine.run_while(lambda: not self.all_registered(), deadline):
            missing = [name for name, one in self.clients.items() if not one.registered]
            raise WorldError(f"not registered within {READY_TIME // SECOND} s: {missing}")

    def run(self, seconds: float) -> None:
        """Lets time pass."""
        self.engine.run_until(self.engine.now + round(seconds * SECOND))

    # -- what people do

    def send(self, terminal: str, frame: bytes) -> None:
        """Has a terminal send a frame."""
        self.lan_of[terminal].send(terminal, frame)

    def move(self, client: str, sub_id: int) -> None:
        """Gives a client's user another Sub ID."""
        self._records[client] = replace(self._records[client], sub_id=SubId(sub_id))
        self._tell_users()

    def expel(self, client: str) -> None:
        """Takes a client's user out of its group."""
        self._records.pop(client, None)
        self._tell_users()

    def admit(self, client: str) -> None:
        """Takes a client's user into its group again."""
        self._records.setdefault(client, record_of(self.plan.node(client)))
        self._tell_users()

    def user_records(self) -> list[UserRecord]:
        """Returns table 506 as the administrators have it."""
        return list(self._records.values())

    @staticmethod
    def password_of(user: str) -> bytes:
        """Returns a user's password in this world."""
        return f"open sesame, {user}".encode()

    def impair(self, one: str, other: str, impairment: Impairment = SOUND) -> None:
        """Impairs both directions of a link, or a client's port on its LAN; unless told how, ends that."""
        if (one, other) not in self.network.directions:
            self.lan_of[one].impair(one, impairment)
            return
        for ends in ((one, other), (other, one)):
            self.network.directions[ends].impairment = impairment

    # -- making

    def _start_server(self, name: str) -> None:
        self._starts += 1
        server = self.server = ServerProcess(self, self.plan.node(name), self._starts)
        self.exchange.listeners[name] = server
        if server.data_port is not None:
            self.network.attach(name, server.data_port.receive)
        server.act()

    def _lay_lan(self, name: str) -> None:
        lan = Lan(self.engine, self.chance.stream("lan", name))
        for client in self.plan.neighbours(name, Role.CLIENT):
            self.lan_of[client.name] = lan
            lan.disconnect(client.name)
        for terminal in self.plan.neighbours(name, Role.TERMINAL):
            self.lan_of[terminal.name] = lan
            self.received[terminal.name] = []
            lan.connect(terminal.name, self._receiver(terminal.name))

    def _receiver(self, terminal: str) -> Receive:
        def receive(frame: bytes) -> None:
            if is_claim(frame):  # to a group that no terminal is in
                return
            now = self.engine.now
            self.trace.note(now, terminal, "frame", frame)
            self.received[terminal].append((now, frame))
            self.observer.seen(terminal, frame, now)

        return receive

    def _tell_users(self) -> None:
        if self.server is not None:
            self.server.users_changed()

    def _delay(self, one: str, other: str) -> int:
        if (one, other) not in self._delays:
            path = self.network.path(one, other)
            self._delays[one, other] = sum(direction.delay_ns for direction in path)
        return self._delays[one, other]

    def _is_up(self, one: str, other: str) -> bool:
        there, back = self.network.path(one, other), self.network.path(other, one)
        return not any(direction.impairment.down for direction in (*there, *back))

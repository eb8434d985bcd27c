"""Plays a script of faults in a world, then a quiet phase, and says what was violated.

While faults last, terminals send frames all the time. Then all that was broken is mended; after a quiet
phase everybody who should be in a group is, and every frame reaches everybody once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from protocol.errors import DropReason
from protocol.relay import Strip
from protocol.wire.ethernet import BROADCAST, EthernetHeader, parse_mac
from simulator.faults import LINK_KINDS, Fault, Script
from simulator.links import SOUND, Impairment
from simulator.monitor import MARKER, Monitor, forwards
from simulator.processes import DataPort
from simulator.world import World, WorldSettings
from topologies.plan import Kind, Plan, Role

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
SENDING_PAUSE = 50 * MILLISECOND
QUIET = 45 * SECOND
"""After so long nothing of a fault is left: time-outs, pauses, roll-over and grace are over."""
ROUNDS = 2
LARGE, LARGE_SHARE = 64, 0.1
"""Parts of a frame that is sent in pieces, and how many are."""
SETTLING = 2 * SECOND
EVENTS = 100_000
"""More than any script takes: a world with more is in a storm."""
ETHER_TYPE = 0x88B5
FIRST_PORT = 20_000
"""Behind which the ports are that clients are given when theirs change."""
UNEXPECTED = (DropReason.UNEXPECTED_PROBE, DropReason.UNEXPECTED_BINDING)
"""What a client drops that was never to be opened."""


@dataclass(frozen=True)
class Played:
    """What a script has shown."""

    violations: tuple[str, ...]
    fingerprint: str
    events: int
    reached: Counter[str]


class StormError(RuntimeError):
    """Says that a world does not come to rest."""


class Play:
    """One script in one world."""

    def __init__(
        self,
        plan: Plan,
        script: Script,
        settings: WorldSettings | None = None,
        most_events: int = EVENTS,
    ) -> None:
        """Takes the Plan that the script's topology stands for, and from how many events on it storms.

        The script's choices change ``settings``.
        """
        self._most_events = most_events
        self.monitor = Monitor()
        chosen = chosen_settings(settings or WorldSettings(), script)
        self.world = World(plan, script.seed, chosen, self.monitor)
        self.monitor.watch(self.world)
        self._plan = plan
        self._script = script
        self._chance = self.world.chance.stream("traffic")
        self._clients = [client.name for client in plan.clients()]
        self._shared = shared_lans(plan)
        self._links = [(name, lan) for lan, names in self._shared.items() for name in names] + [
            link.ends for link in plan.links if link.kind is Kind.OUTSIDE
        ]
        self._relays = [relay.name for relay in plan.relays]
        self._terminals = [terminal.name for terminal in plan.terminals()]
        self._number = 0
        self._next_port = FIRST_PORT
        self._impaired: dict[tuple[str, str], list[Fault]] = {}

    def run(self) -> Played:
        """Plays the script to its end."""
        world, found = self.world, self.monitor
        world.start()
        try:
            if world.engine.run_while(lambda: not world.all_registered(), 30 * SECOND):
                self._play()
            else:
                found.violations.append("not everybody was registered at the beginning")
        except StormError as error:
            found.violations.append(str(error))
        return Played(
            tuple(found.violations), world.trace.fingerprint(), world.engine.events, found.reached
        )

    def _play(self) -> None:
        """Lets faults happen while frames flow, mends all, and expects that all is well."""
        world = self.world
        begin = last = world.engine.now
        for fault in self._script.faults:
            world.engine.at(begin + fault.at_ms * MILLISECOND, self._begin, fault)
            last = max(last, begin + (fault.at_ms + fault.duration_ms) * MILLISECOND)
        self._send_until(last + SECOND)
        self._advance(last + 2 * SECOND)
        self._mend()
        self._advance(world.engine.now + QUIET)
        self._expect_liveness()
        self._expect_balance()
        for name, port in self._relaying().items():
            subscriber = [self.world.relays[name].subscriber] if name in self.world.relays else []
            self.monitor.look_into(name, port.relay, *subscriber)

    # -- time and traffic

    def _advance(self, end: int) -> None:
        engine = self.world.engine
        engine.run_while(lambda: engine.events < self._most_events, end)
        if engine.events >= self._most_events:
            raise StormError(f"more than {self._most_events} events: a storm")

    def _send_until(self, end: int) -> None:
        engine = self.world.engine
        if engine.now < end:
            sender, target = self._chance.integers(len(self._terminals), size=2)
            everybody = self._chance.random() < 0.5 or sender == target
            large = self._chance.random() < LARGE_SHARE
            to = None if everybody else self._terminals[target]
            self._send(self._terminals[sender], to, LARGE if large else 1)
            engine.after(SENDING_PAUSE, self._send_until, end)

    def _send(self, source: str, destination: str | None, parts: int = 1) -> bytes:
        """Sends a frame like no other; with many parts it is above the LAN MTU."""
        self._number += 1
        to = BROADCAST if destination is None else self._mac(destination)
        head = EthernetHeader(to, self._mac(source), ETHER_TYPE).pack()
        frame = head + (MARKER + self._number.to_bytes(4, "big") + bytes(26)) * parts
        self.monitor.sends(source, frame)
        self.world.send(source, frame)
        return frame

    def _mac(self, terminal: str) -> bytes:
        mac = self._plan.lan_interface(terminal).mac
        assert mac is not None
        return parse_mac(mac)

    # -- faults

    def _begin(self, fault: Fault) -> None:
        self.monitor.reached[fault.kind] += 1
        if fault.kind in LINK_KINDS:
            self._impair(fault)
            return
        begin: dict[str, Callable[[Fault], None]] = {
            "cut": self._cut,
            "crash": self._crash,
            "replay": self._replay,
            "move": self._move,
            "expel": self._expel,
            "leave": self._leave,
            "port": self._change_port,
            "split": self._split,
            "pause": self._pause,
        }
        begin[fault.kind](fault)

    def _after(self, fault: Fault, act: Callable[..., None], *arguments: object) -> None:
        self.world.engine.after(fault.duration_ms * MILLISECOND, act, *arguments)

    def _impair(self, fault: Fault) -> None:
        link = self._links[fault.target % len(self._links)]
        self._impaired.setdefault(link, []).append(fault)
        self._apply(link)
        self._after(fault, self._unimpair, link, fault)

    def _unimpair(self, link: tuple[str, str], fault: Fault) -> None:
        if fault in self._impaired.get(link, []):
            self._impaired[link].remove(fault)
        self._apply(link)

    def _apply(self, link: tuple[str, str]) -> None:
        impairment = SOUND
        for fault in self._impaired.get(link, []):
            impairment = impaired(impairment, fault)
        self.world.impair(*link, impairment)

    def _cut(self, fault: Fault) -> None:
        names = self._clients + self._relays
        self.world.cut_channel(names[fault.target % len(names)])

    def _crash(self, fault: Fault) -> None:
        names = [self.world.server_name, *self._relays, *self._clients]
        name = names[fault.target % len(names)]
        self.world.crash(name)
        self._after(fault, self.world.start_process, name)

    def _replay(self, fault: Fault) -> None:
        client = self._clients[fault.target % len(self._clients)]
        process = self.world.clients.get(client)
        if process is None or process.client.information is None:
            return
        if process.client.information.delivery == "relay":
            for payload in self.monitor.recent.get(client, []):
                process.send_datagram(payload, process.client.information.relay)

    def _move(self, fault: Fault) -> None:
        sub_id = 1 + fault.share % 2
        for client in self._on_lan_of(self._clients[fault.target % len(self._clients)]):
            place = self.monitor.place(client)
            if place is not None:
                self.monitor.belongs(client, (place[0], sub_id), self.world.engine.now)
                self.world.move(client, sub_id)

    def _on_lan_of(self, client: str) -> list[str]:
        """Returns the clients on a LAN, which an administrator has in one Sub ID."""
        return next((names for names in self._shared.values() if client in names), [client])

    def _expel(self, fault: Fault) -> None:
        client = self._clients[fault.target % len(self._clients)]
        place = self.monitor.place(client)
        if place is not None:
            self.monitor.belongs(client, None, self.world.engine.now)
            self.world.expel(client)
            self._after(fault, self._admit, client)

    def _admit(self, client: str) -> None:
        """Takes a user in again, and starts his client anew."""
        if self.monitor.place(client) is None:
            node = self._plan.node(client)
            assert node.vpn_id is not None
            places = [self.monitor.place(one) for one in self._on_lan_of(client)]
            place = next((one for one in places if one is not None), (node.vpn_id, node.sub_id))
            self.monitor.belongs(client, place, self.world.engine.now)
            self.world.admit(client)
            self.world.move(client, place[1])
        self._restart(client)

    def _leave(self, fault: Fault) -> None:
        client = self._clients[fault.target % len(self._clients)]
        process = self.world.clients.get(client)
        if process is not None:
            process.leave()
            self._after(fault, self._restart, client)

    def _change_port(self, fault: Fault) -> None:
        process = self.world.clients.get(self._clients[fault.target % len(self._clients)])
        if process is not None:
            self._next_port += 1
            process.port = self._next_port

    def _split(self, fault: Fault) -> None:
        """Cuts a LAN in two: one client and some terminals, and the others."""
        if not self._shared:
            return
        lans = list(self._shared)
        name = lans[fault.target % len(lans)]
        client = self._shared[name][fault.target % len(self._shared[name])]
        terminals = [terminal.name for terminal in self._plan.terminals_of(client)]
        some = terminals[: 1 + fault.share % len(terminals)]
        self.world.lan_of[client].split((client, *some))
        self._after(fault, self.world.lan_of[client].split, ())

    def _pause(self, fault: Fault) -> None:
        process = self.world.clients.get(self._clients[fault.target % len(self._clients)])
        if process is not None:
            process.pause()
            self._after(fault, process.resume)

    def _restart(self, client: str) -> None:
        self.world.crash(client)
        self.world.start_process(client)

    def _mend(self) -> None:
        """Ends all faults; clients that were sent away while they were members come back."""
        self._impaired.clear()
        for link in self._links:
            self._apply(link)
        for lan in self.world.lan_of.values():
            lan.split(())
        for process in self.world.clients.values():
            process.resume()
        for name in (self.world.server_name, *self._relays, *self._clients):
            self.world.start_process(name)
        for client in self._clients:
            if not self.world.clients[client].wanted:
                self._restart(client)

    # -- what must hold in the end

    def _expect_liveness(self) -> None:
        world, violations = self.world, self.monitor.violations
        for name, process in world.clients.items():
            if not process.registered:
                state = process.client.establishment.state.value
                violations.append(f"after the quiet phase {name} is {state}")
        for lan, names in self._shared.items():
            ready = [name for name in names if world.clients[name].registered]
            forwarding = [name for name in ready if forwards(world.clients[name])]
            if len(forwarding) != 1:
                violations.append(f"after the quiet phase of {ready} on {lan} forward {forwarding}")
        if self._shared:
            for target in self._terminals:
                self._expect_to_reach(target)
        self.monitor.hops.clear()
        for _ in range(ROUNDS):
            for source in self._terminals:
                frame = self._send(source, None)
                self._advance(world.engine.now + SETTLING)
                self._expect_arrivals(source, frame)
        for (relay, _), count in self.monitor.hops.items():
            if count > 1:
                violations.append(f"after the quiet phase a packet came to {relay} {count} times")

    def _expect_to_reach(self, target: str) -> None:
        """Expects a frame to one station to get there, though it has said nothing for long."""
        for source in self._terminals:
            if self._mac(source) != self._mac(target) and self._is_joined(source, target):
                if self.world.lan_of[source] is self.world.lan_of[target]:
                    continue
                frame = self._send(source, target)
                self._advance(self.world.engine.now + SETTLING)
                came = sum(octets == frame for _, octets in self.world.received[target])
                if came != 1:
                    text = f"{target} saw a frame of {source} to it alone {came} times"
                    self.monitor.violations.append(f"after the quiet phase {text}")
                return

    def _is_joined(self, one: str, other: str) -> bool:
        """Tells whether two terminals are on one LAN, or in one group and Sub ID."""
        if self.world.lan_of[one] is self.world.lan_of[other]:
            return True
        here, there = (self._plan.client_of(name).name for name in (one, other))
        return self.monitor.place(here) == self.monitor.place(there)

    def _expect_arrivals(self, source: str, frame: bytes) -> None:
        for terminal, record in self.world.received.items():
            alike = self._is_joined(source, terminal)
            due = int(terminal != source and alike)
            came = sum(octets == frame for _, octets in record)
            if came != due:
                text = f"{terminal} saw a broadcast of {source} {came} times, due {due}"
                self.monitor.violations.append(f"after the quiet phase {text}")

    def _expect_balance(self) -> None:
        for (one, other), direction in self.world.network.directions.items():
            counts = direction.counts
            gone = counts["lost"] + counts["queue_full"]
            if counts["sent"] + counts["duplicated"] != counts["arrived"] + gone:
                self.monitor.violations.append(f"link {one} to {other}: {dict(counts)}")
        for name, process in self.world.clients.items():
            client = process.client
            told = sum(client.drops.values()) - sum(client.drops[one] for one in UNEXPECTED)
            told += client.loop_protection.heard
            if process.taken != client.frames_sealed + client.frames_delivered + told:
                self._out_of_balance(name, process.taken, client.drops)
        for name, port in self._relaying().items():
            totals = port.relay.flows.totals()
            echoed = port.relay.probes_echoed
            counted_in = totals.datagrams_in + echoed + port.relay.bindings.answered
            counted = (counted_in, totals.copies_out + echoed)
            if counted != (port.taken, port.copies):
                self._out_of_balance(name, port.taken, totals)

    def _relaying(self) -> dict[str, DataPort]:
        """Returns what relays at each node that does."""
        ports = {name: relay.data_port for name, relay in self.world.relays.items()}
        server = self.world.server
        if server is not None and server.data_port is not None:
            ports[server.name] = server.data_port
        return ports

    def _out_of_balance(self, name: str, taken: int, counted: object) -> None:
        self.monitor.violations.append(f"{name} took {taken} and counted {counted}")


def shared_lans(plan: Plan) -> dict[str, list[str]]:
    """Returns the clients of each LAN that has several."""
    found = {
        lan.name: [client.name for client in plan.neighbours(lan.name, Role.CLIENT)]
        for lan in plan.with_role(Role.LAN)
    }
    return {lan: names for lan, names in found.items() if len(names) > 1}


def chosen_settings(settings: WorldSettings, script: Script) -> WorldSettings:
    """Returns the settings with what a script has chosen."""
    chosen: dict[str, Any] = dict(script.choices)
    if "strip" in chosen:
        chosen["strip"] = Strip(chosen["strip"])
    return replace(settings, **chosen)


def impaired(before: Impairment, fault: Fault) -> Impairment:
    """Returns what befalls a link's packets when one more thing goes wrong."""
    share = fault.share / 100
    changes: dict[str, Impairment] = {
        "lose": replace(before, loss=share),
        "double": replace(before, duplication=share),
        "reorder": replace(before, reordering=share),
        "corrupt": replace(before, corruption=share),
        "delay": replace(before, extra_delay_ns=fault.share * 10 * MILLISECOND),
        "down": replace(before, down=True),
    }
    return changes[fault.kind]

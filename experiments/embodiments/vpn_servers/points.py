"""What servers carry, hold and cost: one point for a way of delivery, so many servers and clients.

The same frames are offered to each: every client's first terminal sends to that of one client and to
all, in rounds. The one is at another server where clients are spread evenly, whoever of them is where.
What passes and what tables hold is counted, and so exact; processor time is measured for each round.

Patent: effects E1, E4, E5.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from experiments.deployment import Deployment, Settings, deploy
from experiments.embodiments.vpn_servers.faults import server_of
from experiments.embodiments.vpn_servers.offering import cpu_ns, rest, send
from experiments.instrument.awake import kept_awake
from experiments.instrument.settings import Cores, pin, steer
from experiments.records.record import Sample, Table
from experiments.traffic.terminals import settle
from topologies.catalog import CATALOG
from topologies.emulate import emulate
from topologies.plan import Plan

Way = Literal["single", "multiserver", "cascade"]
Telling = Literal["usual", "unreported", "whole"]
"""What the representative tells the servers: changes of all rows, stations too; the same without stations; or
with each change all rows anew."""
FRAME_OCTETS = 512
UNICAST_RATE = 240.0
BROADCAST_RATE = 60.0
"""Frames a second of all senders together: what two cores carry with every process on them."""
ROUND_SECONDS = 1.5
COUNTERS = ("datagrams_in", "copies_out", "copies_to_servers", "unknown_unicast_in")
_GREETING_SECONDS = 0.03
"""Between two stations' first frames: each goes to all, which takes a core with everybody on it a while."""


@dataclass(frozen=True)
class Point:
    """A network to measure, and what its servers are told."""

    way: Way
    servers: int
    clients: int
    telling: Telling = "usual"

    def describe(self) -> str:
        """Says in a few words what it is."""
        noun = "server" if self.servers == 1 else "servers"
        how = {"usual": "", "unreported": ", no reports", "whole": ", whole tables"}[self.telling]
        return f"{self.way}, {self.servers} {noun}, {self.clients} clients{how}"

    @property
    def name(self) -> str:
        """What its figures' names end with."""
        name = f"{self.way}.{self.servers}x{self.clients}"
        return name if self.telling == "usual" else f"{name}.{self.telling}"

    def labels(self, server: str) -> dict[str, str]:
        """Returns what tells its samples from others'."""
        return {
            "way": self.way,
            "servers": str(self.servers),
            "clients": str(self.clients),
            "telling": self.telling,
            "node": server,
        }


@dataclass(frozen=True)
class Offer:
    """Which shares of the usual unicast and broadcast frames the clients offer."""

    unicast: float = 1.0
    broadcast: float = 1.0

    def frames(self, senders: int) -> tuple[int, int]:
        """Returns the unicast and broadcast frames that each of so many senders sends in a round."""
        rates = self.unicast * UNICAST_RATE, self.broadcast * BROADCAST_RATE
        unicast, broadcast = (round(rate * ROUND_SECONDS / senders) for rate in rates)
        return unicast, broadcast

    def describe(self) -> str:
        """Says in a few words what it is."""
        if self.unicast == self.broadcast:
            return f"{self.unicast:.0%} of the load"
        return f"{self.unicast:.0%} of unicast, {self.broadcast:.0%} of broadcast"


USUAL = Offer()


@dataclass
class ServerLoad:
    """What one server did while the frames flowed, and what it holds."""

    counts: dict[str, int]
    """Counters by name, of this traffic alone."""
    rows: dict[str, int]
    """Rows of each of its tables, by the table's number."""
    cpu_ns: list[int] = field(default_factory=list)
    """Processor time of each round."""

    @property
    def handled(self) -> int:
        """Datagrams that it has taken and sent."""
        return self.counts["datagrams_in"] + self.counts["copies_out"]


@dataclass
class PointResult:
    """One point as it was measured."""

    point: Point
    unicast: int
    broadcasts: int
    seconds: float
    loads: dict[str, ServerLoad]
    octets_to_servers: int
    """Octets of table messages that the representative has sent."""
    crossing: int = 0
    """Of the unicast frames those for a station at another server than the sender's."""
    placed: tuple[int, ...] = ()
    """How many clients each server has got."""
    homes: dict[str, str] = field(default_factory=dict)
    """The server that each client was given."""

    @property
    def even(self) -> bool:
        """Tells whether clients are spread as evenly as their number lets them be."""
        return max(self.placed, default=0) - min(self.placed, default=0) <= 1

    @property
    def busiest(self) -> ServerLoad:
        """The server that has handled most."""
        return max(self.loads.values(), key=lambda load: load.handled)

    def total(self, counter: str) -> int:
        """Sums a counter over the servers."""
        return sum(load.counts[counter] for load in self.loads.values())

    def samples(self) -> Iterator[Sample]:
        """Yields every raw value."""
        for name, load in self.loads.items():
            labels = self.point.labels(name)
            for counter, value in load.counts.items():
                yield Sample(f"point.{counter}", value, "datagrams", labels)
            for table, rows in load.rows.items():
                yield Sample("point.rows", rows, "rows", {**labels, "table": table})
            for index, cpu in enumerate(load.cpu_ns):
                yield Sample("point.cpu", cpu, "ns", {**labels, "round": str(index)})


def plan_of(point: Point, family: int) -> Plan:
    """Plans a point's network: one terminal a LAN, one group, and no delay."""
    several = {} if point.way == "single" else {"servers": point.servers}
    plan = CATALOG[point.way](
        clients=point.clients, terminals=1, family=family, second_group=0, **several
    )
    return replace(plan, links=tuple(replace(link, delay_ns=None) for link in plan.links))


def measure(
    point: Point, settings: Settings, family: int, rounds: int, offer: Offer = USUAL
) -> PointResult:
    """Builds a point's network, lets frames flow in so many rounds, and takes it down."""
    (result,) = measure_offers(point, settings, family, rounds, [offer])
    return result


def measure_offers(
    point: Point,
    settings: Settings,
    family: int,
    rounds: int,
    offers: Sequence[Offer],
    cores: Cores | None = None,
) -> list[PointResult]:
    """Builds a point's network, lets frames flow for one offer after the other, and takes it down.

    With ``cores`` the servers have one for themselves, which never sleeps, and all that their copies come to
    is on the other.
    """
    settings = replace(
        settings,
        distribution="full" if point.telling == "whole" else "delta",
        mac_reports=point.telling != "unreported",
    )
    with (
        tempfile.TemporaryDirectory(prefix="blindrelay-", dir="/run") as private,
        emulate(plan_of(point, family)) as network,
        deploy(network, Path(private), settings) as deployment,
        ExitStack() as stack,
    ):
        if cores is not None:
            _set_apart(deployment, cores)
            stack.enter_context(kept_awake(cores.measured))
        places = {
            client.name: server_of(deployment, client.name) for client in deployment.plan.clients()
        }
        core = None if cores is None else cores.others
        # One broadcast of each station lets every server and client know where it is.
        send(deployment, pair(places), 0, 1, _GREETING_SECONDS * len(places), FRAME_OCTETS, core)
        return [_measure(point, deployment, places, rounds, offer, core) for offer in offers]


def _servers(plan: Plan) -> list[str]:
    """Names the servers that frames pass through."""
    return [node.name for node in plan.relays or plan.servers]


def _set_apart(deployment: Deployment, cores: Cores) -> None:
    """Gives the servers a core, and the other one to clients and to what the servers send."""
    network, servers = deployment.network, _servers(deployment.plan)
    for name, process in deployment.processes.items():
        pin(process.pid, cores.measured if name in servers else cores.others)
    for link in deployment.plan.links:
        for server in set(servers).intersection(link.ends):
            other = next(end for end in link.ends if end != server)
            steer(network, other, link.interface_of(other).name, cores.others)


def _measure(
    point: Point,
    deployment: Deployment,
    places: dict[str, str],
    rounds: int,
    offer: Offer,
    core: int | None,
) -> PointResult:
    plan = deployment.plan
    servers, partners = _servers(plan), pair(places)
    asleep = deployment.network.asleep
    before = settle(lambda: _counters(deployment, servers), asleep=asleep)
    senders = len(plan.clients())
    apart = sum(places[one] != places[other] for one, other in partners.items())
    unicast, broadcasts = offer.frames(senders)
    cpu: dict[str, list[int]] = {name: [] for name in servers}
    after = before
    for _ in range(rounds):
        begin = {name: cpu_ns(deployment, name) for name in servers}
        send(deployment, partners, unicast, broadcasts, ROUND_SECONDS, FRAME_OCTETS, core)
        rest(deployment, servers)
        for name in servers:
            cpu[name].append(cpu_ns(deployment, name) - begin[name])
        after = settle(lambda: _counters(deployment, servers), asleep=asleep)
    loads = {
        name: ServerLoad(
            {key: after[name][key] - before[name][key] for key in COUNTERS},
            _rows(deployment, name),
            cpu[name],
        )
        for name in servers
    }
    representative = deployment.status(plan.servers[0].name)["counters"]
    return PointResult(
        point,
        unicast * senders * rounds,
        broadcasts * senders * rounds,
        ROUND_SECONDS * rounds,
        loads,
        representative.get("table_octets_sent", 0),
        unicast * apart * rounds,
        tuple(list(places.values()).count(name) for name in servers) if plan.relays else (),
        places,
    )


def pair(places: Mapping[str, str]) -> dict[str, str]:
    """Returns to whom each client sends, given the server that each is at: the next in turn of servers."""
    at: dict[str, list[str]] = {server: [] for server in sorted(set(places.values()))}
    for client, server in places.items():
        at[server].append(client)
    turns = [name for turn in zip_longest(*at.values()) for name in turn if name is not None]
    return {one: turns[(number + 1) % len(turns)] for number, one in enumerate(turns)}


def _counters(deployment: Deployment, servers: list[str]) -> dict[str, dict[str, int]]:
    found = {}
    for name in servers:
        counters = deployment.status(name)["counters"]
        found[name] = {key: int(counters.get(key, 0)) for key in COUNTERS}
    return found


def _rows(deployment: Deployment, name: str) -> dict[str, int]:
    """Counts the rows of a server's tables by the number that each title begins with."""
    tables: dict[str, Any] = deployment.status(name)["tables"]
    rows: dict[str, int] = {}
    for title, table in tables.items():
        number = title.split()[0]
        rows[number] = rows.get(number, 0) + len(table["rows"])
    return rows


def table(results: list[PointResult]) -> Table:
    """Lists the points for the report, a server a row."""
    rows = []
    for result in results:
        for name, load in result.loads.items():
            rows.append(
                (
                    result.point.describe(),
                    name,
                    round(load.counts["datagrams_in"] / result.seconds, 1),
                    round(load.counts["copies_out"] / result.seconds, 1),
                    round(load.counts["copies_to_servers"] / result.seconds, 1),
                    load.rows.get("507", 0),
                    load.rows.get("509", 0),
                    round(sum(load.cpu_ns) / (result.seconds * 1e9) * 100, 2),
                )
            )
    return Table(
        "What each server carries, holds and costs",
        (
            "network",
            "server",
            "datagrams in a second",
            "copies out a second",
            "of these to servers",
            "rows of 507",
            "rows of 509",
            "processor %",
        ),
        tuple(rows),
        f"{UNICAST_RATE:.0f} unicast and {BROADCAST_RATE:.0f} broadcast frames a second of "
        f"{FRAME_OCTETS} octets offered in all; counts are exact, processor time is as measured.",
    )

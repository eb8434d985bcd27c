"""Multicast routers on IPv4: FRR finds routes by OSPF and builds trees by PIM-SM and IGMPv3.

Three daemons run for each router, in its network namespace, with files and sockets in the run's
folder and a private /var/tmp, so that several routers and several networks fit on one machine.

Patent: Fig. 13 part 1301.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from topologies.daemons import MulticastRoutingError, Start
from topologies.plan import Address, Interface, Kind, Network, Plan, Role

DAEMONS = ("zebra", "ospfd", "pimd")
"""The daemons of a router; all others want the sockets of the first."""
FOLDER = Path("/usr/lib/frr")
PROGRAMS = {**{str(FOLDER / daemon): "frr" for daemon in DAEMONS}, "vtysh": "frr"}
"""Programs that multicast routers run, and the Debian packages that have them."""
USER = "frr"
"""The user and group of the package, which the daemons insist on."""
READY_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.1
_WORDS_LINES = 3
_PRIVATE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /var/tmp && exec "$@"', "sh")
"""Runs a command with a /var/tmp of its own, where daemons keep files under fixed names."""


def rendezvous_router(plan: Plan) -> str:
    """Names the router at which sources and receivers of every group first meet."""
    return next(router for router in plan.multicast_routers if plan.neighbours(router, Role.CLIENT))


def rendezvous_point(plan: Plan) -> Address:
    """Returns the rendezvous router's address that all routers are told.

    It is the one towards a client: no cut between routers takes it along, and PIM is on there,
    without which a router does not take an address for its own.
    """
    return next(
        interface.addresses[0].ip
        for interface, other in _outside(plan, rendezvous_router(plan))
        if plan.node(other).role is Role.CLIENT
    )


def configurations(plan: Plan, router: str) -> dict[str, str]:
    """Returns the configuration of each of a router's daemons."""
    texts = {
        "zebra": [],
        "ospfd": list(_ospf_lines(plan, router)),
        "pimd": list(_pim_lines(plan, router)),
    }
    return {
        daemon: "".join(f"{line}\n" for line in (f"hostname {router}", *lines))
        for daemon, lines in texts.items()
    }


def _ospf_lines(plan: Plan, router: str) -> Iterator[str]:
    """Yields what makes routes converge within a second of a change that the kernel sees.

    A change that it does not see is found within 4 s.
    """
    for interface, other in _outside(plan, router):
        if other in plan.multicast_routers:
            yield f"interface {interface.name}"
            yield " ip ospf area 0"
            yield " ip ospf network point-to-point"
            yield " ip ospf hello-interval 1"
            yield " ip ospf dead-interval 4"
            yield " ip ospf retransmit-interval 2"
        elif plan.node(other).role is Role.CLIENT:
            yield f"interface {interface.name}"
            yield " ip ospf area 0"
            yield " ip ospf passive"
    yield "router ospf"
    yield f" ospf router-id {plan.data_address(router)}"
    yield " redistribute kernel"
    yield " redistribute connected"
    yield " timers throttle spf 20 50 500"
    yield " timers throttle lsa all 0"
    yield " timers lsa min-arrival 0"


def _pim_lines(plan: Plan, router: str) -> Iterator[str]:
    yield f"ip pim rp {rendezvous_point(plan)} 224.0.0.0/4"
    yield "ip pim join-prune-interval 5"
    for interface, other in _outside(plan, router):
        if other in plan.multicast_routers:
            yield f"interface {interface.name}"
            yield " ip pim"
            yield " ip pim hello 1 4"
        elif plan.node(other).role is Role.CLIENT:
            yield f"interface {interface.name}"
            yield " ip pim"
            yield " ip igmp"
            yield " ip igmp version 3"


def start_routers(plan: Plan, folder: Path, start: Start, pid: Callable[[str], int]) -> None:
    """Starts every multicast router's daemons and waits until all know all routes and neighbours.

    Files are kept in ``folder``; ``pid`` gives a process in a node's namespaces. Trees come into
    being with the first packets. MulticastRoutingError when a daemon ends or takes longer than
    READY_SECONDS.

    Patent: Fig. 13 parts 1301, 1302.
    """
    folder.chmod(0o711)
    running = _Running(plan, folder, start, pid)
    for router in plan.multicast_routers:
        running.prepare(router)
        running.start(router, DAEMONS[0])
    for router in plan.multicast_routers:
        running.wait(router, running.answers, "zebra to listen")
        for daemon in DAEMONS[1:]:
            running.start(router, daemon)
    for router in plan.multicast_routers:
        running.wait(router, running.knows_routes, "routes to all networks")
        running.wait(router, running.knows_neighbours, "all neighbours and the rendezvous point")


class _Running:
    """The routers that are being started."""

    def __init__(self, plan: Plan, folder: Path, start: Start, pid: Callable[[str], int]) -> None:
        self._plan, self._folder, self._start, self._pid = plan, folder, start, pid
        self._daemons: dict[tuple[str, str], subprocess.Popen[Any]] = {}
        self._deadline = time.monotonic() + READY_SECONDS

    def prepare(self, router: str) -> None:
        """Writes a router's files, which belong to FRR's user."""
        own = self._folder / router
        own.mkdir(mode=0o750)
        for daemon, text in configurations(self._plan, router).items():
            path = own / f"{daemon}.conf"
            path.write_text(text, encoding="utf-8")
            shutil.chown(path, USER, USER)
        try:
            shutil.chown(own, USER, USER)
        except LookupError:
            raise MulticastRoutingError(f"user {USER}: expected the package's user") from None

    def start(self, router: str, daemon: str) -> None:
        """Starts one daemon of a router."""
        own = self._folder / router
        argv = [*_PRIVATE, str(FOLDER / daemon), "-u", USER, "-g", USER]
        argv += ["-f", str(own / f"{daemon}.conf"), "-i", str(own / f"{daemon}.pid")]
        argv += ["-z", str(own / "zserv.api"), "--vty_socket", str(own), "-P", "0"]
        with (own / f"{daemon}.log").open("wb") as log:
            self._daemons[router, daemon] = self._start(
                router, [*argv, "--log", "stdout"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait(self, router: str, ready: Callable[[str], bool], what: str) -> None:
        """Waits until a router is ``ready``; MulticastRoutingError when it will not be."""
        while not ready(router):
            ended = [
                daemon
                for (name, daemon), process in self._daemons.items()
                if name == router and process.poll() is not None
            ]
            if ended or time.monotonic() > self._deadline:
                raise MulticastRoutingError(
                    f"node {router}: expected {what}: {self._words(router)}"
                )
            time.sleep(_POLL_SECONDS)

    def answers(self, router: str) -> bool:
        """Tells whether the first daemon listens for the others."""
        return (self._folder / router / "zserv.api").is_socket()

    def knows_routes(self, router: str) -> bool:
        """Tells whether the router's kernel has a route to every outside network of the Plan."""
        return outside_networks(self._plan) <= known_networks(self._pid(router))

    def knows_neighbours(self, router: str) -> bool:
        """Tells whether PIM has met the router at the other end of each link, and knows the RP."""
        wanted = {
            interface.name
            for interface, other in _outside(self._plan, router)
            if other in self._plan.multicast_routers
        }
        neighbours = self._ask(router, "show ip pim neighbor json")
        met = {name for name, found in neighbours.items() if isinstance(found, dict) and found}
        points = self._ask(router, "show ip pim rp-info json")
        point = points.get(str(rendezvous_point(self._plan))) or [{}]
        return wanted <= met and point[0].get("outboundInterface", "Unknown") != "Unknown"

    def _ask(self, router: str, question: str) -> dict[str, Any]:
        """Asks a router's daemons; gives nothing while they cannot answer."""
        argv = ["vtysh", "--vty_socket", str(self._folder / router), "-c", question]
        asked = subprocess.run(
            argv, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
        try:
            answer: dict[str, Any] = json.loads(asked.stdout)
        except ValueError:
            return {}
        return answer

    def _words(self, router: str) -> str:
        lines: list[str] = []
        for daemon in DAEMONS:
            log = self._folder / router / f"{daemon}.log"
            if log.exists():
                text = log.read_text(encoding="utf-8", errors="replace")
                lines += text.strip().splitlines()[-_WORDS_LINES:]
        return "; ".join(lines)


def outside_networks(plan: Plan) -> set[Network]:
    """Returns all networks between the Plan's outside interfaces."""
    return {
        address.network
        for link in plan.links
        if link.kind is Kind.OUTSIDE
        for interface in link.interfaces
        for address in interface.addresses
    }


def known_networks(pid: int) -> set[Network]:
    """Reads the IPv4 networks that the kernel has a route to where the process ``pid`` is."""
    rows = Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]
    found = set()
    for row in rows:
        _, destination, _, _, _, _, _, mask, *_ = row.split()
        octets, bits = (bytes.fromhex(text)[::-1] for text in (destination, mask))
        found.add(ip_network((octets, int.from_bytes(bits, "big").bit_count())))
    return found


def _outside(plan: Plan, name: str) -> Iterator[tuple[Interface, str]]:
    """Yields a node's outside interfaces and who is at the other end."""
    for link in plan.links_of(name):
        if link.kind is Kind.OUTSIDE:
            yield link.interface_of(name), link.other_end(name)

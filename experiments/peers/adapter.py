"""What every peer's adapter says of it, and how it is brought up, bridged with the LANs and ended.

Files lie in the run's private folder, processes are recorded with their children, and nothing has
a name outside the nodes' namespaces. A client's TAP device is a port of a bridge with the client's
LAN interface, so that frames of the LAN pass as they do through our clients.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psutil

from experiments.credentials import write_private
from experiments.deployment import DeploymentError
from experiments.instrument.accounting import cpu_time
from experiments.traffic.terminals import pairs
from topologies.emulate import Network
from topologies.plan import Node, Plan

TAP = "tap0"
PORT = 4780
READY_SECONDS = 60.0
"""Until frames cross between all terminals: a polled deadline, some peers retry after 10 s and more."""
COMMAND_SECONDS = 20.0
ENDED_SECONDS = 5.0
REST_SECONDS = 2.0
LOG_LINES = 12
_BRIDGE = "bridge"
_POLL_SECONDS = 0.1
_IDLE_NS = 100_000
"""What a hub may do between two polls and still be at rest: its timers."""


@dataclass(frozen=True)
class Site:
    """Where a peer is to run: the plan of the network, and the folder that its files lie in."""

    plan: Plan
    folder: Path

    @property
    def hub(self) -> Node:
        """The node that the hub runs on."""
        (server,) = self.plan.servers
        return server

    @property
    def clients(self) -> tuple[Node, ...]:
        """The nodes that its clients run on."""
        return self.plan.clients()

    @property
    def mtu(self) -> int:
        """The LANs' MTU in octets."""
        return self.plan.lan_interface(self.clients[0].name).mtu

    def address(self, node: Node) -> str:
        """Returns the address of a node outside."""
        return str(self.plan.data_address(node.name))


@dataclass
class Running:
    """A system that is up on a network of its own."""

    name: str
    network: Network
    hub: subprocess.Popen[Any]
    kernel_time: Callable[[], int] = field(default=lambda: 0)
    """Run time of the hub's eBPF program in ns."""

    def hub_time(self) -> int:
        """Returns the CPU time of the hub's process and of all that it has started, in ns."""
        processes = [self.hub.pid, *(child.pid for child in _descendants(self.hub.pid))]
        return sum(cpu_time(process) for process in processes) + self.kernel_time()

    def hub_time_at_rest(self, seconds: float) -> int:
        """Returns the same once it has not grown for ``seconds``: what was under way is done."""
        known, since = self.hub_time(), time.monotonic()
        deadline = since + REST_SECONDS
        while (moment := time.monotonic()) < min(since + seconds, deadline):
            time.sleep(_POLL_SECONDS / 10)
            if (found := self.hub_time()) > known + _IDLE_NS:
                known, since = found, moment
        return self.hub_time()


class Peer(ABC):
    """One VPN that is not ours. Adapters say what is started; `up` does it."""

    name: str
    title: str
    programs: ClassVar[Mapping[str, str]]
    """What it runs, and the Debian packages that have it."""
    cipher: str
    remark: str = ""
    """What it cannot do here, for the table."""
    makes_device = False
    """Whether its client makes the TAP device itself, under the name that `device` says."""
    device = TAP
    ready_word = ""
    """What stands in a client's output once its device may be changed."""

    @abstractmethod
    def files(self, site: Site) -> dict[str, str]:
        """Returns all files that its processes read, by their path in the folder."""

    @abstractmethod
    def hub_command(self, site: Site) -> list[str]:
        """Returns the hub's command line; it stays in the foreground."""

    @abstractmethod
    def client_command(self, site: Site, client: Node) -> list[str]:
        """Returns a client's command line; it stays in the foreground."""

    def keys(self, site: Site) -> None:  # noqa: B027 - most adapters need nothing here
        """Makes keys that the peer's own program has to make."""

    def prepare(self, site: Site, network: Network) -> None:  # noqa: B027
        """Makes a node's own what its programs would share with others."""

    def configure(self, site: Site, network: Network) -> None:  # noqa: B027
        """Tells running processes what they do not read from files."""


def missing(programs: Mapping[str, str]) -> dict[str, str]:
    """Returns which of ``programs`` are not installed, with their packages."""
    return {name: package for name, package in programs.items() if shutil.which(name) is None}


@contextlib.contextmanager
def up(peer: Peer, network: Network, folder: Path) -> Iterator[Running]:
    """Starts hub and clients, waits until frames cross between all terminals, and ends them all.

    Raises DeploymentError with the last words of the processes when they do not.
    """
    site = Site(network.plan, folder)
    _separate(site, network)
    _write(peer, site)
    processes: dict[str, subprocess.Popen[Any]] = {}
    try:
        peer.prepare(site, network)
        for node in (site.hub, *site.clients):
            if not peer.makes_device:
                _make_device(network, node.name, site.mtu)
        for node in (site.hub, *site.clients):
            command = (
                peer.hub_command(site) if node is site.hub else peer.client_command(site, node)
            )
            processes[node.name] = _start(network, node.name, command, folder)
        peer.configure(site, network)
        for client in site.clients:
            _wait_for_device(peer, network, client.name, folder)
            _bridge(peer, network, client.name)
        wait_for_frames(network, processes, lambda: _words(processes, folder))
        yield Running(peer.name, network, processes[site.hub.name])
    finally:
        end(list(processes.values()))


def end(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """Ends processes and what they have started: SIGTERM, then SIGKILL for what is left."""
    children = [child for process in processes for child in _descendants(process.pid)]
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + ENDED_SECONDS
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    # psutil compares the time of birth: nobody who has got the number since is meant.
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=ENDED_SECONDS)


def run(network: Network, node: str, argv: Sequence[str], text: str | None = None) -> str:
    """Runs a command in a node and returns what it wrote; DeploymentError when it fails."""
    try:
        done = network.run(node, list(argv), COMMAND_SECONDS, input=text)
    except subprocess.TimeoutExpired:
        raise DeploymentError(f"{node}: {argv[0]}: no end in {COMMAND_SECONDS:.0f} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise DeploymentError(f"{node}: {argv[0]}: {said}")
    return done.stdout


def _descendants(process: int) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def _write(peer: Peer, site: Site) -> None:
    peer.keys(site)
    for name, text in peer.files(site).items():
        path = site.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text.encode())


def _separate(site: Site, network: Network) -> None:
    """Leaves clients no way to each other but the hub: some peers go round it where they can."""
    for client in site.clients:
        lines = [
            f"route add blackhole {site.address(other)}\n"
            for other in site.clients
            if other is not client
        ]
        run(network, client.name, ["ip", "-batch", "-"], "".join(lines))


def _make_device(network: Network, node: str, mtu: int) -> None:
    run(network, node, ["ip", "tuntap", "add", "dev", TAP, "mode", "tap"])
    run(network, node, ["ip", "link", "set", "dev", TAP, "mtu", str(mtu), "up"])


def _start(
    network: Network, node: str, command: Sequence[str], folder: Path
) -> subprocess.Popen[Any]:
    with (folder / f"{node}.log").open("ab") as log:
        return network.popen(
            node, command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )


def _wait_for_device(peer: Peer, network: Network, client: str, folder: Path) -> None:
    def is_there() -> bool:
        said = _output(folder, client)
        return peer.device in network.counters(client) and peer.ready_word in said

    what = f"{peer.name} at {client}: device {peer.device} is not ready"
    _until(is_there, what, lambda: _output(folder, client))


def _bridge(peer: Peer, network: Network, client: str) -> None:
    """Joins a client's TAP device and its LAN; the kernel says nothing of its own there."""
    inside = network.plan.lan_interface(client)
    silent = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
    run(network, client, ["tee", silent], "1")
    lines = (
        f"link add name {_BRIDGE} mtu {inside.mtu} type bridge "
        "stp_state 0 mcast_snooping 0 forward_delay 0",
        # The bridge keeps an interface's address for itself, and some peers give theirs a station's.
        f"link set dev {peer.device} address 02:ff:00:00:00:01 mtu {inside.mtu}",
        f"link set dev {peer.device} master {_BRIDGE} up",
        f"link set dev {inside.name} master {_BRIDGE}",
        f"link set dev {_BRIDGE} up",
    )
    run(network, client, ["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines))


def wait_for_frames(
    network: Network, processes: Mapping[str, subprocess.Popen[Any]], words: Callable[[], str]
) -> None:
    """Waits until every terminal reaches every other; DeploymentError with ``words`` otherwise."""

    def crosses() -> bool:
        for name, process in processes.items():
            if process.poll() is not None:
                raise DeploymentError(f"{name}: ended with {process.returncode}\n{words()}")
        return all(_is_reached(network, *pair) for pair in pairs(network.plan))

    _until(crosses, "frames do not cross between all terminals", words)


def _is_reached(network: Network, source: str, destination: str) -> bool:
    address = str(network.plan.lan_interface(destination).addresses[0].ip)
    argv = ["ping", "-n", "-c", "1", "-W", "1", address]
    return network.run(source, argv, COMMAND_SECONDS).returncode == 0


def _until(condition: Callable[[], bool], what: str, words: Callable[[], str]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise DeploymentError(f"{what} within {READY_SECONDS:.0f} s\n{words()}")
        time.sleep(_POLL_SECONDS)


def _words(processes: Mapping[str, subprocess.Popen[Any]], folder: Path) -> str:
    """Returns the last words of all processes."""
    return "\n".join(
        f"{name}: {line}"
        for name in processes
        for line in _output(folder, name).splitlines()[-LOG_LINES:]
    )


def _output(folder: Path, node: str) -> str:
    """Returns all that a node's process has written."""
    return (folder / f"{node}.log").read_text(encoding="utf-8", errors="replace")

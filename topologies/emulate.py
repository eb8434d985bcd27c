"""Builds a Plan as a network of Mininet's: namespaces, veth pairs and bridges of this kernel.

Every node, bridges too, has a network namespace of its own, so that nothing is named in the
caller's and everything goes with the nodes' last process.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mininet.cli import CLI
from mininet.link import Intf
from mininet.link import Link as MininetLink
from mininet.net import Mininet
from mininet.node import Node as MininetNode
from mininet.nodelib import LinuxBridge

from topologies.daemons import MulticastRoutingError
from topologies.plan import Interface, Link, Plan, Role
from topologies.processes import ProcessRecord, deferred_signals
from topologies.routers import start_routers
from topologies.settings import first_script, link_batch, second_script
from topologies.shaping import Forwarder, ShapingError, has_netem, netem_losses, netem_script

STOP_DEADLINE_S = 5.0
"""Seconds that processes have between SIGTERM and SIGKILL."""

_SETUP_DEADLINE_S = 30.0
_POLL_S = 0.02
_COUNTERS = (
    ("rx_bytes", 0),
    ("rx_packets", 1),
    ("rx_errors", 2),
    ("rx_dropped", 3),
    ("tx_bytes", 8),
    ("tx_packets", 9),
    ("tx_errors", 10),
    ("tx_dropped", 11),
)
"""Places of the counters in a line of /proc/net/dev."""


class EmulationError(RuntimeError):
    """Says which part of a Plan this machine's kernel or tools refused, and their words."""


class _Recorded(MininetNode):  # type: ignore[misc]
    """Keeps every shell it starts in the list `shells`, also when starting it fails half-way."""

    isSetup = True  # noqa: N815 - Mininet's name: skips its search for ifconfig

    def _popen(self, command: list[str], **arguments: Any) -> subprocess.Popen[Any]:
        process = subprocess.Popen(command, **arguments)
        self.params["shells"].append(process)
        return process


class _Host(_Recorded):
    """A node that Mininet leaves unconfigured: the Plan says what its interfaces are."""


class _Bridge(_Recorded, LinuxBridge):  # type: ignore[misc]
    """A LAN whose bridge device is made with the links and goes with its namespace."""

    controlIntf = None  # noqa: N815 - Mininet's name

    def start(self, _controllers: object) -> None:
        """Has nothing left to do."""

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 - Mininet's name
        """Has nothing to do: `terminate` ends the namespace."""


class CommandLine(CLI):  # type: ignore[misc]
    """Mininet's command line, which takes for a node's name all that a Plan allows in one."""

    identchars = f"{CLI.identchars}-."


class _Interface(Intf):  # type: ignore[misc]
    """Tells Mininet's CLI an interface's addresses from the Plan instead of asking ifconfig."""

    def __init__(self, name: str, planned: Interface, **parameters: Any) -> None:
        super().__init__(name, **parameters)
        self.mac = planned.mac
        if planned.addresses:
            self.ip = str(planned.addresses[0].ip)
            self.prefixLen = planned.addresses[0].network.prefixlen

    def config(self, **_parameters: Any) -> dict[str, str]:
        """Changes nothing."""
        return {}

    def updateIP(self) -> str | None:  # noqa: N802 - Mininet's name
        """Returns the planned address, for `t1a ping t1b` on the command line."""
        address: str | None = self.ip
        return address


class _Cable(MininetLink):  # type: ignore[misc]
    """Tells Mininet of a link that is made and unmade elsewhere."""

    @classmethod
    def makeIntfPair(cls, *_arguments: Any, **_parameters: Any) -> None:  # noqa: N802
        """Makes nothing: all links are made at once."""

    def stop(self) -> None:
        """Has nothing to do: the link goes with the namespaces of its ends."""


class Network:
    """A Plan that is up. Made by `emulate`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._record = ProcessRecord()
        self._shells: list[subprocess.Popen[Any]] = []
        self._forwarder: Forwarder | None = None
        # Mininet would set kernel and process limits for the whole machine at its first use.
        Mininet.inited = True
        self._mininet = Mininet(topo=None, build=False, controller=None)

    def pid(self, node: str) -> int:
        """Returns the ID of the process that keeps a node's namespaces open."""
        self.plan.node(node)
        identifier: int = self._mininet[node].pid
        return identifier

    def popen(
        self, node: str, argv: Sequence[str], **popen_arguments: Any
    ) -> subprocess.Popen[Any]:
        """Starts a command, without a shell, in a node's namespaces and a session of its own.

        Takes the arguments of subprocess.Popen. What still runs when the network is taken down
        gets SIGTERM, and SIGKILL after `STOP_DEADLINE_S`.
        """
        return self._record.start(self._inside(node, argv), **popen_arguments)

    def run(
        self, node: str, argv: Sequence[str], timeout: float | None = None, **popen_arguments: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end in a node; subprocess.TimeoutExpired after `timeout` s."""
        return self._record.run(self._inside(node, argv), timeout, **popen_arguments)

    def asleep(self) -> bool:
        """Tells whether nothing that was started in the nodes runs, or waits for a processor to run."""
        return self._record.asleep()

    def counters(self, node: str) -> dict[str, dict[str, int]]:
        """Reads a node's interface counters: rx_ and tx_ packets, bytes, errors and dropped.

        The loopback interface is left out; a LAN has its bridge device beside its ports.
        EmulationError when links of the network are gone.
        """
        self.check()
        lines = Path(f"/proc/{self.pid(node)}/net/dev").read_text().splitlines()[2:]
        counters = {}
        for line in lines:
            name, _, values = line.partition(":")
            words = values.split()
            counters[name.strip()] = {label: int(words[place]) for label, place in _COUNTERS}
        counters.pop("lo", None)
        return counters

    def link_losses(self) -> dict[tuple[str, str], int]:
        """Counts the frames that had no room on links with delay or rate.

        Keys are the sending and the receiving node. EmulationError when links are gone.
        """
        self.check()
        try:
            if self._forwarder is not None:
                return self._forwarder.losses()
            return netem_losses(self.plan, self.run)
        except ShapingError as error:
            raise EmulationError(str(error)) from None

    def check(self) -> None:
        """Raises EmulationError when links of the network are gone: their process has ended."""
        if self._forwarder is not None and (reason := self._forwarder.ended()):
            raise EmulationError(reason)

    def cli(self) -> None:
        """Opens Mininet's command line and returns when the user leaves it."""
        CommandLine(self._mininet)

    def build(self) -> None:
        """Makes namespaces, links and addresses; EmulationError when something is refused."""
        for index, node in enumerate(self.plan.nodes, 1):
            with deferred_signals():
                self._add(node.name, node.role, index)
        for link in self.plan.links:
            self._declare(link)
        self._mininet.built = True
        self._mininet.start()
        self._configure(first_script)
        processes = {node.name: self.pid(node.name) for node in self.plan.nodes}
        batch = ["ip", "-batch", "-"]
        shaped = [link for link in self.plan.links if link.shaped]
        in_kernel = bool(shaped) and has_netem()
        plain = [link for link in self.plan.links if in_kernel or not link.shaped]
        text = link_batch(self.plan, plain, processes)
        made = self._record.run(batch, _SETUP_DEADLINE_S, input=text)
        if made.returncode:
            raise EmulationError(f"links of {self.plan.name}: {_one_line(made.stderr)}")
        if shaped and not in_kernel:
            self._start_forwarder(shaped, processes)
        self._configure(second_script)
        if in_kernel:
            self._configure(netem_script)
        self._wait_for_bridges()

    def _start_forwarder(self, links: Sequence[Link], processes: Mapping[str, int]) -> None:
        try:
            self._forwarder = Forwarder(links, processes, self._record.start, _SETUP_DEADLINE_S)
        except ShapingError as error:
            raise EmulationError(str(error)) from None

    def _wait_for_bridges(self) -> None:
        """Waits until every port of every LAN forwards: a frame before that would be lost."""
        deadline = time.monotonic() + _SETUP_DEADLINE_S
        for lan in self.plan.with_role(Role.LAN):
            while waiting := self._idle_ports(lan.name):
                if time.monotonic() > deadline:
                    raise EmulationError(f"bridge {lan.name}: {waiting} ports do not forward")
                time.sleep(_POLL_S)

    def _idle_ports(self, lan: str) -> int:
        """Counts a bridge's ports that do not forward yet."""
        shown = self.run(lan, ["bridge", "-json", "link", "show"], _SETUP_DEADLINE_S)
        if shown.returncode:
            raise EmulationError(f"bridge {lan}: {_one_line(shown.stderr)}")
        return sum(port.get("state") != "forwarding" for port in json.loads(shown.stdout or "[]"))

    def stop(self) -> None:
        """Ends the recorded processes, then the nodes; may be called in any state, repeatedly."""
        with deferred_signals():
            try:
                self._record.stop(STOP_DEADLINE_S)
            finally:
                self._stop_nodes()

    def _stop_nodes(self) -> None:
        network, self._mininet = self._mininet, Mininet(topo=None, build=False, controller=None)
        try:
            network.stop()
        finally:
            # Those of nodes that Mininet does not know of yet, if any.
            for shell in self._shells:
                if shell.poll() is None:
                    shell.kill()
                    shell.wait()
            self._shells.clear()

    def _add(self, name: str, role: Role, index: int) -> None:
        if role is Role.LAN:
            self._mininet.addSwitch(
                name, _Bridge, inNamespace=True, dpid=f"{index:x}", shells=self._shells
            )
            return
        self._mininet.addHost(name, _Host, ip=None, shells=self._shells)

    def _declare(self, link: Link) -> None:
        first, second = link.interfaces
        self._mininet.addLink(
            *link.ends,
            cls=_Cable,
            intf=_Interface,
            intfName1=first.name,
            intfName2=second.name,
            params1={"planned": first},
            params2={"planned": second},
        )

    def _configure(self, script_of: Callable[[Plan, str], str]) -> None:
        """Runs a script in every node, all at the same time."""
        running = []
        for node in self.plan.nodes:
            process = self.popen(
                node.name,
                ["sh", "-c", script_of(self.plan, node.name)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            running.append((node.name, process))
        for name, process in running:
            _, errors = process.communicate(timeout=_SETUP_DEADLINE_S)
            self._record.forget(process)
            if process.returncode:
                raise EmulationError(f"node {name}: {_one_line(errors)}")

    def _inside(self, node: str, argv: Sequence[str]) -> list[str]:
        return ["mnexec", "-a", str(self.pid(node)), *argv]


@contextlib.contextmanager
def emulate(plan: Plan) -> Iterator[Network]:
    """Builds a network, hands it out, and takes it down whatever happened.

    Needs root. EmulationError when the kernel refuses a part, or when links were gone at the end.
    """
    network = Network(plan)
    with contextlib.ExitStack() as stack:
        stack.callback(network.stop)
        network.build()
        if plan.multicast_routers:
            _start_routers(network, stack)
        stack.push(lambda kind, _error, _trace: _check_at_end(network, kind))
        yield network


def _check_at_end(network: Network, kind: type[BaseException] | None) -> None:
    """Says that links were gone rather than what came of it; an interruption stays what it is."""
    if kind is None or issubclass(kind, Exception):
        network.check()


def _start_routers(network: Network, stack: contextlib.ExitStack) -> None:
    """Starts the multicast routers' daemons; their files outlive them by nothing."""
    # An isolated run has a /run of its own, which goes with it even when it is killed.
    folder = tempfile.TemporaryDirectory(prefix="blindrelay-routers-", dir="/run")
    stack.callback(folder.cleanup)
    stack.callback(network.stop)
    try:
        start_routers(network.plan, Path(folder.name), network.popen, network.pid)
    except MulticastRoutingError as error:
        raise EmulationError(str(error)) from None


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())

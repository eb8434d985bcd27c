"""Networks for the tests of the running system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.deployment import Settings, write_files
from tests.namespaces import inside_new
from tests.nodes.lans import ip, quiet, wait_until_up
from tests.nodes.running import Crew, crew_on
from topologies.catalog import single
from topologies.emulate import Network, emulate
from topologies.plan import Plan


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Plans a server, clients c1 to c3 of group 1001 and c4 of 1002, and one terminal on each LAN."""
    return single(clients=3, terminals=1, second_group=1)


@pytest.fixture(scope="session")
def files(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes what the processes of the plan read, once for all tests."""
    folder = tmp_path_factory.mktemp("files")
    write_files(plan, folder, Settings())
    return folder


@pytest.fixture(scope="module")
def network(plan: Plan) -> Iterator[Network]:
    """Builds the planned network."""
    with emulate(plan) as built:
        yield built


@pytest.fixture
def crew(network: Network, files: Path) -> Iterator[Crew]:
    """Gives processes for one test, none of them started."""
    with crew_on(network, files) as gathered:
        yield gathered


@pytest.fixture(scope="class")
def served(network: Network, files: Path) -> Iterator[Crew]:
    """Gives a server that is up, for all tests of a class."""
    with crew_on(network, files) as gathered:
        gathered.up("server")
        yield gathered


@pytest.fixture(scope="module")
def running(network: Network, files: Path) -> Iterator[Crew]:
    """Gives a server with c1, c2 and c4 registered, for all tests of a module; c3 is free."""
    with crew_on(network, files) as gathered:
        gathered.up("server", "c1", "c2", "c4")
        yield gathered


@pytest.fixture
def private_network() -> Iterator[None]:
    """Puts this thread into a new network namespace, and back."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a network namespace")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(inside_new())
        except OSError as error:
            pytest.skip(f"no network namespaces: {error.strerror}")
        yield


@pytest.fixture
def wire(private_network: None) -> tuple[str, str]:
    """Makes two veth interfaces that are up and silent: no IPv6, no addresses."""
    ip("link", "add", "lan", "type", "veth", "peer", "name", "far")
    for name in ("lan", "far"):
        quiet(name)
        ip("link", "set", name, "up")
    wait_until_up("lan", "far")
    return "lan", "far"

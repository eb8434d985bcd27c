"""Networks whose control channels are inside SAs; only where strongSwan is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.deployment import Settings, write_files
from nodes.ike.machine import missing_packages
from tests.nodes.running import Crew, crew_on
from topologies.emulate import Network
from topologies.plan import Plan


@pytest.fixture(scope="session")
def strongswan(request: pytest.FixtureRequest) -> None:
    """Skips what needs strongSwan where it is missing; fails it under --require-emulated."""
    missing = missing_packages()
    if not missing:
        return
    reason = f"missing Debian packages: {' '.join(missing)}"
    if request.config.getoption("--require-emulated"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def ike_files(strongswan: None, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes what the processes of the plan read, for control by IKE."""
    folder = tmp_path_factory.mktemp("ike-files")
    write_files(plan, folder, Settings(control="ike"))
    return folder


@pytest.fixture
def ike_crew(network: Network, ike_files: Path) -> Iterator[Crew]:
    """Gives processes for one test, none of them started."""
    with crew_on(network, ike_files) as gathered:
        yield gathered


@pytest.fixture(scope="class")
def ike_served(network: Network, ike_files: Path) -> Iterator[Crew]:
    """Gives a server that is up, for all tests of a class."""
    with crew_on(network, ike_files) as gathered:
        gathered.up("server")
        yield gathered

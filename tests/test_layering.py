"""Holds the table "who may import whom" over the whole import graph.

The contracts are in setup.cfg. Here they are run, shown to fail when broken, and joined by the
rules that say all that a package may reach, which import-linter cannot express.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "nodes", "simulator", "topologies", "experiments")

# The libraries that each part may use besides the standard library; the longest name counts.
LIBRARIES = {
    "protocol": {"msgspec"},
    "protocol.cipher": {"cryptography"},
    "protocol.hop_tag": {"siphashc"},
    "protocol.relay": set(),
    "nodes": {"argon2", "msgspec", "rich", "tomli"},
    "nodes.client": {"msgspec", "uvloop"},
    "nodes.ike": {"vici"},
    "nodes.large_frames": {"numpy"},
    "nodes.portal": {"jinja2", "msgspec", "starlette", "uvicorn"},
    "nodes.relay": {"uvloop"},
    "nodes.server": {"uvloop"},
    "simulator": {"networkx", "numpy", "scipy"},
    "simulator.scale": {"networkx", "numpy", "scipy", "topohub"},
    "topologies": {"networkx"},
    "topologies.emulate": {"mininet", "networkx"},
}

# All of the project that these parts may reach, however indirectly.
REACH = {
    "protocol.wire": {"protocol.wire", "protocol.errors", "protocol.types"},
    "protocol.relay": {
        "protocol.binding_tag",
        "protocol.errors",
        "protocol.hop_tag",
        "protocol.learning",
        "protocol.relay",
        "protocol.types",
        "protocol.wire.binding",
        "protocol.wire.esp",
        "protocol.wire.ethernet",
        "protocol.wire.ip",
        "protocol.wire.probe",
        "protocol.wire.vpn_header",
    },
    "protocol.distribution.subscriber": {
        "protocol.binding_tag",
        "protocol.distribution.addresses",
        "protocol.distribution.checks",
        "protocol.distribution.counts",
        "protocol.distribution.epochs",
        "protocol.distribution.in_force",
        "protocol.distribution.tables",
        "protocol.errors",
        "protocol.hop_tag",
        "protocol.learning",
        "protocol.relay",
        "protocol.types",
        "protocol.wire",
    },
}

# What must not even be loaded once the relay is: a package's __init__ runs with every module in it.
KEYS_AND_CIPHERS = (
    "argon2",
    "cryptography",
    "nodes.users",
    "protocol.cipher",
    "protocol.client",
    "protocol.hub",
    "protocol.management",
    "protocol.security_association",
    "protocol.wire.messages",
)

# What a client has no use for, and what would make it start later.
NOT_A_CLIENTS = (
    "argon2",
    "nodes.batch_plane",
    "nodes.data_plane",
    "nodes.ike",
    "nodes.kernel",
    "nodes.large_frames",
    "numpy",
    "protocol.distribution",
    "protocol.hub",
    "protocol.management",
    "protocol.relay",
    "rich",
)

# An import that breaks the rules: where it stands, and the name of the contract that must notice.
OFFENCES = [
    ("protocol/relay", "import protocol.cipher", "The relay cannot decrypt"),
    ("protocol/distribution/subscriber", "import protocol.management", "What brings a VPN server"),
    ("nodes/reporter", "import protocol.management.placement", "A process that only relays"),
    ("nodes/relay_view", "import nodes.users", "A process that only relays"),
    ("protocol/wire", "import socket", "neither input nor output"),
    ("protocol/learning", "import time", "neither input nor output"),
    ("protocol/wire/esp", "import cryptography", "only protocol.cipher imports cryptography"),
    ("simulator", "import random", "clock nor chance"),
    ("simulator", "import nodes", "The simulator knows"),
    ("protocol/types", "import nodes", "The protocol stands alone"),
    ("nodes", "import topologies.plan", "nothing of networks"),
    ("topologies/plan", "import protocol.types", "nothing of what runs on them"),
    ("topologies/plan", "import mininet.net", "free of Mininet"),
    ("experiments", "import mininet.net", "Only topologies.emulate imports Mininet"),
    (
        "experiments",
        "import matplotlib.pyplot",
        "Only modules that draw plots import",
    ),
    ("experiments/sweep/command", "import distributed", "Dask, which runs what it is sent"),
    ("nodes", "import scapy.all", "scapy (GPL-2.0)"),
    ("nodes/server", "import nodes.portal.pages", "Web libraries stay in nodes.portal"),
    ("nodes/lan", "import numpy", "Of the nodes only nodes.large_frames"),
    ("nodes/udp", "import nodes.large_frames", "Servers load no numpy"),
    ("nodes/status", "import starlette", "Web libraries stay in nodes.portal"),
]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """The checkout's import graph, with libraries as single modules."""
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def check_contracts(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter over the packages in `checkout` with the contracts of its setup.cfg."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=checkout,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def modules_of(graph: grimp.ImportGraph, name: str) -> set[str]:
    """The module or package `name` and all that is in it."""
    return {name} | graph.find_descendants(name)


def test_the_packages_import_each_other_only_as_the_contracts_allow() -> None:
    outcome = check_contracts(CHECKOUT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.fixture(scope="module")
def copied_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and their contracts, to be spoilt."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copy(CHECKOUT / "setup.cfg", copy)
    for package in PACKAGES:
        shutil.copytree(
            CHECKOUT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return copy


@pytest.mark.parametrize(("module", "statement", "contract"), OFFENCES)
def test_a_forbidden_import_breaks_its_contract(
    copied_checkout: Path, module: str, statement: str, contract: str
) -> None:
    source = copied_checkout / f"{module}.py"
    if not source.exists():
        source = copied_checkout / module / "__init__.py"
    kept = source.read_text(encoding="utf-8")
    source.write_text(f"{kept}\n{statement}\n", encoding="utf-8")
    try:
        outcome = check_contracts(copied_checkout)
    finally:
        source.write_text(kept, encoding="utf-8")
    broken = [line for line in outcome.stdout.splitlines() if " BROKEN" in line]
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert any(contract in line for line in broken), outcome.stdout


@pytest.mark.parametrize("part", REACH)
def test_a_part_reaches_nothing_of_the_project_but_what_is_listed(
    graph: grimp.ImportGraph, part: str
) -> None:
    allowed: set[str] = set()
    for name in REACH[part]:
        allowed |= modules_of(graph, name) if name in graph.modules else {name}
    upstream = graph.find_upstream_modules(part, as_package=True)
    reached = {name for name in upstream if name.split(".")[0] in PACKAGES}
    packages = {name.rsplit(".", 1)[0] for name in allowed}
    assert reached - allowed - packages == set()


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "experiments"])
def test_a_package_uses_no_library_but_those_listed(graph: grimp.ImportGraph, package: str) -> None:
    surplus = {
        f"{module} -> {imported}"
        for module in modules_of(graph, package)
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.split(".")[0] not in PACKAGES
        and imported not in sys.stdlib_module_names
        and imported not in libraries_of(module)
    }
    assert surplus == set()


def libraries_of(module: str) -> set[str]:
    """The libraries that LIBRARIES grants to `module` by the longest name that it is in."""
    granted = [name for name in LIBRARIES if f"{module}.".startswith(f"{name}.")]
    return LIBRARIES[max(granted, key=len)]


@pytest.mark.parametrize("module", ["protocol.relay", "nodes.relay"])
def test_loading_the_relay_loads_no_key_and_no_cipher(module: str) -> None:
    assert [name for name in loaded_with(module) if name.startswith(KEYS_AND_CIPHERS)] == []


def test_loading_the_client_loads_nothing_of_servers_nor_of_other_ways_to_get_keys() -> None:
    assert [name for name in loaded_with("nodes.client") if name.startswith(NOT_A_CLIENTS)] == []


def test_what_a_server_loads_would_be_noticed_in_a_client() -> None:
    found = [name for name in loaded_with("nodes.server") if name.startswith(NOT_A_CLIENTS)]
    assert {"protocol.relay", "nodes.batch_plane"} <= set(found)


def loaded_with(module: str) -> list[str]:
    """All modules that a fresh interpreter has after loading `module`."""
    program = f"import sys, {module}; print('\\n'.join(sys.modules))"
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    loaded = outcome.stdout.split()
    assert module in loaded
    return loaded


def test_the_checkout_has_no_package_that_the_contracts_do_not_know() -> None:
    found = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}
    assert found - {"tests"} <= set(PACKAGES)

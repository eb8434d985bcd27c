"""Both simulators as programs: compiled where needed, run in a process of their own, their files read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.isolation import MachineError
from experiments.ns3.arrays import Outcome
from experiments.records.environment import CHECKOUT

SOURCE = Path(__file__).with_name("fanout.cc")
PACKAGE = "libns3-dev"
SCHEDULERS = ("Map", "Heap", "Calendar", "PriorityQueue")
"""ns-3's event lists that are fit for many events."""
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-flto", "-Wall", "-Wextra")
_LIBRARIES = ("-lns3-point-to-point", "-lns3-network", "-lns3-core")
_MOST_SECONDS = 300


def compile_fanout(folder: Path) -> Path:
    """Compiles our ns-3 program into a folder; MachineError where ns-3 or the compiler is missing."""
    program = folder / "fanout"
    try:
        _run(["g++", *_FLAGS, "-o", str(program), str(SOURCE), *_LIBRARIES])
    except FileNotFoundError as error:
        raise MachineError(f"missing program: g++ (Debian packages g++ and {PACKAGE})") from error
    except subprocess.CalledProcessError as error:
        if "ns3/" in error.stderr and "No such file" in error.stderr:
            raise MachineError(f"missing Debian package: {PACKAGE} (ns-3 3.37 or newer)") from error
        first = next((line for line in error.stderr.splitlines() if "error" in line), "no message")
        raise MachineError(f"{SOURCE.name} does not compile with this ns-3: {first}") from error
    return program


def version() -> str:
    """Returns the version of Debian's package, ``unknown`` where ns-3 came another way."""
    argv = ["dpkg-query", "--show", "--showformat", "${Version}", PACKAGE]
    try:
        return _run(argv).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"


def run_ns3(program: Path, scenario: Path, shape: tuple[int, int], scheduler: str) -> Outcome:
    """Has ns-3 simulate a scenario file of so many frames and clients."""
    return _simulated([str(program)], scenario, shape, [f"ns3::{scheduler}Scheduler"])


def run_arrays(scenario: Path, shape: tuple[int, int]) -> Outcome:
    """Has our arrays do the same, likewise in a process of its own."""
    return _simulated([sys.executable, "-m", "experiments.ns3.arrays"], scenario, shape, [])


def _simulated(
    argv: Sequence[str], scenario: Path, shape: tuple[int, int], more: Sequence[str]
) -> Outcome:
    files = [scenario.with_suffix(suffix) for suffix in (".arrivals", ".loads")]
    said = _run([*argv, str(scenario), *map(str, files), *more]).stdout
    arrivals, loads = (np.fromfile(path, np.int64) for path in files)
    return Outcome(arrivals.reshape(shape), loads.reshape(-1, 2, 2), float(said.split()[0]))


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=_MOST_SECONDS
    )

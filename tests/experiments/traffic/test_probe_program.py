"""Shows that the probe program loses nothing and sees everything, between two namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from experiments.records.environment import CHECKOUT
from experiments.traffic.deliveries import compare, expected_deliveries
from experiments.traffic.probe import ReceiveEnd, SendPlan, Stream
from experiments.traffic.probe_program import read_received

# Runs inside a private network namespace: a pair of joined interfaces, a receiver on one of them
# and a sender on the other, and orderly ends of both.
WORLD = """
import json, pathlib, signal, subprocess, sys
folder, marker = pathlib.Path(sys.argv[1]), sys.argv[2]
for line in ("link add near type veth peer name far", "link set near up", "link set far up"):
    subprocess.run(["ip", *line.split()], check=True)
while "state UP" not in subprocess.run(["ip", "link", "show", "near"], stdout=-1, text=True).stdout:
    pass
receive = [sys.executable, "-m", "experiments.traffic.probe", "receive", "--interface", "far",
           "--out", str(folder / "out"), "--deadline", "20", *sys.argv[3:]]
receiver = subprocess.Popen(receive, stdout=subprocess.PIPE, text=True)
try:
    assert receiver.stdout.readline() == "ready\\n"
    send = [sys.executable, "-m", "experiments.traffic.probe", "send", "--interface", "near",
            "--plan", str(folder / "plan")]
    (folder / "sent").write_text(subprocess.run(send, check=True, stdout=-1, text=True).stdout)
    if "--until" not in sys.argv:
        receiver.send_signal(signal.SIGTERM)
    assert receiver.wait(20) == 0
finally:
    receiver.kill()
    receiver.wait()
"""

PLAN = SendPlan(
    "5a" * 16,
    9,
    "02:00:00:00:aa:01",
    (
        Stream("02:00:00:00:bb:01", 64, 1000, 20_000.0),
        Stream("ff:ff:ff:ff:ff:ff", 1360, 3000, 20_000.0, first_sequence=1000),
    ),
)


def exchange(folder: Path, *arguments: str) -> None:
    """Sends the plan's frames to a receiver in a namespace of their own."""
    (folder / "plan").write_bytes(msgspec.json.encode(PLAN))
    command = ["unshare", "--net", sys.executable, "-c", textwrap.dedent(WORLD), str(folder)]
    result = subprocess.run(
        [*command, PLAN.marker, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.emulated
@pytest.mark.parametrize("arguments", [(), ("--until", "4000")])
def test_thousands_of_frames_a_second_arrive_once_whomever_they_are_for(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    exchange(tmp_path, *arguments)
    records = read_received(tmp_path / "out")
    end = records[-1]
    assert end == ReceiveEnd(4000, 0, "count" if arguments else "terminated")
    expected = expected_deliveries([PLAN], lambda plan, stream: ["far"])
    outcome = compare(expected, {"far": records})
    assert outcome.ok, outcome.describe()
    assert json.loads((tmp_path / "sent").read_text())["frames"] == 4000


@pytest.mark.emulated
def test_an_interface_that_is_not_there_gives_one_line_and_exit_code_3(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "experiments.traffic.probe",
        "receive",
        "--interface",
        "nowhere",
    ]
    result = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 3
    assert result.stderr == "probe: interface nowhere: No such device\n"

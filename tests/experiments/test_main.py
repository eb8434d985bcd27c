"""The experiments' command line: what is wrong is one line, and an interrupted run leaves nothing."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from experiments.__main__ import MODULES, main
from tests.experiments.runs import CHECKOUT, SMALLEST, Ended, end, started
from tests.nodes.running import eventually
from tests.topologies.leftovers import links_here, watched

Runs = tuple[Path, dict[str, Ended]]

NOT_IN_A_MODULE = {"run", "cli", "report"}

USAGE: dict[str, tuple[list[str], str]] = {
    "topology": (["run", "--topo", "nosuch"], "TOPO=nosuch: expected one of"),
    "one client": (["run", "--clients", "1"], "clients: expected 2 to 64, got 1"),
    "too many for one machine": (["run", "--clients", "65"], "clients: expected 2 to 64, got 65"),
    "three in subgroups": (
        ["run", "--topo", "subgroups", "--clients", "3"],
        "subgroups: clients: expected 4 to 64, got 3",
    ),
    "too many in multicast": (
        ["run", "--topo", "multicast", "--clients", "65"],
        "multicast: clients: expected 2 to 48, got 65",
    ),
    "no terminal": (["run", "--terminals", "0"], "terminals: expected 1 to 26, got 0"),
    "no number": (
        ["run", "--clients", "two"],
        "argument --clients: expected a whole number, got two",
    ),
    "family": (["run", "--family", "5"], "--family"),
    "strip": (["run", "--strip", "all"], "--strip"),
    "hop tags": (["run", "--hop-tags", "on"], "--hop-tags"),
    "hop tags without a hop": (
        ["run", "--topo", "multicast", "--hop-tags", "required"],
        "TOPO=multicast: --hop-tags: expected off: no relay",
    ),
    "seed": (
        ["run", "--seed", "-1"],
        "argument --seed: expected a whole number from 0, got -1",
    ),
    "series": (
        ["instrument", "--series", "0"],
        "argument --series: expected a whole number from 1, got 0",
    ),
    "clients to start": (
        ["startup", "--clients", "65"],
        "argument --clients: expected a whole number from 2 to 64, got 65",
    ),
    "unknown option": (["run", "--nosuch"], "--nosuch"),
    "unknown command": (["fly"], "fly"),
    "no command": ([], "are required: run|"),
    "servers of one server": (["run", "--servers", "3"], "TOPO=single: --servers: expected none"),
    "no server": (
        ["run", "--topo", "cascade", "--servers", "0"],
        "cascade: servers: expected 1 to 8, got 0",
    ),
    "no such file": (["run", "--topo", "my.graphml"], "my.graphml: expected a file that is there"),
    "clients of a file": (
        ["run", "--topo", "my.graphml", "--clients", "3"],
        "TOPO=my.graphml: --clients: expected none",
    ),
    "topology for cli": (["cli", "--topo", "nosuch"], "TOPO=nosuch: expected one of"),
    "no peers": (["run", "--peers-only"], "--peers-only: expected --peers beside it"),
    "no runs to report": (["report"], "results/reference: expected"),
}


def _main(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as error:
        return int(error.code or 0)


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process seem not to be root."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)


def test_every_command_has_a_module_that_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fly"])
    _, _, listed = capsys.readouterr().err.partition("choose from ")
    assert set(re.findall(r"[a-z0-9]+", listed)) == {*MODULES, *NOT_IN_A_MODULE}
    for module in MODULES.values():
        assert callable(importlib.import_module(module).run)


@pytest.mark.parametrize("name", USAGE)
def test_a_mistake_on_the_command_line_is_one_line(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = USAGE[name]
    assert _main(arguments) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert expected in line
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "cli"])
@pytest.mark.usefixtures("unprivileged")
def test_without_root_there_is_one_line_that_says_so(
    command: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _main([command]) == 3
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("this machine cannot: not root: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unprivileged")
def test_a_report_of_no_run_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert _main(["report", str(tmp_path / "none")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "none") in line


@pytest.mark.emulated
class TestRuns:
    def test_the_last_line_names_the_folder_and_latest_leads_there(self, runs: Runs) -> None:
        folder, ended = runs
        topology = folder / "results" / "single"
        made = {path.name for path in topology.iterdir() if not path.is_symlink()}
        assert made == {run.folder.name for run in ended.values()}
        assert {run.folder.parent for run in ended.values()} == {Path("results/single")}
        assert (topology / "latest").resolve().name in made

    @pytest.mark.usefixtures("unprivileged")
    def test_a_report_is_made_again_from_the_record_alone(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder, ended = runs
        run = tmp_path / "run"
        run.mkdir()
        source = folder / ended["sound"].folder
        for name in ("record.json", "summary.json"):
            shutil.copy(source / name, run / name)
        assert _main(["report", str(run)]) == 0
        assert capsys.readouterr().out == f"report: {run / 'report.html'}\n"
        html = (run / "report.html").read_text(encoding="utf-8")
        assert "counters_balance" in html
        assert html == (source / "report.html").read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unprivileged")
    def test_a_broken_record_is_one_line(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder, ended = runs
        run = Path(shutil.copytree(folder / ended["sound"].folder, tmp_path / "run"))
        (run / "record.json").write_text('{"schema": 1}')
        assert _main(["report", str(run)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "record.json" in line

    def test_progress_is_told_step_by_step(self, runs: Runs) -> None:
        _, ended = runs
        steps = ("building the network", "probe frames", "checking invariants", "done")
        places = [ended["sound"].errors.find(step) for step in steps]
        assert places == sorted(places)
        assert -1 not in places


INTERRUPTIONS = {
    "SIGTERM": (signal.SIGTERM, "building the network", 143),
    "SIGINT": (signal.SIGINT, "starting server and clients", 130),
    "SIGHUP": (signal.SIGHUP, "starting server and clients", 129),
    "kill -9": (signal.SIGKILL, "ARP", -9),
}


@pytest.mark.emulated
def test_interrupted_runs_leave_no_process_namespace_link_or_file(tmp_path: Path) -> None:
    links = links_here()
    made: set[str] = set()
    with ExitStack() as stack:
        going = {}
        for name in INTERRUPTIONS:
            folder = tmp_path / name
            folder.mkdir()
            going[name] = stack.enter_context(started(folder, *SMALLEST))
        for name, (number, step, code) in INTERRUPTIONS.items():
            process = going[name]
            _read_until(process, step)
            family = psutil.Process(process.pid).children(recursive=True)
            made |= _private_folders(family)
            inside = stack.enter_context(watched(family))
            assert inside.namespaces
            process.send_signal(number)
            ended = end(process)
            assert ended.code == code, (name, ended)
            assert eventually(lambda seen=inside: seen.left() == []), inside.left()  # type: ignore[misc]
            assert "Traceback" not in ended.errors
            if number != signal.SIGKILL:
                assert [path for path in (tmp_path / name).rglob("*") if not path.is_dir()] == []
                assert list((tmp_path / name).glob("results/single/*")) == []
    assert links_here() == links
    assert made
    assert made.isdisjoint(path.name for path in Path("/run").iterdir())


def _read_until(process: subprocess.Popen[str], step: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if step in line:
            return
    raise AssertionError(f"the run ended before {step!r}")


def _private_folders(family: list[psutil.Process]) -> set[str]:
    """Names a run's folders in the /run that its processes see, which is not ours."""
    own = os.stat("/proc/self/ns/mnt").st_ino
    found: set[str] = set()
    for process in family:
        place = Path(f"/proc/{process.pid}")
        with contextlib.suppress(OSError):  # a run starts many short programs
            if os.stat(place / "ns/mnt").st_ino != own:
                found |= {path.name for path in (place / "root/run").glob("blindrelay-*")}
    return found


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("TOPO=nosuch", "TOPO=nosuch"),
        ("TOPPO=single", "unknown variable TOPPO"),
        ("SERIES=3", "make experiment: SERIES: expected some of TOPO "),
        ("TOPO=a'b", "TOPO: expected a value without a single quote"),
        ("ARGS=--seed '4", "ARGS: expected quotes in pairs"),
        ('ARGS=--seed "4', "ARGS: expected quotes in pairs"),
        ("QUICK=maybe", "QUICK=maybe: expected one of 1 yes true on, or of 0 no false off"),
        ("CAPTURE=1 0", "CAPTURE=1 0: expected one of 1 yes true on, or of 0 no false off"),
    ],
)
def test_make_says_what_is_wrong_and_which_code_it_would_be(variable: str, expected: str) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(CHECKOUT), "experiment", variable],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert "exit 2" in done.stderr
    assert "Syntax error" not in done.stderr


def test_make_clean_keeps_what_belongs_to_the_checkout(tmp_path: Path) -> None:
    for name in ("Makefile", "results/README.md", "results/reference/single/summary.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    for name in ("results/single/20250102T120059Z-nogit/record.json", "results/regression.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "results" / "single" / "latest").symlink_to("20250102T120059Z-nogit")
    subprocess.run(["make", "-C", str(tmp_path), "clean"], capture_output=True, check=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_make_passes_quotes_in_pairs_on_to_the_command() -> None:
    done = subprocess.run(
        ["make", "-n", "-C", str(CHECKOUT), "test-fast", "ARGS=-k 'one or two' -m \"a b\""],
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    assert "-k 'one or two' -m \"a b\"" in done.stdout


@pytest.mark.parametrize("name", ["QUICK", "SOAK"])
@pytest.mark.parametrize(
    ("words", "on"),
    [
        (("1", "yes", "true", "on"), True),
        (("0", "no", "false", "off", ""), False),
    ],
)
def test_make_reads_every_switch_in_one_way(name: str, words: tuple[str, ...], on: bool) -> None:
    for word in words:
        done = subprocess.run(
            ["make", "-n", "-C", str(CHECKOUT), "planes", f"{name}={word}"],
            capture_output=True,
            text=True,
            timeout=250,
            check=True,
        )
        assert (f"--{name.lower()}" in done.stdout) == on, word


def test_make_reads_no_switch_otherwise() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    (switches,) = re.findall(r"^FLAGS := (.*)$", makefile, re.M)
    assert set(re.findall(r"\(call flag,(\w+),--", makefile)) == {*switches.split(), "NAME"}

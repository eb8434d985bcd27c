"""Runs a command line where its names are private and nothing of it can survive.

`isolate()` starts the current command line anew in network, mount and process namespaces of its
own and waits for it. Three processes stand in a row, and whichever ends takes the rest with it:

    the caller, who forwards signals through a socket
      unshare (util-linux), which makes the namespaces
        this file as the first process inside, which starts the command and reaps orphans

When the first process inside ends, the kernel ends every other one there, and with them go the
network namespaces and all their links. It ends when the command does, when the socket closes (the
caller is gone, were it by SIGKILL) and when unshare dies.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

NEEDED_PROGRAMS = {
    "unshare": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "mnexec": "mininet",
    "brctl": "bridge-utils",
}
"""Programs that building a network runs, and the Debian packages that have them."""

_MARK = "BLINDRELAY_ISOLATED"
_NAMESPACE = "/proc/self/ns/pid"
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXIT_MACHINE = 3
_EXIT_SIGNAL = 128


class MachineError(RuntimeError):
    """Says what this machine lacks; programs end with exit code 3."""


def check_machine(programs: Mapping[str, str] | None = None) -> None:
    """Raises MachineError, naming what is missing, unless networks can be built here.

    ``programs`` are further ones that are needed, with the Debian packages that have them.
    """
    if not sys.platform.startswith("linux"):
        raise MachineError(f"{sys.platform}: expected Linux")
    if os.geteuid() != 0:
        raise MachineError("not root: making network namespaces needs root, try with sudo")
    for program, package in {**NEEDED_PROGRAMS, **(programs or {})}.items():
        if shutil.which(program) is None:
            raise MachineError(f"{program}: not found, install the package {package}")
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise MachineError(f"namespaces: refused by this machine: {tried.stderr.strip()}")


def is_isolated() -> bool:
    """Tells whether this process is one that `isolate` started, or a descendant of one."""
    return os.environ.get(_MARK) == os.readlink(_NAMESPACE)


def isolate(command: Sequence[str] | None = None, programs: Mapping[str, str] | None = None) -> int:
    """Runs a command, by default the current command line, isolated; returns its exit code.

    A command that a signal ended gives 128 + the signal's number. SIGINT, SIGTERM and SIGHUP reach
    the command once each. To be called from the main thread. Raises MachineError, also when one of
    ``programs`` is missing.
    """
    check_machine(programs)
    command = command or (sys.executable, *sys.orig_argv[1:])
    # At a terminal the command stays in its foreground group and hears Ctrl-C by itself.
    shares_terminal = _is_foreground()
    watched = {*_heeded(), signal.SIGCHLD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            process = subprocess.Popen(
                [*_UNSHARE, *_first_process(theirs.fileno(), shares_terminal), *command],
                pass_fds=(theirs.fileno(),),
            )
            theirs.close()
            _forward_until_end(process, ours, watched, shares_terminal)
            return _reported_code(ours)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def orderly_termination() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into SystemExit (128 + number), so that `finally` blocks run."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(_EXIT_SIGNAL + number)

    previous = {number: signal.signal(number, leave) for number in _FORWARDED[1:]}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _heeded() -> tuple[signal.Signals, ...]:
    """Lists the signals to forward: not those we were told to ignore, by nohup for example."""
    return tuple(number for number in _FORWARDED if signal.getsignal(number) is not signal.SIG_IGN)


def _is_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _first_process(control: int, shares_terminal: bool) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", __file__, str(control), str(int(shares_terminal)))


def _forward_until_end(
    process: subprocess.Popen[bytes],
    control: socket.socket,
    watched: set[signal.Signals],
    terminal: bool,
) -> None:
    while True:
        arrived = signal.sigwaitinfo(watched)
        if arrived.si_signo == signal.SIGCHLD:
            if process.poll() is not None:
                return
            continue
        if terminal and arrived.si_code > 0:  # the terminal sent it to the whole group
            continue
        with contextlib.suppress(BrokenPipeError):
            control.send(bytes([arrived.si_signo]))


def _reported_code(control: socket.socket) -> int:
    """Reads what the first process inside said at its end: nothing means that it was killed.

    The exit code of unshare does not tell: version 2.38 fails when its child died by a signal.
    """
    try:
        report = control.recv(1)
    except ConnectionResetError:
        report = b""
    return report[0] if report else _EXIT_SIGNAL + signal.SIGKILL


def _serve(control: socket.socket, shares_terminal: bool, command: Sequence[str]) -> int:
    """Is the first process inside: starts the command, passes signals on, reaps; its exit code."""
    _mount_private_sysfs()
    # What a run keeps there, keys among it, is in memory and goes with the run.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"], check=True)
    subprocess.run(["ip", "link", "set", "dev", "lo", "up"], check=True)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    child = _start(command, shares_terminal)
    while True:
        ready, _, _ = select.select([control.fileno(), wake_read], [], [])
        if control.fileno() in ready:
            numbers = control.recv(64)
            if not numbers:
                return _EXIT_SIGNAL + signal.SIGKILL
            for number in numbers:
                os.kill(child, number)
        if wake_read in ready:
            os.read(wake_read, 4096)
            code = _reap(child)
            if code is not None:
                return code


def _start(command: Sequence[str], shares_terminal: bool) -> int:
    environment = {**os.environ, _MARK: os.readlink(_NAMESPACE)}
    defaults = (*_heeded(), signal.SIGCHLD, signal.SIGPIPE)
    # At a terminal the group must stay the terminal's foreground one. Elsewhere the command gets
    # its own: a signal to the caller's whole group then arrives once, through us.
    group: dict[str, Any] = {} if shares_terminal else {"setpgroup": 0}
    return os.posix_spawnp(
        command[0], list(command), environment, setsigmask=(), setsigdef=defaults, **group
    )


def _reap(child: int) -> int | None:
    """Waits for whatever has ended; returns the exit code of `child` when it is among them."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not ended:
            return code
        if ended == child:
            found = os.waitstatus_to_exitcode(status)
            code = found if found >= 0 else _EXIT_SIGNAL - found


def _mount_private_sysfs() -> None:
    """Mounts a /sys that shows our network namespace, and keeps what was mounted below the old."""
    kept = {path: os.open(path, os.O_PATH) for path in _mounts_below("/sys/")}
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    for path, descriptor in kept.items():
        source = f"/proc/self/fd/{descriptor}"
        subprocess.run(
            ["mount", "--no-canonicalize", "--bind", source, path],
            pass_fds=(descriptor,),
            check=True,
        )
        os.close(descriptor)


def _mounts_below(folder: str) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        points = [line.split()[4] for line in lines]
    return [point for point in points if point.startswith(folder)]


def _main(arguments: Sequence[str]) -> int:
    with socket.socket(fileno=int(arguments[0])) as control:
        control.set_inheritable(False)
        try:
            code = _serve(control, arguments[1] == "1", arguments[2:])
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"isolation: {error}", file=sys.stderr)
            code = _EXIT_MACHINE
        with contextlib.suppress(BrokenPipeError):
            control.send(bytes([code]))
    return code


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))

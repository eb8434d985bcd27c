"""One charon: of our own, with its files, start, death and end, or that of whoever runs the machine.

charon writes its pid file and sockets to /run. In a mount namespace of its own that is its private
folder, so that several run side by side and nothing is read from or written to /etc. It ends with the
process that has started it, were that by SIGKILL.

Patent: Fig. 3-2 part 312; Fig. 5-2 part 510 (IPsec processing).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Union

from nodes.ike.machine import CHARON, PLUGINS, EspPlace, check_packages, esp_place

START_SECONDS = 10.0
END_SECONDS = 3.0
ANSWER_SECONDS = 5.0
"""How long charon may take to take a connection, or to answer."""

_RUN = Path("/run")
_PLUGINS = (
    "random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation aes sha2 sha1 md5 hmac "
    "kdf gcm drbg curve25519 kernel-libipsec kernel-netlink socket-default eap-identity eap-mschapv2 "
    "xauth-generic xauth-eap vici"
)
_IN_A_FOLDER = 'mount --bind "$1" /run && exec "$2"'

Setting = Union[str, "Mapping[str, Setting]"]


class CharonError(OSError):
    """charon could not be started: says what it said last."""


def plugins(esp: EspPlace) -> str:
    """Names the plugins to load: libipsec only where the kernel has no ESP."""
    there = [
        name
        for name in _PLUGINS.split()
        if (PLUGINS / f"libstrongswan-{name}.so").exists()
        and (name != "kernel-libipsec" or esp == "user space")
    ]
    return " ".join(there)


def settings(esp: EspPlace, socket: Path) -> Mapping[str, Setting]:
    """Returns charon's whole configuration; its log never shows a key (no level above 1)."""
    return {
        "charon": {
            "load": plugins(esp),
            "install_routes": "yes",
            "delete_rekeyed_delay": "1",
            "retransmit_timeout": "0.5",
            "retransmit_base": "1.5",
            "retransmit_tries": "3",
            "half_open_timeout": "10",
            "filelog": {"stderr": {"default": "0", "ike": "1", "cfg": "0", "flush_line": "yes"}},
            "plugins": {
                "vici": {"socket": f"unix://{socket}"},
                "xauth-eap": {"backend": "mschapv2"},
            },
        }
    }


def written(settings: Mapping[str, Setting], indent: str = "") -> str:
    """Writes settings in strongswan.conf's format."""
    lines = []
    for name, value in settings.items():
        if isinstance(value, str):
            lines.append(f"{indent}{name} = {value}\n")
        else:
            lines.append(f"{indent}{name} {{\n{written(value, indent + '  ')}{indent}}}\n")
    return "".join(lines)


class Daemon(Protocol):
    """A charon as its supervisor sees it."""

    starts: int
    """How often it has been started, or found again."""

    @property
    def socket(self) -> Path:
        """The vici socket, as this process sees it."""

    @property
    def pid(self) -> int | None:
        """The running charon's process ID, where it is a child of ours."""

    @property
    def is_ours(self) -> bool:
        """Whether it ends with us, and all that it was told."""

    def start(self) -> None:
        """Starts it; ``answers`` tells when it is ready."""

    def runs(self) -> bool:
        """Tells whether it may answer yet."""

    def answers(self) -> bool:
        """Tells whether it takes connections on its vici socket."""

    def lifeline(self) -> int | None:
        """Returns a descriptor of the caller's that can be read once charon has ended; None: it has."""

    def kill(self) -> None:
        """Ends it by force, if it is ours."""

    def complaint(self) -> str:
        """Says that it does not answer, and why."""

    def close(self) -> None:
        """Ends it, if it is ours."""


def charon_of(vici_socket: Path | None, folder: Path) -> Daemon:
    """Returns the charon behind a socket, or one of our own with its folder in ``folder``."""
    return Charon(folder) if vici_socket is None else OperatorsCharon(vici_socket)


def takes_connections(path: Path) -> bool:
    """Tells, without waiting, whether somebody listens on a Unix socket and has room for us."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def connect(path: Path, seconds: float) -> socket.socket:
    """Returns a connection to a Unix socket, waiting so long at most for room and for each answer.

    A socket with a time-out of Python's own would not wait for room. Raises OSError.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        whole = int(seconds)
        patience = struct.pack("ll", whole, round((seconds - whole) * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        connection.connect(str(path))
        connection.settimeout(seconds)
    except OSError:
        connection.close()
        raise
    return connection


class OperatorsCharon:
    """A charon that somebody else starts, ends and configures; it is told of our connection alone."""

    is_ours = False
    pid = None

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.starts = 0

    def start(self) -> None:
        """Counts: somebody else starts it."""
        self.starts += 1

    def runs(self) -> bool:
        """Has nothing that says it does not."""
        return True

    def answers(self) -> bool:
        """Tells whether charon takes connections on its vici socket."""
        return takes_connections(self.socket)

    def lifeline(self) -> int | None:
        """Returns a connection on which charon never says a word; it ends with charon."""
        try:
            return connect(self.socket, ANSWER_SECONDS).detach()
        except OSError:
            return None

    def kill(self) -> None:
        """Leaves it alone."""

    def complaint(self) -> str:
        """Says that it does not answer."""
        return f"{self.socket}: expected charon's vici socket: nobody answers"

    def close(self) -> None:
        """Leaves it alone."""


class Charon:
    """A charon that is started, and started again when it has died; one per process of ours."""

    def __init__(self, parent: Path) -> None:
        """Makes its folder in ``parent``. Raises IkeMissingError when packages are missing."""
        check_packages()
        self.esp = esp_place()
        self.starts = 0
        self._folder = Path(tempfile.mkdtemp(prefix="ike-", dir=parent))
        self._process: subprocess.Popen[bytes] | None = None
        text = written(settings(self.esp, _RUN / "charon.vici"))
        atexit.register(self.close)
        (self._folder / "strongswan.conf").write_text(text, encoding="ascii")

    is_ours = True

    @property
    def socket(self) -> Path:
        """The vici socket, as this process sees it."""
        return self._folder / "charon.vici"

    @property
    def pid(self) -> int | None:
        """The running charon's process ID."""
        return self._process.pid if self._process is not None and self.runs() else None

    def runs(self) -> bool:
        """Tells whether charon is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts charon; ``answers`` tells when it is ready. To be called by the main thread.

        The kernel ends charon when the thread that started it ends.
        """
        self.socket.unlink(missing_ok=True)
        (self._folder / "charon.pid").unlink(missing_ok=True)
        command = (
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
        )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "sh", "-c", _IN_A_FOLDER, "sh", str(self._folder), str(CHARON)],
                env={**os.environ, "STRONGSWAN_CONF": str(_RUN / "strongswan.conf")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.starts += 1

    def answers(self) -> bool:
        """Tells whether charon takes connections on its vici socket."""
        return takes_connections(self.socket)

    def lifeline(self) -> int | None:
        """Returns a descriptor of the process; the kernel says on it when that has ended."""
        pid = self.pid
        return None if pid is None else os.pidfd_open(pid)

    def kill(self) -> None:
        """Ends charon by force."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def complaint(self) -> str:
        """Says that it does not start, with the last line of its log."""
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return f"charon does not start: {lines[-1] if lines else 'not a word'}"

    def close(self) -> None:
        """Ends charon, which deletes its SAs, routes and device, by force if need be; removes its folder."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.close)

    @property
    def _log(self) -> Path:
        return self._folder / "charon.log"

"""One charon of our own: its files, its start, its death and its end.

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
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Union

from nodes.ike.machine import CHARON, PLUGINS, EspPlace, check_packages, esp_place

START_SECONDS = 10.0
END_SECONDS = 3.0

_RUN = Path("/run")
_PLUGINS = (
    "random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation aes sha2 sha1 md5 hmac "
    "kdf gcm drbg curve25519 kernel-libipsec kernel-netlink socket-default eap-identity eap-mschapv2 "
    "vici"
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
            "plugins": {"vici": {"socket": f"unix://{socket}"}},
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
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.socket))
            except OSError:
                return False
        return True

    def kill(self) -> None:
        """Ends charon by force."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def last_words(self) -> str:
        """Returns the last line of its log."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            return lines[-1] if lines else "not a word"
        return "not a word"

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

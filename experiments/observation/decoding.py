"""Decodes captures by tshark, with our header's dissector (``wireshark/vpn_header.lua``) and the ESP keys."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.observation.capture import CaptureError

DATA_PORT = 4790
DISSECTOR = Path(__file__).resolve().parents[1] / "wireshark" / "vpn_header.lua"
_DECODE_SECONDS = 120.0
_ETHERIP_HEADER = b"\x30\x00"
_ETHERIP_NEXT_HEADER = 97
_FIELDS = (
    "frame.number",
    "frame.interface_name",
    "esp.spi",
    "esp.icv_good",
    "esp.protocol",
    "esp.contained_data",
)


@dataclass(frozen=True)
class DecodingKey:
    """Holds what tshark needs of a security association: SPI, AES key (16 or 32), salt (4 octets).

    The algorithm is AES-GCM with a check value of 16 octets (RFC 4106).
    """

    spi: int
    key: bytes
    salt: bytes

    def rows(self, closing: str = "") -> list[str]:
        """Writes the rows of Wireshark's file ``esp_sa``, for both IP versions."""
        secret = (self.key + self.salt).hex()
        return [
            f'"{family}","*","*","{self.spi:#010x}",'
            f'"AES-GCM with 16 octet ICV [RFC4106]","0x{secret}","NULL",""{closing}'
            for family in ("IPv6", "IPv4")
        ]

    def settings(self, closing: str) -> list[str]:
        """Writes the same rows for tshark's command line."""
        return [f"uat:esp_sa:{row}" for row in self.rows(closing)]


@dataclass(frozen=True)
class DecodedFrame:
    """Holds an inner Ethernet frame as tshark decrypted it, from which packet and SPI, and where."""

    packet: int
    spi: int
    octets: bytes
    interface: str


def decode_frames(
    path: Path, security_associations: Iterable[DecodingKey], port: int = DATA_PORT
) -> list[DecodedFrame]:
    """Decrypts a capture with tshark; gives the inner Ethernet frames in their order.

    Only packets whose integrity check value holds, and that carry a whole frame (EtherIP), are
    given. Raises CaptureError when tshark cannot do it.
    """
    keys = list(security_associations)
    # Wireshark's newer versions may want two more columns (extended sequence numbers) in a row.
    for closing in ("", ',"32-bit","0"'):
        rows = [row for key in keys for row in key.settings(closing)]
        result = _run_tshark(path, rows, port)
        if "Lua: Error" in result.stderr:
            break
        if result.returncode == 0:
            return [frame for line in result.stdout.splitlines() for frame in _decoded(line)]
    complaint = " ".join(result.stderr.split()) or "no reason given"
    raise CaptureError(f"tshark on {path.name}: {complaint}")


def _run_tshark(path: Path, rows: list[str], port: int) -> subprocess.CompletedProcess[str]:
    """Runs tshark without the user's own settings."""
    argv = ["tshark", "-n", "-r", str(path), "-X", f"lua_script:{DISSECTOR}", "-Y", "esp"]
    settings = [
        f"vpn.port:{port}",
        "esp.enable_encryption_decode:TRUE",
        "esp.enable_authentication_check:TRUE",
        *rows,
    ]
    for setting in settings:
        argv += ["-o", setting]
    argv += ["-T", "fields", "-E", "separator=/t", "-E", "occurrence=l"]
    for name in _FIELDS:
        argv += ["-e", name]
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        try:
            return subprocess.run(
                argv,
                capture_output=True,
                text=True,
                check=False,
                env=environment,
                timeout=_DECODE_SECONDS,
            )
        except FileNotFoundError as error:
            raise CaptureError("tshark is missing") from error
        except subprocess.TimeoutExpired as error:
            raise CaptureError(f"tshark on {path.name}: no end in {error.timeout:.0f} s") from error


def _decoded(line: str) -> Iterator[DecodedFrame]:
    """Reads one line of tshark's fields; yields nothing where there is no whole, sound frame."""
    number, interface, spi, good, next_header, contained = line.split("\t")
    if good not in ("1", "True") or int(next_header or "0", 0) != _ETHERIP_NEXT_HEADER:
        return
    octets = bytes.fromhex(contained.replace(":", ""))
    if octets.startswith(_ETHERIP_HEADER):
        yield DecodedFrame(int(number), int(spi, 0), octets[len(_ETHERIP_HEADER) :], interface)

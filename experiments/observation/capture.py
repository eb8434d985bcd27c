"""Captures what passes on the wire, and looks at it with tools that are not ours.

Captures are pcapng files written by dumpcap inside a node's network namespace. What they contain
is decoded by tshark with our header's dissector (``wireshark/vpn_header.lua``) and the ESP keys.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

from experiments.traffic.terminals import settle
from topologies.processes import is_asleep

DATA_PORT = 4790
DISSECTOR = Path(__file__).resolve().parents[1] / "wireshark" / "vpn_header.lua"
RUN_LENGTH = 16
_READY_SECONDS = 30.0
_QUIET_SECONDS = 0.3
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_DECODE_SECONDS = 120.0
_BUFFER_MEBIBYTES = "32"
_ETHERIP_HEADER = b"\x30\x00"
_ETHERIP_NEXT_HEADER = 97
_DROPPED = re.compile(r"on interface '(?:[^']*: )?([^':]+)': (\d+)/(\d+)")
_FIELDS = (
    "frame.number",
    "frame.interface_name",
    "esp.spi",
    "esp.icv_good",
    "esp.protocol",
    "esp.contained_data",
)


class CaptureError(RuntimeError):
    """Says why a capture could not be made or read."""


class Popen(Protocol):
    """Starts a process in a node's namespace: ``popen(node, argv, **popen_arguments)``."""

    def __call__(
        self, node: str, argv: Sequence[str], **arguments: object
    ) -> subprocess.Popen[Any]:
        """Starts the process."""


@dataclass(frozen=True)
class CaptureCount:
    """Counts the packets of one interface that were captured, and those lost for want of buffer."""

    captured: int
    lost: int


class Capture:
    """Captures on a node's interfaces while its ``with`` block runs.

    It is ready when the block begins. At its end it waits until the file grows no more (or for half a
    minute), so that packets still on their way through the kernel are in it, and then ends the
    capture in order, so that the file is whole. ``counts`` is filled then.
    """

    def __init__(
        self,
        popen: Popen,
        node: str,
        interfaces: Sequence[str],
        path: Path,
        capture_filter: str = "",
    ) -> None:
        if not interfaces:
            raise CaptureError(f"capture at {node}: expected at least one interface")
        self.path = path
        self.counts: dict[str, CaptureCount] = {}
        self._popen = popen
        self._node = node
        self._interfaces = tuple(interfaces)
        self._filter = capture_filter
        self._log = path.with_name(path.name + ".log")
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Capture:
        """Starts the capture and waits until it runs; raises CaptureError when it does not."""
        argv = ["dumpcap", "-q", "-B", _BUFFER_MEBIBYTES, "-w", str(self.path)]
        for interface in self._interfaces:
            argv += ["-i", interface] + (["-f", self._filter] if self._filter else [])
        with self._log.open("wb") as log:
            self._process = self._popen(
                self._node, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._end(self._process)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the capture and reads how much was captured and lost."""
        if self._process is None:
            return
        if kind is None:
            self._wait_until_quiet(self._process.pid)
        self._end(self._process)
        self.counts = {
            name: CaptureCount(int(captured), int(lost))
            for name, captured, lost in _DROPPED.findall(self._log_text())
        }

    def _log_text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _wait_until_ready(self, process: subprocess.Popen[Any]) -> None:
        """Waits for the line that dumpcap prints once interfaces and file are open."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if "File: " in self._log_text() and self.path.exists() and self.path.stat().st_size:
                return
            time.sleep(_POLL_SECONDS)
        names = ", ".join(self._interfaces)
        raise CaptureError(f"capture at {self._node} on {names}: {self._log_text().strip()}")

    def _wait_until_quiet(self, process: int) -> None:
        """Waits until the file has not grown for a while, though dumpcap had a processor."""
        settle(
            lambda: self.path.stat().st_size,
            _QUIET_SECONDS,
            _STOP_SECONDS,
            asleep=lambda: is_asleep(process),
        )

    @staticmethod
    def _end(process: subprocess.Popen[Any]) -> None:
        """Ends dumpcap in order, and by force only if it does not obey."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def read_packets(path: Path) -> Iterator[bytes]:
    """Yields the octets of every packet of a pcap or pcapng file, from the link layer up."""
    for octets, _ in _read(path):
        yield octets


def read_timed_packets(path: Path) -> Iterator[tuple[float, bytes]]:
    """Yields, of a pcapng file, when each packet was captured (s since 1970), and its octets."""
    for octets, about in _read(path):
        yield ((about.tshigh << 32) + about.tslow) / about.tsresol, octets


def _read(path: Path) -> Iterator[tuple[bytes, Any]]:
    # Imported here: scapy takes longer to load than everything else in this module.
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    try:
        # Given the file, as scapy leaves it open when it finds no capture in it.
        with path.open("rb") as file, RawPcapReader(cast(Any, file)) as reader:
            yield from reader
    except (OSError, Scapy_Exception) as error:
        raise CaptureError(f"{path.name}: {error}") from error


def merge(paths: Sequence[Path], merged: Path, begin: float, end: float) -> Path:
    """Makes one capture of several, by time, with their interfaces' names; returns its path.

    Of several, only packets from ``begin`` to ``end`` (Unix time, s) are taken: captures start and end
    one after the other, so that others are seen at one place and not at the next. One alone is kept
    as it is.
    """
    if len(paths) == 1:
        return paths[0].replace(merged)
    whole = merged.with_name(f"whole-{merged.name}")
    _run_wireshark(["mergecap", "-w", str(whole), *map(str, paths)])
    first, last = (
        datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        for at in (begin, end)
    )
    _run_wireshark(["editcap", "-A", first, "-B", last, str(whole), str(merged)])
    whole.unlink()
    return merged


def _run_wireshark(argv: list[str]) -> None:
    """Runs a program of Wireshark's, for which times without a zone are UTC."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TZ": "UTC"},
            timeout=_DECODE_SECONDS,
        )
    except FileNotFoundError as error:
        raise CaptureError(f"{argv[0]} is missing") from error
    if done.returncode:
        raise CaptureError(f"{argv[0]}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Sighting:
    """Says where a run of sought octets was seen: packet (counted from 1) and offset in it."""

    packet: int
    offset: int
    octets: bytes


def find_runs(path: Path, needles: Iterable[bytes], length: int = RUN_LENGTH) -> Iterator[Sighting]:
    """Yields, for every packet, the first run of ``length`` octets that a needle has too.

    A run may begin anywhere in the needle and anywhere in the packet. Needles shorter than
    ``length`` are refused with CaptureError, as nothing could ever be found of them.
    """
    runs: set[bytes] = set()
    for needle in needles:
        if len(needle) < length:
            raise CaptureError(f"needle of {len(needle)} octets: expected at least {length}")
        runs.update(needle[i : i + length] for i in range(len(needle) - length + 1))
    for number, octets in enumerate(read_packets(path), start=1):
        for offset in range(len(octets) - length + 1):
            if octets[offset : offset + length] in runs:
                yield Sighting(number, offset, octets[offset : offset + length])
                break


def contains_run_of(path: Path, *needles: bytes, length: int = RUN_LENGTH) -> bool:
    """Tells whether any packet has any run of ``length`` octets in common with any needle."""
    return next(find_runs(path, needles, length), None) is not None


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

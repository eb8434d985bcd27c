"""Sends numbered frames that carry their time, and receives them: how many came, and how late.

``python -m experiments.peers.stream send|receive …``, at terminals, through packet sockets (root).
Both write one JSON line at their end; a receiver says ``ready`` before. All terminals share the
machine's monotonic clock, so that one way's latency is a difference of two readings.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import statistics
import struct
import sys
import time
from collections.abc import Sequence

import msgspec

from experiments.instrument.pacing import send_paced
from experiments.traffic.probe import ProbeError, mac_from_text

ETHERTYPE = 0x88B6
"""IEEE 802 local experimental 2."""
_HEADER = struct.Struct("!6s6sH")
_STAMP = struct.Struct("!Iq")
_SO_RCVBUFFORCE = 33
_BUFFER_OCTETS = 32 << 20
_SILENCE_SECONDS = 0.1
_MOST_SECONDS = 60.0
QUANTILES = (*(step / 20 for step in range(20)), 0.99, 0.999, 1.0)
"""The shares of frames at which a window's latencies are told."""


class Arrived(msgspec.Struct, frozen=True):
    """What came of one window at one terminal; latencies in ns, one way, 0 when nothing came."""

    frames: int
    median_ns: int
    late_ns: int
    """The 99th percentile."""
    quantiles_ns: tuple[int, ...] = ()
    """Latencies at QUANTILES; empty when nothing came."""


class Departed(msgspec.Struct, frozen=True):
    """What one sender did: frames, those that the kernel refused, and whether it was late."""

    frames: int
    refused: int
    seconds: float
    saturated: bool


def frame_of(destination: str, source: str, window: int, size: int) -> bytearray:
    """Builds a frame of ``size`` octets whose time is still to be written."""
    header = _HEADER.pack(mac_from_text(destination), mac_from_text(source), ETHERTYPE)
    filled = header + _STAMP.pack(window, 0)
    if size < len(filled):
        raise ProbeError(f"frame of {size} octets: expected at least {len(filled)}")
    return bytearray(filled.ljust(size, b"\x5a"))


def stamp(frame: bytearray, window: int, at: int) -> None:
    """Writes when a frame is sent, in ns."""
    _STAMP.pack_into(frame, _HEADER.size, window, at)


def latency(octets: bytes, window: int, at: int) -> int | None:
    """Returns how long a frame has been under way, in ns; None when it is of another window."""
    if len(octets) < _HEADER.size + _STAMP.size:
        return None
    number, sent = _STAMP.unpack_from(octets, _HEADER.size)
    return at - sent if number == window else None


def condense(latencies: Sequence[int]) -> Arrived:
    """Says what came."""
    if not latencies:
        return Arrived(0, 0, 0)
    ordered = sorted(latencies)
    quantiles = tuple(_at(ordered, share) for share in QUANTILES)
    return Arrived(len(ordered), round(statistics.median(ordered)), _at(ordered, 0.99), quantiles)


def _at(ordered: Sequence[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _send(options: argparse.Namespace) -> Departed:
    window = options.window
    frame = frame_of(options.destination, options.source, window, options.size)
    burst = options.burst
    count = max(1, round(options.rate * options.seconds / burst))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packet_socket:
        packet_socket.bind((options.interface, 0))

        def send(_nothing: bytes) -> None:
            for _ in range(burst):
                stamp(frame, window, time.monotonic_ns())
                packet_socket.send(frame)

        sent = send_paced(send, [b""] * count, options.rate / burst)
    return Departed(sent.frames * burst, sent.refused * burst, sent.seconds, sent.saturated)


def _receive(options: argparse.Namespace) -> Arrived:
    latencies: list[int] = []
    deadline = time.monotonic() + _MOST_SECONDS
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as frames,
        selectors.DefaultSelector() as selector,
    ):
        frames.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_OCTETS)
        frames.bind((options.interface, ETHERTYPE))
        frames.setblocking(False)
        selector.register(frames, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        told = False
        while time.monotonic() < deadline:
            ready = {key.fileobj for key, _ in selector.select(_SILENCE_SECONDS)}
            if frames in ready:
                _drain(frames, options.window, latencies)
            elif told and not ready:
                break
            if sys.stdin in ready:  # closed: the sender is done
                selector.unregister(sys.stdin)
                told = True
    return condense(latencies)


def _drain(frames: socket.socket, window: int, latencies: list[int]) -> None:
    """Takes what waits at the socket, though not for ever: the sender may be done meanwhile."""
    for _ in range(256):
        try:
            octets, address = frames.recvfrom(64)
        except BlockingIOError:
            return
        if address[2] == socket.PACKET_OUTGOING:
            continue
        found = latency(octets, window, time.monotonic_ns())
        if found is not None:
            latencies.append(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.peers.stream")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("send", "receive"):
        command = commands.add_parser(name)
        command.add_argument("--interface", required=True)
        command.add_argument("--window", required=True, type=int)
    send = commands.choices["send"]
    send.add_argument("--destination", required=True)
    send.add_argument("--source", required=True)
    send.add_argument("--size", required=True, type=int)
    send.add_argument("--rate", required=True, type=float)
    send.add_argument("--seconds", required=True, type=float)
    send.add_argument("--burst", type=int, default=1)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns 0, or 2 for values that make no frame."""
    options = _parser().parse_args(arguments)
    try:
        done = _send(options) if options.command == "send" else _receive(options)
    except ProbeError as error:
        print(f"stream: {error}", file=sys.stderr)
        return 2
    print(msgspec.json.encode(done).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The probe program: sends and receives probe frames through packet sockets (AF_PACKET, root).

``send`` follows a plan (JSON, :class:`experiments.traffic.probe.SendPlan`) and prints what it sent as one
JSON line; ``--held`` it says ``ready`` first, and begins when it is told. ``receive`` says ``ready`` when
it listens and writes one JSON line for every frame.
"""

from __future__ import annotations

import argparse
import errno
import math
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from experiments.traffic.probe import (
    ETHERTYPE,
    ProbeError,
    ReceivedFrame,
    ReceiveEnd,
    SendPlan,
    observe,
)

# linux/if_packet.h and asm-generic/socket.h: Python's socket module does not name these.
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MEMBERSHIP_PROMISCUOUS = 1
_PACKET_STATISTICS = 6
_SO_RCVBUFFORCE = 33

_RECEIVE_BUFFER = 64 << 20
_MAXIMUM_FRAMES = 1_000_000
_MAXIMUM_SECONDS = 600.0
_SEND_RETRY_SECONDS = 0.0005
_SEND_PATIENCE_SECONDS = 5.0


class SendReport(msgspec.Struct, frozen=True):
    """Says what a sender did: frames, octets, seconds, and how often the queue was full."""

    sender: int
    frames: int
    octets: int
    seconds: float
    queue_full: int


def load_plan(path: Path) -> SendPlan:
    """Reads and checks a sender's plan; raises ProbeError naming what is wrong with it."""
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=SendPlan)
    except OSError as error:
        raise ProbeError(f"plan {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ProbeError(f"plan {path}: {error}") from error
    check_plan(plan)
    return plan


def check_plan(plan: SendPlan) -> None:
    """Raises ProbeError unless the plan is sound and ends within ten minutes."""
    for stream in plan.streams:
        if stream.count < 1 or stream.rate <= 0:
            raise ProbeError(f"stream to {stream.destination}: expected count and rate above 0")
        for frame in plan.frames_of(stream):
            frame.to_bytes()
            break
    frames = sum(stream.count for stream in plan.streams)
    seconds = sum(stream.count / stream.rate for stream in plan.streams)
    if frames > _MAXIMUM_FRAMES or seconds > _MAXIMUM_SECONDS:
        raise ProbeError(
            f"plan of {frames} frames in {seconds:.0f} s: at most {_MAXIMUM_FRAMES} frames in "
            f"{_MAXIMUM_SECONDS:.0f} s"
        )


def send(interface: str, plan: SendPlan, held: bool = False) -> SendReport:
    """Sends a plan's frames on an interface, each at its own time on an absolute schedule.

    ``held``: says that it is ready, and waits for a line that says at which monotonic time to begin.
    """
    octets = queue_full = sent = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packet_socket:
        packet_socket.bind((interface, 0))
        begin = due = told_begin() if held else time.monotonic()
        for stream in plan.streams:
            for frame in plan.frames_of(stream):
                early = due - time.monotonic()
                if early > 0:
                    time.sleep(early)
                octets_of_frame = frame.to_bytes()
                queue_full += _send_one(packet_socket, octets_of_frame)
                octets += len(octets_of_frame)
                sent += 1
                due += 1 / stream.rate
        seconds = time.monotonic() - begin
    return SendReport(plan.sender, sent, octets, round(seconds, 6), queue_full)


def told_begin() -> float:
    """Returns the monotonic time (s) that a line on standard input says, once it does."""
    print("ready", flush=True)
    line = sys.stdin.readline()
    try:
        begin = float(line)
    except ValueError:
        begin = math.nan
    if not abs(begin - time.monotonic()) <= _MAXIMUM_SECONDS:
        raise ProbeError(f"begin {line.strip()!r}: expected a monotonic time of soon, in s")
    return begin


def _send_one(packet_socket: socket.socket, octets: bytes) -> int:
    """Sends one frame, again while the interface's queue is full; gives the number of refusals."""
    deadline = time.monotonic() + _SEND_PATIENCE_SECONDS
    refusals = 0
    while True:
        try:
            packet_socket.send(octets)
        except OSError as error:
            if error.errno != errno.ENOBUFS or time.monotonic() > deadline:
                raise
            refusals += 1
            time.sleep(_SEND_RETRY_SECONDS)
        else:
            return refusals


class Receiver:
    """Records every probe frame that an interface gets, whomever it is for.

    Frames that this host sends itself are not seen. ``settle`` is in seconds: once the wanted
    number has come, it must stay silent for that long before the receiver ends, so that duplicates
    and strays that come last are recorded too.
    """

    def __init__(self, interface: str, output: BinaryIO) -> None:
        self._output = output
        self._encoder = msgspec.json.Encoder()
        self.frames = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        self._socket.bind((interface, ETHERTYPE))
        request = struct.pack(
            "iHH8s",
            socket.if_nametoindex(interface),
            _PACKET_MEMBERSHIP_PROMISCUOUS,
            0,
            b"",
        )
        self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
        self._socket.setblocking(False)

    def close(self) -> None:
        """Closes the socket, which ends promiscuous reception."""
        self._socket.close()

    def run(self, until: int | None, deadline: float, settle: float, stop: socket.socket) -> str:
        """Receives until told to stop; gives the reason: terminated, deadline or count.

        ``deadline`` is on the monotonic clock in seconds; ``stop`` becomes readable on a signal.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ, "frames")
            selector.register(stop, selectors.EVENT_READ, "stop")
            while True:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return "deadline"
                enough = until is not None and self.frames >= until
                events = selector.select(min(remaining, settle) if enough else remaining)
                self._drain(deadline)
                if any(key.data == "stop" for key, _ in events):
                    return "terminated"
                if enough and not events and remaining > settle:
                    return "count"

    def _drain(self, deadline: float) -> None:
        """Takes all frames that wait in the socket and writes them out."""
        while time.monotonic() < deadline:
            try:
                octets, address = self._socket.recvfrom(65536)
            except BlockingIOError:
                break
            if address[2] != socket.PACKET_OUTGOING:
                self._write(observe(octets, time.monotonic_ns()))
                self.frames += 1
        self._output.flush()

    def finish(self, reason: str) -> ReceiveEnd:
        """Writes the closing line with what the kernel dropped for want of buffer."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        _, dropped = struct.unpack("II", statistics)
        end = ReceiveEnd(self.frames, dropped, reason)
        self._write(end)
        self._output.flush()
        return end

    def _write(self, record: ReceivedFrame | ReceiveEnd) -> None:
        self._output.write(self._encoder.encode(record) + b"\n")


def receive(
    interface: str, output: Path, until: int | None, deadline: float, settle: float
) -> ReceiveEnd:
    """Runs a receiver until SIGTERM or SIGINT, the deadline (seconds), or the wanted number."""
    waking, woken = socket.socketpair()
    waking.setblocking(False)
    with waking, woken, output.open("wb") as file:
        signal.set_wakeup_fd(waking.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        receiver = Receiver(interface, file)
        try:
            print("ready", flush=True)
            reason = receiver.run(until, time.monotonic() + deadline, settle, woken)
            return receiver.finish(reason)
        finally:
            receiver.close()
            signal.set_wakeup_fd(-1)


def read_received(path: Path) -> list[ReceivedFrame | ReceiveEnd]:
    """Reads a receiver's record; raises ProbeError naming the file and what is wrong."""
    try:
        lines = path.read_bytes().splitlines()
        decoder = msgspec.json.Decoder(ReceivedFrame | ReceiveEnd)
        return [decoder.decode(line) for line in lines]
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ProbeError(f"{path}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.traffic.probe",
        description="Sends and receives numbered probe frames.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sender = commands.add_parser("send", help="sends the frames of a plan")
    sender.add_argument("--interface", required=True)
    sender.add_argument("--plan", required=True, type=Path, help="JSON file")
    sender.add_argument(
        "--held", action="store_true", help="begins at the time that a line on standard input says"
    )
    receiver = commands.add_parser("receive", help="records every probe frame that comes")
    receiver.add_argument("--interface", required=True)
    receiver.add_argument("--out", required=True, type=Path, help="JSON lines, one a frame")
    receiver.add_argument("--until", type=int, help="ends after this many frames and a silence")
    receiver.add_argument("--deadline", type=float, default=60.0, help="seconds, at most 600")
    receiver.add_argument("--settle", type=float, default=0.2, help="that silence in seconds")
    return parser


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns 0, 2 for a bad plan or 3 where the machine refuses."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "send":
            report = send(options.interface, load_plan(options.plan), options.held)
            print(msgspec.json.encode(report).decode())
        else:
            deadline = min(options.deadline, _MAXIMUM_SECONDS)
            receive(options.interface, options.out, options.until, deadline, options.settle)
    except ProbeError as error:
        print(f"probe: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"probe: interface {options.interface}: {error.strerror}", file=sys.stderr)
        return 3
    return 0

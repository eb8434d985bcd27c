"""The canaries' own processes, of the standard library alone: a sender, a spinner and a soaker.

    canary_program.py send CORE ADDRESS PORT     for each line "COUNT": sends, says what it cost
    canary_program.py spin CORE ADDRESS PORT     counts loops until it is told anything, and says them
    canary_program.py soak CORE FILE             counts loops while nobody else wants the core

Answers are lines of JSON. All end with their input. The spinner's answer is a list of (monotonic ns,
own CPU ns, loops), a millisecond apart. It holds the address and port, so that what is sent there
has somewhere to go, and never reads it. The soaker keeps its count as a 64-bit number in FILE.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import socket
import struct
import sys
import time

_PAYLOAD = bytes(512)
_LOOPS_AT_ONCE = 2_000
_LOOKS_AT_INPUT_EVERY = 500
_SAMPLE_NS = 1_000_000


def send(address: str, port: int) -> None:
    """Sends as many datagrams as each line says; times in ns of this process's CPU time."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        destination = (address, port)
        for line in sys.stdin:
            count = int(line)
            begin = time.process_time_ns()
            refused = 0
            for _ in range(count):
                try:
                    udp.sendto(_PAYLOAD, destination)
                except OSError:
                    refused += 1
            cost = time.process_time_ns() - begin
            print(json.dumps({"cpu_ns": cost, "sent": count - refused}), flush=True)


def spin(address: str, port: int) -> None:
    """Counts loops and the CPU time that they take, until a line or the end comes."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.bind((address, port))
        print(json.dumps({"ready": True}), flush=True)
        samples = []
        loops = 0
        while not select.select([0], [], [], 0)[0]:
            now = time.monotonic_ns()
            samples.append((now, time.process_time_ns(), loops))
            while time.monotonic_ns() - now < _SAMPLE_NS:
                _loop()
                loops += 1
        print(json.dumps(samples), flush=True)


def soak(path: str) -> None:
    """Counts loops at the lowest priority there is, until the input ends."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        print(json.dumps({"ready": True}), flush=True)
        loops = 0
        while loops % _LOOKS_AT_INPUT_EVERY or not select.select([0], [], [], 0)[0]:
            _loop()
            loops += 1
            struct.pack_into("=Q", shared, 0, loops)


def _loop() -> None:
    for _ in range(_LOOPS_AT_ONCE):
        pass


def main(arguments: list[str]) -> None:
    """Does what the first word says, on the core that the second names."""
    what, core, *rest = arguments
    os.sched_setaffinity(0, {int(core)})
    with contextlib.suppress(BrokenPipeError):
        if what == "send":
            send(rest[0], int(rest[1]))
        elif what == "spin":
            spin(rest[0], int(rest[1]))
        elif what == "soak":
            soak(rest[0])
        else:
            raise SystemExit(f"{what}: expected send, spin or soak")


if __name__ == "__main__":
    main(sys.argv[1:])

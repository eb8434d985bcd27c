"""Talks to the instrument's own programs: the generator and the canary's, over their pipes."""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from experiments.instrument.commands import Answer, Command, Failed, Finish, Ready, Send, Sent
from topologies.emulate import Network

REGISTER_SECONDS = 60.0
ANSWER_SECONDS = 60.0
_END_SECONDS = 5.0
_ANSWER = msgspec.json.Decoder(Answer)
_Kind = TypeVar("_Kind", Ready, Sent)


class InstrumentError(RuntimeError):
    """Says which part of the instrument failed, and its words."""


class Program:
    """One program in a node, told and heard line by line."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, errors: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._name, self._errors = name, errors
        self._input, self._output = process.stdin, process.stdout
        self._rest = b""

    def tell(self, line: bytes) -> None:
        """Sends a line; InstrumentError when the program has ended."""
        try:
            self._input.write(line + b"\n")
            self._input.flush()
        except BrokenPipeError:
            raise self._failure("ended") from None

    def end_input(self) -> None:
        """Closes the program's input, which ends it."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()

    def hear(self, seconds: float) -> bytes:
        """Returns the next line; InstrumentError when none comes in time."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self._failure(f"said nothing within {seconds:.0f} s")
                octets = self._output.read1(65536)  # type: ignore[attr-defined]
                if not octets:
                    raise self._failure("ended")
                self._rest += octets
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _failure(self, what: str) -> InstrumentError:
        words = self._errors.read_text(encoding="utf-8", errors="replace").splitlines()
        return InstrumentError(": ".join([f"{self._name} {what}", *words[-1:]]))


@contextlib.contextmanager
def program(
    network: Network, node: str, argv: Sequence[str], folder: Path, name: str
) -> Iterator[Program]:
    """Starts a program in a node and ends it: its input is closed, then it is terminated."""
    errors = folder / f"{name}.log"
    with errors.open("wb") as log:
        process = network.popen(
            node,
            [sys.executable, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    started = Program(process, name, errors)
    try:
        yield started
    finally:
        started.end_input()
        try:
            process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()


class GeneratorHandle:
    """The generator, from outside."""

    def __init__(self, program: Program) -> None:
        """Waits until all members are registered."""
        self._program = program
        self._expect(Ready, REGISTER_SECONDS)

    def prepare(self, command: Command) -> Ready:
        """Has frames sealed."""
        self._program.tell(msgspec.json.encode(command))
        return self._expect(Ready, ANSWER_SECONDS)

    def send(self, command: Send) -> Sent:
        """Has what is prepared sent; returns when it is."""
        self._program.tell(msgspec.json.encode(command))
        return self._expect(Sent, ANSWER_SECONDS)

    def finish(self) -> None:
        """Has all members leave."""
        self._program.tell(msgspec.json.encode(Finish()))

    def _expect(self, kind: type[_Kind], seconds: float) -> _Kind:
        answer = _ANSWER.decode(self._program.hear(seconds))
        if isinstance(answer, Failed):
            raise InstrumentError(f"generator: {answer.reason}")
        if not isinstance(answer, kind):
            raise InstrumentError(f"generator: expected {kind.__name__}, got {answer}")
        return answer

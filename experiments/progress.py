"""Shows how far a run is: bars with time to go on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Tells the user which step runs, ``with Progress(3) as progress: progress.step("…")``.

    Steps may have a weight, such as their expected seconds; ``total`` is the sum of all weights.
    The time to go follows from the weight done and the time it took. Output goes to standard error
    unless told otherwise, so that standard output keeps only results.
    """

    def __init__(self, total: float, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream if stream is not None else sys.stderr
        self._done = 0.0
        self._weight = 0.0
        self._begin = time.monotonic()
        self._next_line = 0.0
        self._bars: Bars | None = None

    def __enter__(self) -> Progress:
        """Starts the clock, and the bar where there is a terminal."""
        self._begin = time.monotonic()
        if self._stream.isatty():
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[to_go]}"),
                console=Console(file=self._stream),
            )
            self._bars.start()
            self._bars.add_task("", total=self._total, to_go="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Completes the last step, or leaves it unfinished after an error, and clears up."""
        if kind is None:
            self._complete()
        if self._bars is not None:
            if kind is None:
                self._bars.update(self._bars.task_ids[0], description="done", to_go="")
            self._bars.stop()
        elif kind is None:
            self._line("done")

    def step(self, text: str, weight: float = 1.0) -> None:
        """Completes the step before and begins the next one, as in ``building the network``."""
        self._complete()
        self._weight = weight
        if self._bars is not None:
            task = self._bars.task_ids[0]
            self._bars.update(task, description=text, completed=self._done, to_go=self.to_go())
        else:
            self._line(text)

    def advance(self, text: str, weight: float = 1.0) -> None:
        """Counts something as done that ran beside others, as in ``3 of 80 cases``; lines come seldom."""
        self._done = min(self._total, self._done + weight)
        if self._bars is not None:
            task = self._bars.task_ids[0]
            self._bars.update(task, description=text, completed=self._done, to_go=self.to_go())
        elif self._done >= self._total or time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            self._line(f"{text}, {self.to_go()}" if self._done < self._total else text)

    def note(self, text: str) -> None:
        """Says one line that stays, without touching the steps."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            self._line(text)

    def to_go(self) -> str:
        """Estimates the time to go; empty while nothing is done yet."""
        if self._done <= 0:
            return ""
        elapsed = time.monotonic() - self._begin
        seconds = max(0.0, elapsed * (self._total - self._done) / self._done)
        return f"about {seconds:.0f} s to go"

    def _complete(self) -> None:
        self._done = min(self._total, self._done + self._weight)
        self._weight = 0.0
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[0], completed=self._done)

    def _line(self, text: str) -> None:
        elapsed = time.monotonic() - self._begin
        print(f"[{elapsed:5.1f} s] {text}", file=self._stream, flush=True)

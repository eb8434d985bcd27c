"""Shows what the user is told during a run, with and without a terminal."""

from __future__ import annotations

import io

import pytest

from experiments.progress import Progress


class Terminal(io.StringIO):
    """Claims to be a terminal."""

    def isatty(self) -> bool:
        """Says yes."""
        return True


def test_without_a_terminal_each_step_is_one_plain_line() -> None:
    stream = io.StringIO()
    with Progress(2, stream) as progress:
        progress.step("building the network")
        progress.step("sending frames")
        progress.note("a remark")
    lines = [line.split("] ")[1] for line in stream.getvalue().splitlines()]
    assert lines == ["building the network", "sending frames", "a remark", "done"]
    assert "\x1b" not in stream.getvalue()


def test_an_error_is_not_called_done() -> None:
    def fail() -> None:
        with Progress(2, stream) as progress:
            progress.step("building the network")
            raise KeyError

    stream = io.StringIO()
    with pytest.raises(KeyError):
        fail()
    assert "done" not in stream.getvalue()


def test_a_terminal_gets_a_bar_with_the_time_to_go() -> None:
    stream = Terminal()
    with Progress(4, stream) as progress:
        assert progress.to_go() == ""
        progress.step("one", weight=3)
        progress.step("two")
        assert progress.to_go().endswith("s to go")
    assert "4/4" in stream.getvalue()
    assert "done" in stream.getvalue()


def test_what_runs_side_by_side_is_counted_as_it_ends() -> None:
    stream = io.StringIO()
    with Progress(3, stream) as progress:
        for count in (1, 2, 3):
            progress.advance(f"{count} of 3")
    lines = [line.split("] ")[1] for line in stream.getvalue().splitlines()]
    assert lines[0].startswith("1 of 3, about ")
    assert lines[1:] == ["3 of 3", "done"], "the second came too soon after the first"

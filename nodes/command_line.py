"""A command line whose mistakes are one line each, as those in files are."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it; so do the parsers of subcommands."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def print_text(text: str) -> None:
    """Prints on stdout; whoever reads there may end before it is all read, as ``head`` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is buffered still would be a complaint when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def whole(least: int | None = None, most: int | None = None) -> Callable[[str], int]:
    """Returns an argument's type: a whole number, not below or above what is given."""
    limits = "" if least is None else f" from {least}"
    limits += "" if most is None else f" to {most}"

    def read(text: str) -> int:
        try:
            value = int(text)
            fits = (least is None or value >= least) and (most is None or value <= most)
        except ValueError:
            fits = False
        if not fits:
            raise argparse.ArgumentTypeError(f"expected a whole number{limits}, got {text}")
        return value

    return read

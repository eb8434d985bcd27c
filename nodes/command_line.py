"""A command line whose mistakes are one line each, as those in files are."""

from __future__ import annotations

import argparse
from typing import NoReturn

EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it; so do the parsers of subcommands."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")

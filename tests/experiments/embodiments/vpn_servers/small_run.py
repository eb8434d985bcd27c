"""The experiments' command line without the loads of several servers, which take their time elsewhere."""

from __future__ import annotations

import sys

from experiments.__main__ import main
from experiments.embodiments.vpn_servers import course


def leave_points_out() -> None:
    """Has a run measure no network but its own."""
    course.points_of = lambda *_: []


if __name__ == "__main__":
    leave_points_out()
    sys.exit(main())

"""The experiments' command line for several servers with all that it does, only less of each.

Loads are measured in small networks and for a moment: that there are verdicts is tested, not which.
"""

from __future__ import annotations

import sys

from experiments import deployment
from experiments.__main__ import main
from experiments.embodiments.vpn_servers import addition, course, points
from experiments.embodiments.vpn_servers.points import Point

LEAST_CHOICES = 6
"""One more than the clients of the smallest network: each registers again once."""
RECOVERY_SECONDS = (12, 15)
"""Longer than registering takes where many tests run: until then clients seal with the SA from before."""


def do_less() -> None:
    """Has a run measure two small points, and clients choose their servers anew once."""
    all_points = course.points_of

    def usual(way: str, quick: bool) -> list[Point]:
        return [point for point in all_points(way, quick) if point.telling == "usual"]

    course.points_of = usual
    course.QUICK_CLIENTS, course.QUICK_SERVERS = 4, 2
    points.ROUND_SECONDS = 0.4
    deployment.RECOVERY_SECONDS = RECOVERY_SECONDS
    addition.LEAST_CHOICES = LEAST_CHOICES
    vars(course)["LEAST_CHOICES"] = LEAST_CHOICES


if __name__ == "__main__":
    do_less()
    sys.exit(main())

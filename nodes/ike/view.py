"""Unicast SAs as the status shows them; charon never tells their keys.

Patent: table 308.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nodes.ike.conversation import UnicastAssociation

CLIENT_TABLE = "308 SA management: unicast"
SERVER_TABLE = "unicast SAs"


def association_table(associations: Iterable[UnicastAssociation]) -> dict[str, list[Any]]:
    """Returns SAs with their peers, SPIs, algorithm and age."""
    return {
        "columns": ["user", "peer", "inside", "SPI in", "SPI out", "algorithm", "age s"],
        "rows": [
            [
                one.user or "",
                one.outside,
                one.peer,
                f"{one.spi_in:#010x}",
                f"{one.spi_out:#010x}",
                one.algorithm,
                one.age,
            ]
            for one in associations
        ],
    }

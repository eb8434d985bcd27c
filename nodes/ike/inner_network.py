"""The addresses inside SAs, and the routes that keep what is meant for them inside.

Without an SA charon has no route to the other side. A packet would then follow the machine's own
routes, in the clear, with a group's key in it; a blackhole under charon's routes takes it instead.
"""

from __future__ import annotations

import subprocess
from ipaddress import IPv6Address, IPv6Network

POOL_PREFIX = 112
SITE_PREFIX = 48
GENERATIONS = 2**16
_GENERATION_BIT = 64


def site(inner: IPv6Address) -> IPv6Network:
    """Returns the network that the server's inner address and all clients' are of."""
    return IPv6Network((inner, SITE_PREFIX), strict=False)


def pool(inner: IPv6Address, generation: int) -> IPv6Network:
    """Returns the addresses that the server's charon gives to clients, those of its n-th start.

    A charon forgets with its death whose an address was. Were it given to another client, that one
    would be sent what was still under way to the first.
    """
    first = int(site(inner).network_address) + (
        1 + generation % (GENERATIONS - 1) << _GENERATION_BIT
    )
    return IPv6Network((first, POOL_PREFIX))


def open_server(inner: IPv6Address) -> None:
    """Gives this machine the inner address; raises OSError."""
    _ip("address", "replace", f"{inner}/128", "dev", "lo")
    _ip("route", "replace", "blackhole", str(site(inner)))


def close_server(inner: IPv6Address) -> None:
    """Takes the inner address from this machine."""
    _ip("address", "del", f"{inner}/128", "dev", "lo", must=False)
    _ip("route", "del", "blackhole", str(site(inner)), must=False)


def open_client(inner: IPv6Address) -> None:
    """Lets nothing for the server's inner address leave outside an SA; raises OSError."""
    _ip("route", "replace", "blackhole", f"{inner}/128")


def close_client(inner: IPv6Address) -> None:
    """Takes back what ``open_client`` did."""
    _ip("route", "del", "blackhole", f"{inner}/128", must=False)


def _ip(*arguments: str, must: bool = True) -> None:
    done = subprocess.run(["ip", "-6", *arguments], capture_output=True, text=True, check=False)
    if must and done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

"""Where the patent's way loses: octets computed from the wire format, and figures of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from experiments.records.record import Figure, Summary
from experiments.reports.pages import number
from protocol.wire import esp, etherip, ip, vpn_header
from protocol.wire.inner_packet import PATH_MTU, UDP_HEADER_LENGTH, lan_mtu

FRAMES = (64, 512, 1360)
"""Octets of the frames for which a share is told."""


@dataclass(frozen=True)
class Loss:
    """One of them: what is lost, how much, and where the number comes from."""

    what: str
    how_much: str
    source: str


def around(version: int, length: int) -> int:
    """Returns the octets that a frame of ``length`` octets gets around it in an outer IP packet."""
    sealed = etherip.HEADER_LENGTH + length
    padding = len(esp.trailer(sealed, etherip.NEXT_HEADER))
    return (
        (ip.HEADER_LENGTHS[version] + UDP_HEADER_LENGTH + vpn_header.LENGTH)
        + (ip.HEADER_LENGTHS[version] + esp.HEADER_LENGTH + esp.IV_LENGTH)
        + (etherip.HEADER_LENGTH + padding + esp.ICV_LENGTH)
    )


def for_blindness(version: int) -> int:
    """Returns those of them that a server needs only because it does not decrypt."""
    return vpn_header.LENGTH + ip.HEADER_LENGTHS[version]


def losses(summaries: Mapping[str, Summary]) -> Iterator[Loss]:
    """Yields all that can be told with these runs, by topology."""
    yield from _octets()
    for topo, name, words, source in _FIGURES:
        figure = summaries[topo].figures.get(name) if topo in summaries else None
        if figure is not None:
            yield Loss(words, _shown(figure), f"{source} in the record of {topo}")


_FIGURES = (
    (
        *("subgroups", "unreadable_copies.patent"),
        "copies sent to members with another Sub ID, who cannot open them",
        "unreadable_copies.patent",
    ),
    (
        *("subgroups", "unreadable_octets.patent"),
        "octets thus wasted for each copy sent",
        "unreadable_octets.patent",
    ),
    (
        *("subgroups", "rekey_messages.128_members"),
        "messages for a fresh key when one of 128 members goes (a hub forgets one key)",
        "rekey_messages.128_members",
    ),
    (
        *("subgroups", "rekey_octets.128_members"),
        "octets of these messages",
        "rekey_octets.128_members",
    ),
    (
        *("multiserver", "flooded_known_unicast.multiserver.3x6.unreported"),
        "frames for one station that several servers send to all, unless they tell each other",
        "flooded_known_unicast.multiserver.3x6.unreported",
    ),
    (
        *("cascade", "copies_between_servers.cascade.3x6"),
        "copies a second between three servers on embodiment 5's way, none on embodiment 4's",
        "copies_between_servers.cascade.3x6",
    ),
)


def _octets() -> Iterator[Loss]:
    computed = "computed from the wire format"
    for version in (6, 4):
        some = [around(version, length) for length in range(esp.ALIGNMENT)]
        shares = ", ".join(f"{around(version, one) / one:.0%} of {one}" for one in FRAMES)
        yield Loss(
            f"octets around a frame, IPv{version} outside and inside",
            f"{min(some)} to {max(some)}: {shares}",
            computed,
        )
        yield Loss(
            f"of these, only because the server does not decrypt (VPN header, inner IPv{version} header)",
            str(for_blindness(version)),
            computed,
        )
        yield Loss(
            f"largest IP packet on a LAN, IPv{version}, on a path of {PATH_MTU} octets",
            str(lan_mtu(version, version)),
            computed,
        )
    yield Loss("octets more for a hop tag", str(vpn_header.HOP_TAG_LENGTH), computed)
    yield Loss(
        "readable on the path for every frame: source and destination MAC, group and sender address, "
        "SPI, sender ID and number, besides size and time",
        f"{vpn_header.LENGTH + ip.HEADER_LENGTHS[6] + esp.HEADER_LENGTH + esp.IV_LENGTH} octets",
        computed,
    )


def _shown(figure: Figure) -> str:
    share = figure.unit.startswith("share")
    return f"{figure.value:.0%}" if share else f"{number(figure.value)} {figure.unit}"

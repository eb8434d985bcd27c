"""Figures, tables and invariants of starts.

Intervals are over repetitions: what a start has of several clients is averaged first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from experiments.records import figures as figures_of
from experiments.records.record import Figure, Invariant, Table
from experiments.startup.measure import CONTROLS, Start

_COMPARED = ("ready", "time_to_register", "octets_to_register")
"""What is set in relation, IKE over TLS."""
MILLISECONDS, MEBIBYTE = 1000.0, 1024.0 * 1024.0


@dataclass(frozen=True)
class Bar:
    """What was asked for: how soon so many clients are to be in their group by TLS, in s, on two cores."""

    clients: int
    limit: float

    def judge(self, found: Figure) -> str:
        """Says by the interval whether it is met: one on both sides, or a single start, leaves it open."""
        if found.n < 2:
            return "open"
        if found.high <= self.limit:
            return "met"
        return "missed" if found.low > self.limit else "open"


BARS = (Bar(3, 2.0), Bar(64, 20.0))


def figures(starts: Sequence[Start]) -> dict[str, Figure]:
    """Returns the figures, each named after control and number of clients."""
    found: dict[str, Figure] = {}
    for control, clients, of_kind in _kinds(starts):
        for name, unit, value in _QUANTITIES:
            values = [value(start) for start in of_kind]
            found[f"{name}.{control}.{clients}"] = figures_of.mean(values, unit)
    return {**found, **dict(_over_tls(starts))}


def bars(made: Mapping[str, Figure]) -> dict[str, Figure]:
    """Returns what each bar is set against, with the verdict in its unit; those not measured are left out."""
    found = {}
    for bar in BARS:
        ready = made.get(f"ready.tls.{bar.clients}")
        if ready is not None:
            unit = f"s, at most {bar.limit:g}: {bar.judge(ready)}"
            found[f"bar.ready.tls.{bar.clients}"] = replace(ready, unit=unit)
    return found


def bar_lines(found: Mapping[str, Figure]) -> Iterator[str]:
    """Yields a line for each bar."""
    for name, one in found.items():
        yield f"{name}: {one.value:.2f} ({one.low:.2f} to {one.high:.2f}, n = {one.n}) {one.unit}"


def table(starts: Sequence[Start]) -> Table:
    """Returns all figures, a row for each control and number of clients."""
    made = figures(starts)
    rows: list[tuple[str | int | float, ...]] = []
    for control, clients, of_kind in _kinds(starts):
        values = [made[f"{name}.{control}.{clients}"].value for name, _, _ in _QUANTITIES]
        rows.append((control, clients, len(of_kind), *(float(f"{each:.4g}") for each in values)))
    columns = [f"{name.replace('_', ' ')}, {unit}" for name, unit, _ in _QUANTITIES]
    return Table(
        "Starts of all clients at once",
        ("control", "clients", "repetitions", *columns),
        tuple(rows),
        "Means. Ready: from the first client's start until all were in their group. To register: "
        "from a client's first packet. Memory is PSS: what a process shares counts by its share.",
    )


def invariants(starts: Sequence[Start]) -> dict[str, Invariant]:
    """Tells whether all processes ended in order, and what protected which registration."""
    ended = [code for start in starts for code in start.codes.values()]
    wrong = sum(code != 0 for code in ended)
    strangers = sum(
        client.packets[protocol] > 0
        for start in starts
        for client in start.clients.values()
        for protocol in (("TLS",) if start.control == "ike" else ("IKE", "ESP"))
    )
    count = sum(len(start.clients) for start in starts)
    return {
        "processes_end_in_order": Invariant(
            bool(ended) and not wrong, f"{len(ended)} processes ended, {wrong} not in order"
        ),
        "registrations_go_by_their_control_alone": Invariant(
            bool(count) and not strangers, f"{count} registrations, {strangers} by the other too"
        ),
    }


def _kinds(starts: Sequence[Start]) -> Iterator[tuple[str, int, list[Start]]]:
    for control in CONTROLS:
        for clients in sorted({len(start.clients) for start in starts}):
            of_kind = [
                one for one in starts if (one.control, len(one.clients)) == (control, clients)
            ]
            if of_kind:
                yield control, clients, of_kind


def _over_tls(starts: Sequence[Start]) -> Iterator[tuple[str, Figure]]:
    """Yields what IKE takes over TLS, of the two starts of each repetition."""
    repetitions: dict[tuple[int, int], dict[str, Start]] = defaultdict(dict)
    for start in starts:
        repetitions[len(start.clients), start.repetition][start.control] = start
    for wanted in sorted({clients for clients, _ in repetitions}):
        pairs = [
            (by["ike"], by["tls"])
            for (clients, _), by in repetitions.items()
            if clients == wanted and len(by) == len(CONTROLS)
        ]
        for name, _, value in _QUANTITIES if pairs else ():
            if name in _COMPARED:
                ratios = [value(by_ike) / value(by_tls) for by_ike, by_tls in pairs]
                yield f"ike_over_tls.{name}.{wanted}", figures_of.mean(ratios, "ratio")


def _each(start: Start, values: Sequence[float]) -> float:
    return sum(values) / len(start.clients)


def _packets(start: Start) -> float:
    return _each(start, [sum(one.packets.values()) for one in start.clients.values()])


def _octets(start: Start) -> float:
    return _each(start, [sum(one.octets.values()) for one in start.clients.values()])


_QUANTITIES: tuple[tuple[str, str, Callable[[Start], float]], ...] = (
    ("ready", "s", lambda start: start.ready_after),
    (
        "time_to_register",
        "ms",
        lambda start: _each(
            start, [one.registered_in * MILLISECONDS for one in start.clients.values()]
        ),
    ),
    ("packets_to_register", "packets a client", _packets),
    (
        "ike_messages",
        "messages a client",
        lambda start: _each(start, [one.packets["IKE"] for one in start.clients.values()]),
    ),
    ("octets_to_register", "octets a client", _octets),
    (
        "client_memory",
        "MiB",
        lambda start: _each(start, [one.memory / MEBIBYTE for one in start.clients.values()]),
    ),
    (
        "client_charon_memory",
        "MiB",
        lambda start: _each(start, [one.charon / MEBIBYTE for one in start.clients.values()]),
    ),
    ("server_memory", "MiB", lambda start: start.server / MEBIBYTE),
    ("server_charon_memory", "MiB", lambda start: start.charon / MEBIBYTE),
)

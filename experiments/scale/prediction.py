"""Predicts what was left out of the fit, and says by how much that is wrong, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.records import figures as figures_of
from experiments.records.record import Figure, Invariant, Sample, Table
from experiments.scale.calibration import (
    LARGEST_FITTED,
    LEFT_OUT_RUN,
    LEFT_OUT_SIZE,
    SERVERS,
    CellOnRig,
    Server,
)
from experiments.scale.coefficients import COEFFICIENT, IN_NETWORKS, LONGEST_RUN, PLANES
from experiments.scale.drawings import CHECK, CHECK_WIDTH
from experiments.scale.in_networks import CellInNetwork, ServerInNetwork, cells
from simulator.scale.costs import ALLOWED_ERROR, QUANTITIES, UNITS, Costs, Measured, fit


@dataclass(frozen=True)
class Check:
    """A cell that had no part in the fit: predicted and measured."""

    kind: str
    fitted: str
    """Which coefficients it was predicted with."""
    cell: Measured
    predicted_ns: float
    interval_ns: tuple[float, float]
    """The prediction's own 95 % interval: how far the coefficients are known."""

    @property
    def error(self) -> float:
        """By how much the prediction is above what was measured, as a share of that."""
        return self.predicted_ns / self.cell.mean_ns - 1

    @property
    def allowed(self) -> float:
        """How large the error may be."""
        return max(ALLOWED_ERROR, self.cell.half_width)

    @property
    def within(self) -> bool:
        """Whether it is as small as that."""
        return abs(self.error) <= self.allowed


@dataclass(frozen=True, eq=False)
class Predictions:
    """Coefficients by what they are of, and every check."""

    costs: Mapping[str, Costs]
    checks: Sequence[Check]

    def kinds(self) -> list[str]:
        """Lists the kinds of checks."""
        return list(dict.fromkeys(check.kind for check in self.checks))

    def of(self, kind: str) -> list[Check]:
        """Lists the checks of one kind."""
        return [check for check in self.checks if check.kind == kind]

    def figures(self) -> dict[str, Figure]:
        """Returns coefficients, mean absolute errors, and how many checks are within what is allowed."""
        found: dict[str, Figure] = {}
        for what, costs in self.costs.items():
            for name, unit in zip(QUANTITIES, UNITS, strict=True):
                value, low, high = costs.interval(name)
                if high > 0:
                    found[f"{COEFFICIENT}.{what}.{name}"] = Figure(value, low, high, 1, unit)
            longest = figures_of.exact(costs.longest_run, "datagrams, fitted")
            found[f"{COEFFICIENT}.{what}.{LONGEST_RUN}"] = longest
        for kind in self.kinds():
            checks = self.of(kind)
            errors = [abs(check.error) for check in checks]
            found[f"error.{kind}"] = figures_of.mean(errors, "mean absolute, share")
            within = sum(check.within for check in checks)
            found[f"within.{kind}"] = figures_of.exact(within, f"of {len(checks)} cells")
        return found

    def samples(self) -> Iterator[Sample]:
        """Yields every check's error, and how wide the measured figure's interval is."""
        for check in self.checks:
            labels = {"kind": check.kind, "cell": check.cell.name, "fitted": check.fitted}
            yield Sample(CHECK, check.error, "error, share", labels)
            yield Sample(CHECK_WIDTH, check.cell.half_width, "half-width, share", labels)

    def table(self) -> Table:
        """Lists every check."""
        rows = tuple(
            (
                check.kind.replace("_", " ").replace(".", ", "),
                check.cell.name,
                round(check.cell.mean_ns),
                f"{check.cell.half_width:.1%}",
                round(check.predicted_ns),
                f"{check.interval_ns[0]:.0f} to {check.interval_ns[1]:.0f}",
                f"{check.error:+.1%}",
                f"{check.allowed:.1%}",
                "within" if check.within else "missed",
            )
            for check in self.checks
        )
        columns = (
            "left out",
            "cell",
            "measured ns",
            "± 95 %",
            "predicted ns",
            "95 %",
            "error",
            "allowed",
            "",
        )
        note = (
            "Per frame in on the rig, per round in networks, per rekey at the key server; servers in "
            "networks make a system call for each datagram. By the kernel plane it is what the network "
            f"stack does at once with what comes in. Allowed is {ALLOWED_ERROR:.0%}, or the measured "
            "figure's own half-width if that is larger."
        )
        return Table("Processor time, predicted and measured", columns, rows, note)

    def table_of_coefficients(self) -> Table:
        """Lists the coefficients."""
        rows = []
        for what, costs in self.costs.items():
            for name, unit in zip(QUANTITIES, UNITS, strict=True):
                value, low, high = costs.interval(name)
                if high > 0:
                    rows.append(
                        (
                            what,
                            name.replace("_", " "),
                            f"{value:.4g}",
                            f"{low:.4g} to {high:.4g}",
                            unit,
                        )
                    )
        return Table("Coefficients", ("of", "for each", "ns", "95 %", "unit"), tuple(rows))


def predict(
    on_rig: Sequence[CellOnRig], servers: Sequence[ServerInNetwork], rekeys: Mapping[int, Measured]
) -> Predictions:
    """Fits on small groups and one topology, and checks on what was left out.

    Cells that no sound window tells of have no part in either.
    """
    costs: dict[str, Costs] = {}
    checks: list[Check] = []
    for server in SERVERS.values():
        own = [one for one in on_rig if one.what == server.what and one.is_told]
        checks += _on_rig(server, own, costs)
    checks += _in_networks(cells(servers), costs)
    few = [cell for members, cell in rekeys.items() if members <= LARGEST_FITTED]
    if few:
        costs["key_server"] = fit(few)
        many = [cell for members, cell in rekeys.items() if members > LARGEST_FITTED]
        checks += _checks("larger_rekeys", "key_server", costs["key_server"], many)
    return Predictions(costs, checks)


def _on_rig(server: Server, own: Sequence[CellOnRig], costs: dict[str, Costs]) -> Iterator[Check]:
    """Fits on groups of few members; checks on more, on frames of another size and on other runs."""
    usual = [one for one in own if one.cell.burst != LEFT_OUT_RUN]
    small = [one for one in usual if one.cell.members <= LARGEST_FITTED]
    if not small:
        return
    found = costs[server.what] = fit([one.measured for one in small])
    larger = [one.measured for one in usual if one not in small]
    yield from _checks(_kind("larger_groups", server), server.what, found, larger)
    rest = [one.measured for one in small if one.cell.size == LEFT_OUT_SIZE]
    some = [one.measured for one in small if one.cell.size != LEFT_OUT_SIZE]
    if some:
        yield from _checks(_kind("another_size", server), server.what, fit(some), rest)
    between = [one.measured for one in own if one.cell.burst == LEFT_OUT_RUN]
    if found.longest_run >= LEFT_OUT_RUN:
        yield from _checks(_kind("shorter_runs", server), server.what, found, between)


def _kind(kind: str, server: Server) -> str:
    """Names a kind of checks with the data plane, but for the one that makes a call for each datagram."""
    return kind if server.plane == PLANES[0] else f"{kind}.{server.plane}"


def _in_networks(networks: Sequence[CellInNetwork], costs: dict[str, Costs]) -> Iterator[Check]:
    """Fits on networks with one server and few clients; checks on more clients and other topologies."""
    single = [one for one in networks if one.point.way == "single"]
    small = [one for one in single if one.point.clients <= LARGEST_FITTED]
    if not small:
        return
    found = costs[IN_NETWORKS] = fit([one.measured for one in small])
    larger = [one.measured for one in single if one not in small]
    yield from _checks("larger_networks", IN_NETWORKS, found, larger)
    others = [one.measured for one in networks if one.point.way != "single"]
    yield from _checks("another_topology", IN_NETWORKS, found, others)


def _checks(kind: str, fitted: str, costs: Costs, cells: Sequence[Measured]) -> Iterator[Check]:
    for cell in cells:
        found = costs.predict(cell.work)
        yield Check(kind, fitted, cell, found.value, (found.low, found.high))


def invariants(
    on_rig: Sequence[CellOnRig], servers: Sequence[ServerInNetwork]
) -> dict[str, Invariant]:
    """Tells whether all counters are what the model says: these must be equal, not near."""
    wrong = [f"{one.name}: {one.wrong}" for one in on_rig if one.wrong]
    windows = sum(len(one.windows) for one in on_rig)
    sound = sum(len(one.sound) for one in on_rig)
    found = {
        "copies_on_the_rig_are_those_foretold": Invariant(
            sound > 0 and not wrong,
            f"{sound} of {windows} windows had the load as planned; copies missing or too many: "
            f"{'; '.join(wrong) or 'none'}",
        )
    }
    if servers:
        unequal = [
            f"{one.name}: counted {one.counts}, foretold {one.foretold}"
            for one in servers
            if one.counts != one.foretold
        ]
        found["counters_in_networks_are_those_foretold"] = Invariant(
            not unequal, f"{len(servers)} servers; unequal: {'; '.join(unequal) or 'none'}"
        )
    return found

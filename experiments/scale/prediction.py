"""Predicts what was left out of the fit, and says by how much that is wrong, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.records import figures as figures_of
from experiments.records.record import Figure, Invariant, Sample, Table
from experiments.scale.calibration import (
    LARGEST_FITTED,
    LEFT_OUT_SIZE,
    SERVERS,
    CellOnRig,
)
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
                    found[f"coefficient.{what}.{name}"] = Figure(value, low, high, 1, unit)
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
                check.kind.replace("_", " "),
                check.cell.name,
                round(check.cell.mean_ns),
                f"{check.cell.half_width:.1%}",
                round(check.predicted_ns),
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
            "error",
            "allowed",
            "",
        )
        note = (
            "Per frame in on the rig, per round in networks, per rekey at the key server; servers make a "
            f"system call for each datagram. Allowed is {ALLOWED_ERROR:.0%}, or the measured "
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

    Cells without any sound window have no part in either.
    """
    costs: dict[str, Costs] = {}
    checks: list[Check] = []
    for what in SERVERS.values():
        own = [one for one in on_rig if one.what == what and one.sound]
        small = [one for one in own if one.cell.members <= LARGEST_FITTED]
        if not small:
            continue
        costs[what] = fit([one.measured for one in small])
        larger = [one.measured for one in own if one not in small]
        checks += _checks("larger_groups", what, costs[what], larger)
        some = [one.measured for one in small if one.cell.size != LEFT_OUT_SIZE]
        rest = [one.measured for one in small if one.cell.size == LEFT_OUT_SIZE]
        checks += _checks("another_size", what, fit(some), rest)
    checks += _in_networks(cells(servers), costs)
    few = [cell for members, cell in rekeys.items() if members <= LARGEST_FITTED]
    if few:
        costs["key_server"] = fit(few)
        many = [cell for members, cell in rekeys.items() if members > LARGEST_FITTED]
        checks += _checks("larger_rekeys", "key_server", costs["key_server"], many)
    return Predictions(costs, checks)


def _in_networks(networks: Sequence[CellInNetwork], costs: dict[str, Costs]) -> Iterator[Check]:
    """Fits on networks with one server and few clients; checks on more clients and other topologies."""
    single = [one for one in networks if one.point.way == "single"]
    small = [one for one in single if one.point.clients <= LARGEST_FITTED]
    if not small:
        return
    found = costs["relay_in_networks"] = fit([one.measured for one in small])
    larger = [one.measured for one in single if one not in small]
    yield from _checks("larger_networks", "relay_in_networks", found, larger)
    others = [one.measured for one in networks if one.point.way != "single"]
    yield from _checks("another_topology", "relay_in_networks", found, others)


def _checks(kind: str, fitted: str, costs: Costs, cells: Sequence[Measured]) -> Iterator[Check]:
    for cell in cells:
        yield Check(kind, fitted, cell, costs.predict(cell.work).value)


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

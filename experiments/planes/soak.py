"""The soak: one long stream through each plane, at 20 % under what it bears; none lost, none changed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from experiments.instrument.loads import loss_free_rate
from experiments.instrument.programs import InstrumentError, Program, program
from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.servers import GENERATOR_FILE
from experiments.isolation import MachineError
from experiments.planes.soak_program import Order, Report
from experiments.record import Figure, Invariant
from topologies.rig import MEMBERS

PLANES = ("socket", "batch", "kernel")
COLUMNS = ("plane", "saturated at /s", "sent at /s", "sent", "lost", "changed", "doubled", "tries")
NOTE = (
    "Each datagram has a sequence number and octets of its own; a digest of it is compared where it "
    "arrives. Saturation is that of generator, relay and receiver together on this machine."
)
SHARE = 0.8
BURST = 32
COUNT, QUICK_COUNT = 1_000_000, 20_000
SECONDS, QUICK_SECONDS = 300.0, 8.0
"""When these have passed no more is sent: the invariant then is about what was."""
TRIAL_SECONDS = 0.3
TRIAL_MARGIN = 2_000_000
"""Sequence numbers for the trials."""
LOWEST, HIGHEST = 500.0, 200_000.0
PRECISION = 0.25
TRIES = 3
"""A stream that lost is sent anew at a new share of the saturation: others on the machine make losses."""
_BEGIN_SECONDS = 60.0
_SLACK_SECONDS = 30.0
_MODULE = "experiments.planes.soak_program"


@dataclass(frozen=True)
class Outcome:
    """What a plane did with its stream, and in which try."""

    saturation: float
    report: Report
    wanted: int
    tries: int

    @property
    def held(self) -> bool:
        """Tells whether all that was sent came, once and unchanged."""
        report = self.report
        return report.sent > 0 and not (
            report.lost or report.changed or report.doubled or report.strange
        )

    def describe(self) -> str:
        """Says it in one line."""
        report = self.report
        ended = "" if report.sent >= self.wanted else f" of {self.wanted}: the time was up"
        return (
            f"{report.sent} datagrams{ended} at {report.sent / report.seconds:.0f}/s (saturated at "
            f"{self.saturation:.0f}/s): {report.lost} lost, {report.changed} changed, "
            f"{report.doubled} doubled, {report.strange} strange; try {self.tries}"
        )

    def cells(self) -> tuple[str | int | float, ...]:
        """Returns the row of the table, without the plane."""
        report = self.report
        rate = round(report.sent / report.seconds)
        counted = (report.sent, report.lost, report.changed, report.doubled)
        return (round(self.saturation), rate, *counted, self.tries)

    def invariant(self) -> Invariant:
        """Returns whether none was lost and none changed."""
        return Invariant(self.held, self.describe())

    def figures(self, plane: str) -> dict[str, Figure]:
        """Returns the counts."""
        counts = {
            "sent": self.report.sent,
            "lost": self.report.lost,
            "changed": self.report.changed,
            "tries": self.tries,
        }
        return {
            f"soak.{plane}.{name}": Figure(value, value, value, 1, "datagrams")
            for name, value in counts.items()
        }


class Soaked:
    """The program in the members' node, from outside."""

    def __init__(self, told: Program) -> None:
        """Waits until its members are registered."""
        self._told = told
        told.hear(_BEGIN_SECONDS)

    def carry(self, order: Order) -> Report:
        """Has a stream sent; returns what became of it."""
        self._told.tell(msgspec.json.encode(order))
        return msgspec.json.decode(self._told.hear(order.seconds + _SLACK_SECONDS), type=Report)


def run(plane: str, quick: bool) -> Outcome:
    """Sends a stream through one plane; MachineError when this machine does not have it."""
    count, seconds = (QUICK_COUNT, QUICK_SECONDS) if quick else (COUNT, SECONDS)
    with _up(plane, TRIES * COUNT + TRIAL_MARGIN) as soaked:
        for number in range(1, TRIES + 1):
            saturation = _saturation(soaked)
            report = soaked.carry(Order(count, SHARE * saturation, BURST, seconds))
            outcome = Outcome(saturation, report, count, number)
            # What is changed or doubled is the plane's doing, whoever is on the machine.
            if outcome.held or report.changed or report.doubled or report.strange:
                break
    return outcome


def _saturation(soaked: Soaked) -> float:
    """Returns the highest rate at which trials lose nothing; InstrumentError when all do."""

    def holds(rate: float) -> bool:
        trial = soaked.carry(Order(round(rate * TRIAL_SECONDS), rate, BURST, 2 * TRIAL_SECONDS))
        return not trial.lost and trial.sent >= SHARE * rate * trial.seconds

    found = loss_free_rate(holds, LOWEST, HIGHEST, PRECISION)
    if not found:
        raise InstrumentError(f"soak: not borne even at {LOWEST:.0f} datagrams a second")
    return found


@contextmanager
def _up(plane: str, most: int) -> Iterator[Soaked]:
    """Builds a rig with one relay and two members, whose datagrams reach each other."""
    with ExitStack() as stack:
        rig = stack.enter_context(rig_up((plane,), (2,)))
        _expect(rig, plane)
        rig.generator.finish()
        rig.set_egress_drop(False)
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-", dir="/run"))
        argv = ("-m", _MODULE, str(rig.folder / GENERATOR_FILE), str(most))
        yield Soaked(stack.enter_context(program(rig.network, MEMBERS, argv, Path(name), "soak")))


def _expect(rig: Rig, plane: str) -> None:
    found = rig.deployment.status(plane)["process"]["dataplane"]
    if found != plane:
        raise MachineError(rig.deployment.log(plane).splitlines()[-1])

"""The soak: one long stream through each plane, at 20 % under what it bears; none lost, none changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from experiments.instrument.loads import loss_free_rate
from experiments.instrument.programs import InstrumentError, Program, program
from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.servers import GENERATOR_FILE
from experiments.isolation import MachineError
from experiments.planes.soak_program import Order, Report
from experiments.records.figures import exact
from experiments.records.record import Figure, Invariant
from topologies.rig import MEMBERS

PLANES = ("socket", "batch", "kernel")
COLUMNS = (
    "plane",
    "saturated at /s",
    "by",
    "sent at /s",
    "sent",
    "lost",
    "changed",
    "doubled",
    "tries",
)
NOTE = (
    "Each datagram has a sequence number and octets of its own; a digest of it is compared where it "
    "arrives. Saturation is that of generator, relay and receiver together on this machine: beyond it "
    "datagrams are lost or come ever later (way), or the generator does not keep up (generator)."
)
SHARE = 0.8
TOLERANCE = 0.05
"""How far the rate reached may be from that share of the saturation, as a part of it."""
KEPT_UP = 0.95
"""The part of a trial's rate at which it has to be sent to show that it is borne."""
BEHIND = 0.05
"""How long after a trial's end its last datagram may come, in s: what comes later waited in a buffer."""
BURST = 32
COUNT, QUICK_COUNT = 1_000_000, 20_000
SECONDS, QUICK_SECONDS = 150.0, 8.0
"""When these have passed no more is sent, and the invariant about the load does not hold."""
TRIAL_SECONDS, QUICK_TRIAL_SECONDS = 1.0, 0.5
TRIAL_MARGIN = 6_000_000
"""Sequence numbers for the trials."""
LOWEST, HIGHEST = 500.0, 200_000.0
PRECISION = 0.06
TRIES = 3
"""A stream that lost or was at another share is sent anew at a new share of the saturation: others on the
machine make that. One that the time was too short for is not."""
_BEGIN_SECONDS = 60.0
_SLACK_SECONDS = 30.0
_MODULE = "experiments.planes.soak_program"


Limit = Literal["way", "generator", "none"]


@dataclass(frozen=True)
class Saturation:
    """The highest rate that was borne, in datagrams/s, and what was not up to a higher one."""

    rate: float
    limit: Limit


@dataclass(frozen=True)
class Outcome:
    """What a plane did with its stream, and in which try."""

    saturation: Saturation
    report: Report
    wanted: int
    tries: int

    @property
    def whole(self) -> bool:
        """Tells whether all that was sent came, once and unchanged."""
        report = self.report
        return report.sent > 0 and not (report.lost or self.meddled)

    @property
    def meddled(self) -> bool:
        """Tells whether something came that was not sent: the plane's doing, whoever is on the machine."""
        return bool(self.report.changed or self.report.doubled or self.report.strange)

    @property
    def loaded(self) -> bool:
        """Tells whether all was sent, and at the share of the saturation that was asked for."""
        off = abs(self.share / SHARE - 1)
        return self.report.sent == self.wanted and off <= TOLERANCE

    @property
    def share(self) -> float:
        """Returns the rate reached as a share of the saturation."""
        return self.report.rate / self.saturation.rate

    def describe(self) -> str:
        """Says it in one line."""
        report = self.report
        return (
            f"{report.sent} datagrams at {report.rate:.0f}/s: {report.lost} lost, "
            f"{report.changed} changed, {report.doubled} doubled, {report.strange} strange; "
            f"{self._load()}; try {self.tries}"
        )

    def _load(self) -> str:
        return (
            f"{self.report.sent} of {self.wanted} sent, at {self.share:.3f} of the saturation of "
            f"{self.saturation.rate:.0f}/s, limited by {self.saturation.limit}"
        )

    def cells(self) -> tuple[str | int | float, ...]:
        """Returns the row of the table, without the plane."""
        report = self.report
        counted = (report.sent, report.lost, report.changed, report.doubled)
        saturated = (round(self.saturation.rate), self.saturation.limit)
        return (*saturated, round(report.rate), *counted, self.tries)

    def invariants(self, plane: str) -> dict[str, Invariant]:
        """Returns whether none was lost and none changed, and whether the load was as asked for."""
        bounds = f"{SHARE:g} of it within {TOLERANCE:.0%} is asked for"
        return {
            f"{plane}_loses_and_changes_nothing": Invariant(self.whole, self.describe()),
            f"{plane}_is_loaded_as_asked_for": Invariant(self.loaded, f"{self._load()}; {bounds}"),
        }

    def figures(self, plane: str) -> dict[str, Figure]:
        """Returns counts and rates."""
        report = self.report
        values = {
            "sent": (report.sent, "datagrams"),
            "lost": (report.lost, "datagrams"),
            "changed": (report.changed, "datagrams"),
            "tries": (self.tries, "streams"),
            "saturation": (self.saturation.rate, "datagrams/s"),
            "rate": (report.rate, "datagrams/s"),
            "share": (self.share, "of the saturation"),
        }
        return {f"soak.{plane}.{name}": exact(*value) for name, value in values.items()}


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


def run(plane: str, quick: bool, note: Callable[[str], None]) -> Outcome:
    """Sends a stream through one plane, and notes each try; MachineError when it cannot be had here."""
    count, seconds = (QUICK_COUNT, QUICK_SECONDS) if quick else (COUNT, SECONDS)
    with _up(plane, TRIES * COUNT + TRIAL_MARGIN) as soaked:
        for number in range(1, TRIES + 1):
            found = saturation(soaked.carry, QUICK_TRIAL_SECONDS if quick else TRIAL_SECONDS)
            report = soaked.carry(Order(count, SHARE * found.rate, BURST, seconds))
            outcome = Outcome(found, report, count, number)
            note(f"  {outcome.describe()}")
            if (outcome.whole and outcome.loaded) or outcome.meddled or report.sent < count:
                break
    return outcome


def saturation(carry: Callable[[Order], Report], seconds: float) -> Saturation:
    """Returns the highest rate at which trials lose nothing and keep up; InstrumentError without one.

    A buffer hides a short overload: a trial also has to be there soon after its end.
    """
    borne: list[float] = [0.0]
    refused: dict[float, Limit] = {}

    def holds(rate: float) -> bool:
        trial = carry(Order(round(rate * seconds), rate, BURST, 2 * seconds))
        sent_well = trial.rate >= KEPT_UP * rate
        if sent_well and trial.behind <= BEHIND and not trial.lost:
            borne.append(min(trial.rate, rate))
            return True
        refused[rate] = "generator" if not (sent_well or trial.lost) else "way"
        return False

    if not loss_free_rate(holds, LOWEST, HIGHEST, PRECISION):
        raise InstrumentError(f"soak: not borne even at {LOWEST:.0f} datagrams a second")
    beyond = [rate for rate in refused if rate > max(borne)]
    return Saturation(max(borne), refused[min(beyond)] if beyond else "none")


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

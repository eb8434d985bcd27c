"""Compares the probe frames that receivers recorded with those that were due to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from experiments.traffic.probe import (
    ProbeFrame,
    ReceivedFrame,
    ReceiveEnd,
    SendPlan,
    Stream,
    mac_from_text,
)


@dataclass(frozen=True)
class Delivery:
    """Says that one receiver (a node's name) gets, or got, one frame."""

    receiver: str
    frame: ProbeFrame

    def describe(self) -> str:
        """Says in a few words what went where."""
        return f"{self.receiver}: {self.frame.describe()}"


@dataclass(frozen=True)
class ProbeOutcome:
    """Holds what differs between expected and received; all empty when all is well."""

    expected: int
    received: int
    missing: tuple[Delivery, ...] = ()
    duplicated: tuple[Delivery, ...] = ()
    altered: tuple[tuple[str, ReceivedFrame], ...] = ()
    unexpected: tuple[tuple[str, ReceivedFrame], ...] = ()
    kernel_dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Tells whether every frame came exactly once, unaltered, and nothing else came."""
        return not (self.missing or self.duplicated or self.altered or self.unexpected)

    def describe(self) -> str:
        """Says in one line what was seen, with the first example of each kind of fault."""
        parts = [f"{self.received} frames received, {self.expected} expected"]
        for name, deliveries in (("missing", self.missing), ("duplicated", self.duplicated)):
            if deliveries:
                parts.append(f"{len(deliveries)} {name}, first {deliveries[0].describe()}")
        for name, records in (("altered", self.altered), ("unexpected", self.unexpected)):
            if records:
                receiver, record = records[0]
                parts.append(
                    f"{len(records)} {name}, first at {receiver}: sender {record.sender} sequence "
                    f"{record.sequence} ({record.source} to {record.destination})"
                )
        if any(self.kernel_dropped.values()):
            dropped = ", ".join(f"{name} {n}" for name, n in self.kernel_dropped.items() if n)
            parts.append(f"the receivers' kernel buffers overflowed ({dropped})")
        return "; ".join(parts)


def expected_deliveries(
    plans: Iterable[SendPlan], receivers: Callable[[SendPlan, Stream], Iterable[str]]
) -> tuple[Delivery, ...]:
    """Lists who is to receive what: ``receivers`` names the nodes that one stream reaches."""
    return tuple(
        Delivery(receiver, frame)
        for plan in plans
        for stream in plan.streams
        for receiver in receivers(plan, stream)
        for frame in plan.frames_of(stream)
    )


def compare(
    expected: Iterable[Delivery],
    received: Mapping[str, Iterable[ReceivedFrame | ReceiveEnd]],
    allowed: Iterable[Delivery] = (),
) -> ProbeOutcome:
    """Compares deliveries: each expected one exactly once, each allowed one at most once.

    An intact record stands for its frame to the last octet. One that is damaged, or whose number
    was due here with other addresses or another length, counts as altered; the rest is unexpected.
    """
    due = set(expected)
    optional = set(allowed) - due
    numbers = {_number(delivery) for delivery in due | optional}
    seen: Counter[Delivery] = Counter()
    altered: list[tuple[str, ReceivedFrame]] = []
    unexpected: list[tuple[str, ReceivedFrame]] = []
    dropped: dict[str, int] = {}
    total = 0
    for receiver, records in received.items():
        for record in records:
            if isinstance(record, ReceiveEnd):
                dropped[receiver] = record.kernel_dropped
                continue
            total += 1
            delivery = _delivery(receiver, record)
            if delivery in due or delivery in optional:
                seen[delivery] += 1
            elif delivery is None or _number(delivery) in numbers:
                altered.append((receiver, record))
            else:
                unexpected.append((receiver, record))
    return ProbeOutcome(
        expected=len(due),
        received=total,
        missing=_sorted(due - seen.keys()),
        duplicated=_sorted(delivery for delivery, count in seen.items() if count > 1),
        altered=tuple(altered),
        unexpected=tuple(unexpected),
        kernel_dropped=dropped,
    )


def _delivery(receiver: str, record: ReceivedFrame) -> Delivery | None:
    """Gives the delivery that an intact record stands for, none for a damaged one."""
    if not record.intact:
        return None
    frame = ProbeFrame(
        mac_from_text(record.destination),
        mac_from_text(record.source),
        bytes.fromhex(record.marker),
        record.sender,
        record.sequence,
        record.length,
    )
    return Delivery(receiver, frame)


def _number(delivery: Delivery) -> tuple[str, bytes, int, int]:
    """Gives what names a frame at a receiver whatever became of its addresses and length."""
    frame = delivery.frame
    return delivery.receiver, frame.marker, frame.sender, frame.sequence


def _sorted(deliveries: Iterable[Delivery]) -> tuple[Delivery, ...]:
    return tuple(sorted(deliveries, key=lambda one: (one.receiver, *_number(one)[1:])))

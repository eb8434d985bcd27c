"""The coefficients that ``make calibrate`` has fitted, as its record keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from experiments.records.environment import CHECKOUT
from experiments.records.record import Figure, RecordError, load_summary
from simulator.scale.costs import QUANTITIES, Costs, UnfittedError

PLANES = ("socket", "batch", "kernel")
USUAL_PLANE = "batch"
FORWARDING = ("relay", "hub")
IN_NETWORKS = "relay_in_networks"
"""Names the coefficients of servers in networks: they make a system call for each datagram."""
COEFFICIENT, LONGEST_RUN = "coefficient", "longest_run"
"""Parts of figures' names."""
_DIGEST_OCTETS = 8
REFERENCE = CHECKOUT / "results" / "reference"
CALIBRATIONS = (CHECKOUT / "results" / "calibrate" / "latest", REFERENCE / "calibrate")


def kept_costs(dataplane: str | None = None) -> tuple[str, dict[str, Costs]]:
    """Returns a data plane and its coefficients, of the latest calibration or of the one that is kept.

    Unless one is asked for it is batches, as for real servers, where these were measured; "" without any.
    UnfittedError for a plane that was not.
    """
    found = _coefficients()
    planes = [plane for plane in PLANES if f"relay_{plane}" in found]
    if dataplane is not None and dataplane not in planes:
        raise UnfittedError(
            f"DATAPLANE={dataplane}: expected one that was measured: {', '.join(planes) or 'none was'}"
            " (make calibrate measures all)"
        )
    usual = USUAL_PLANE if USUAL_PLANE in planes else next(iter(planes), "")
    chosen = usual if dataplane is None else dataplane
    own = {what: found[f"{what}_{chosen}"] for what in FORWARDING if f"{what}_{chosen}" in found}
    return chosen, own | {what: one for what, one in found.items() if what == IN_NETWORKS}


def named(dataplane: str) -> str:
    """Returns a data plane's name with a hash of its coefficients, which says which they are."""
    return f"{dataplane}:{_digest(kept_costs(dataplane)[1])}"


def costs_named(name: str) -> tuple[str, dict[str, Costs]]:
    """Returns what :meth:`named` has named; UnfittedError when it is not what is kept here."""
    dataplane, _, digest = name.partition(":")
    chosen, costs = kept_costs(dataplane)
    if _digest(costs) != digest:
        raise UnfittedError(
            f"dataplane {name}: expected these coefficients, here are {_digest(costs)}: "
            "the same calibration must lie everywhere"
        )
    return chosen, costs


def _digest(costs: Mapping[str, Costs]) -> str:
    values = {what: [one.longest_run, one.to_json()] for what, one in costs.items()}
    octets = msgspec.json.encode(values, order="sorted")
    return blake2b(octets, digest_size=_DIGEST_OCTETS).hexdigest()


def _coefficients() -> dict[str, Costs]:
    """Returns all coefficients by whose they are; older calibrations have those of sockets alone."""
    found: dict[str, dict[str, list[float]]] = {}
    longest: dict[str, float] = {}
    for name, figure in calibration().items():
        if not name.startswith(f"{COEFFICIENT}."):
            continue
        _, what, quantity = name.split(".")
        what = f"{what}_{PLANES[0]}" if what in FORWARDING else what
        if quantity == LONGEST_RUN:
            longest[what] = figure.value
        else:
            found.setdefault(what, {})[quantity] = [figure.value, figure.low, figure.high]
    nothing = {quantity: [0.0, 0.0, 0.0] for quantity in QUANTITIES}
    return {
        what: Costs.from_json(nothing | values, longest.get(what, 1.0))
        for what, values in found.items()
    }


def calibration() -> Mapping[str, Figure]:
    """Returns the figures of the latest calibration, or of the one that is kept; none without any."""
    for folder in CALIBRATIONS:
        try:
            return load_summary(folder).figures
        except RecordError:
            continue
    return {}

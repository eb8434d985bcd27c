"""Makes the scale model's pictures of a record's figures and samples, and says in words what they show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from experiments.records.record import Figure, Sample
from experiments.relay_load.cells import parse
from experiments.reports.drawing import Drawing
from experiments.reports.plots import Point
from experiments.scale import plots
from experiments.scale.coefficients import PLANES
from simulator.scale.costs import ALLOWED_ERROR
from simulator.scale.loads import Way

EMULATED = "emulated"
"""How the names of figures begin that were measured, and stand beside the model's."""
MAP_LINK, MAP_SERVER, WINS, CHECK = "map.link", "map.server", "wins.", "check"
"""Names of samples; WINS is followed by a criterion."""
CHECK_WIDTH = "check.half_width"
"""The half-width of what a check's error is an error of."""
MAP_WAYS: tuple[Way, ...] = ("single", "multicast", "multiserver", "cascade")
CRITERIA = ("busiest_server", "link_octets", "delay_p95", "most_rows")
"""What the ways are compared by: least is best."""
WITH_MULTICAST = frozenset({"link_octets"})
"""The criteria by which multicast is compared, too."""
_TITLES = {
    "busiest_server": "least load of the busiest server",
    "link_octets": "fewest octets on all links",
    "delay_p95": "shortest delay, 95 % of deliveries",
    "most_rows": "fewest rows at the fullest server",
}
_EQUAL = 0.005
"""Ways that differ by less count as equal."""


def draw(figures: Mapping[str, Figure], samples: Sequence[Sample], folder: Path) -> list[Drawing]:
    """Writes the pictures for which there are figures, as SVG and PNG, into a run's folder."""
    found: list[Drawing | None] = [
        _one_group(figures, folder, "one_group", "datagrams in and out a second", "busiest server"),
        _one_group(
            figures,
            folder,
            "one_group_processor",
            "ms of processor a second",
            "busiest server's processor",
        ),
        _by_clients(figures, folder, "busiest_server", "datagrams a second", "The busiest server"),
        _by_clients(figures, folder, "busiest_link", "packets a second", "The busiest link"),
        *_maps(samples, folder),
        _regions(samples, folder),
        *_errors(samples, folder),
    ]
    return [drawing for drawing in found if drawing is not None]


def _one_group(
    figures: Mapping[str, Figure], folder: Path, what: str, label: str, whose: str
) -> Drawing | None:
    lines: dict[tuple[str, bool], list[Point]] = defaultdict(list)
    for name, figure in figures.items():
        parts = name.split(".")
        measured = parts[0] == EMULATED
        if parts[measured : measured + 1] != [what]:
            continue
        clients = int(parts[-1].partition("x")[2])
        point = Point(clients, figure.value, figure.low, figure.high)
        lines[parts[-2], measured].append(point)
    if not lines:
        return None
    curves = [
        plots.Curve(f"{way}, emulated" if measured else way, way, points, measured)
        for (way, measured), points in sorted(lines.items())
    ]
    stem = what.replace("_", "-")
    svg, _ = plots.loads(curves, folder, stem, "clients of one group", label)
    sockets = f" Servers in networks were measured with data plane {PLANES[0]} alone."
    return Drawing(
        svg,
        f"The {whose} for one group, the same 300 frames a second offered however many clients there "
        "are: the model as lines, what was measured as marks with 95 % intervals. A hub carries what "
        "single does; with multicast the server carries nothing."
        f"{sockets if what.endswith('processor') else ''} {_ends(curves)}",
    )


def _by_clients(
    figures: Mapping[str, Figure], folder: Path, what: str, label: str, whose: str
) -> Drawing | None:
    lines: dict[str, list[Point]] = defaultdict(list)
    for name, figure in figures.items():
        kind, *rest = name.split(".")
        if kind == f"{what}_by_clients":
            way, clients = rest
            lines[way].append(Point(int(clients), figure.value, figure.low, figure.high))
    if not lines:
        return None
    curves = [plots.Curve(way, way, points) for way, points in lines.items()]
    stem = f"{what.replace('_', '-')}-by-clients"
    svg, _ = plots.loads(curves, folder, stem, "clients", label)
    return Drawing(
        svg,
        f"{whose} against the number of clients, groups of one size; exact counts, and no line where "
        f"nothing is carried. {_ends(curves)}",
    )


def _ends(curves: Sequence[plots.Curve]) -> str:
    """Says each line's last value in words."""
    said = []
    for curve in curves:
        last = max(curve.points, key=lambda point: point.x)
        said.append(f"{curve.name} {last.value:.4g} at {last.x:g} clients")
    return f"At the end: {'; '.join(said)}."


def _maps(samples: Sequence[Sample], folder: Path) -> Iterator[Drawing]:
    panels: dict[str, list[plots.Segment]] = {way: [] for way in MAP_WAYS}
    stress: dict[str, list[plots.Segment]] = {way: [] for way in MAP_WAYS}
    sites: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if sample.name == MAP_LINK:
            one, other = (_place(sample.labels[end]) for end in ("a", "b"))
            way, times = sample.labels["way"], float(sample.labels["stress"])
            panels[way].append(plots.Segment(one, other, sample.value))
            stress[way].append(plots.Segment(one, other, times))
        elif sample.name == MAP_SERVER:
            sites[sample.labels["way"]].append(_place(sample.labels["at"]))
    for drawn, stem, label, said in (
        (
            panels,
            "link-loads",
            "copies a round, both directions",
            "What each link carries in a round",
        ),
        (stress, "link-stress", "copies of one frame", "Link stress: identical copies of a frame"),
    ):
        some = {way: segments for way, segments in drawn.items() if segments}
        if some:
            svg, _ = plots.maps(some, sites, folder, stem, label)
            most = "; ".join(
                f"{way} {max(one.value for one in segments):.4g}" for way, segments in some.items()
            )
            yield Drawing(svg, f"{said}; squares are servers. Most on one link: {most}.")


def _place(text: str) -> tuple[float, float]:
    east, north = text.split()
    return float(east), float(north)


def _regions(samples: Sequence[Sample], folder: Path) -> Drawing | None:
    values: dict[tuple[str, int, int], dict[str, float]] = defaultdict(dict)
    for sample in samples:
        if sample.name.startswith(WINS):
            labels = sample.labels
            at = sample.name.removeprefix(WINS), int(labels["group"]), int(labels["servers"])
            values[at][labels["way"]] = sample.value
    if not values:
        return None
    groups = sorted({group for _, group, _ in values})
    counts = sorted({count for _, _, count in values})
    panels = [
        plots.Regions(
            _TITLES[criterion],
            groups,
            counts,
            [
                [_best(criterion, values[criterion, group, count]) for count in counts]
                for group in groups
            ],
        )
        for criterion in CRITERIA
    ]
    svg, _ = plots.regions(panels, folder, "where-each-way-wins")
    return Drawing(
        svg,
        "Which way is best by four criteria, over group sizes and numbers of servers, and how many "
        "times the next best takes. Multicast, which needs routers that replicate, is in the second "
        f"alone: by the others it has no rival. {_won(panels)}",
    )


def _won(panels: Sequence[plots.Regions]) -> str:
    """Says in words in how many places each way is best."""
    said = []
    for panel in panels:
        counts = Counter(name for row in panel.winners for name, _ in row)
        words = ", ".join(f"{name} {count}" for name, count in counts.most_common())
        said.append(f"{panel.title}: {words}")
    return "; ".join(said) + "."


def _best(criterion: str, values: Mapping[str, float]) -> tuple[str, float]:
    """Names the way with the least value, and by which factor the next is worse.

    Multicast is left out where it has no rival: its server carries nothing, and its ways are straight.
    """
    rivals = {
        way: value
        for way, value in values.items()
        if way != "multicast" or criterion in WITH_MULTICAST
    }
    first, second, *_ = sorted((value, way) for way, value in rivals.items())
    factor = second[0] / first[0] if first[0] else 1.0
    return (first[1] if factor > 1 + _EQUAL else plots.EQUAL), factor


def _errors(samples: Sequence[Sample], folder: Path) -> Iterator[Drawing]:
    """Draws a picture for each data plane; what has none in its kind's name is the first one's."""
    widths = {
        (one.labels["kind"], one.labels["cell"]): one.value
        for one in samples
        if one.name == CHECK_WIDTH
    }
    rows: dict[str, dict[str, list[plots.ErrorRow]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        if sample.name == CHECK:
            kind, cell = sample.labels["kind"], sample.labels["cell"]
            row = plots.ErrorRow(_named(cell), sample.value, widths.get((kind, cell), 0.0))
            name, _, plane = kind.partition(".")
            rows[plane][name.replace("_", " ")].append(row)
    for plane, kinds in rows.items():
        stem = f"prediction-errors-{plane}" if plane else "prediction-errors"
        svg, _ = plots.errors(kinds, ALLOWED_ERROR, folder, stem)
        said = "; ".join(
            f"{kind}: {100 * sum(abs(one.error) for one in some) / len(some):.1f} % in the mean, "
            f"{100 * max(abs(one.error) for one in some):.1f} % at most, {len(some)} cells"
            for kind, some in kinds.items()
        )
        yield Drawing(
            svg,
            f"Data plane {plane or PLANES[0]}: errors of processor time predicted for cells that had no "
            "part in the fit, all of them; lines are as long as the measured figure's own 95 % interval, "
            f"and the band is {ALLOWED_ERROR:.0%} wide to each side. {said}.",
        )


def _named(cell: str) -> str:
    """Names a cell for a person."""
    parsed = parse(cell)
    return cell if parsed is None else f"{parsed[0].replace('_', ' ')}, {parsed[1].describe()}"

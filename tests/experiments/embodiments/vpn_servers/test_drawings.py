"""Pictures of the busiest server: bars for one number of clients, lines for several.

Patent: effects E4, E5.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from experiments.embodiments.vpn_servers.course import points_of
from experiments.embodiments.vpn_servers.drawings import QUANTITIES, draw
from experiments.embodiments.vpn_servers.points import Point, Telling
from experiments.records.record import Figure

STEMS = ["servers-datagrams", "servers-processor", "servers-rows"]


def figures(points: list[Point], rows: float = 6) -> dict[str, Figure]:
    """Makes each point's figures, named as a run names them."""
    made = {}
    for point in points:
        name = point.name
        each = 100 * point.clients / point.servers
        made[f"busiest_datagrams.{name}"] = Figure(each, each, each, 1, "datagrams/s")
        made[f"busiest_cpu.{name}"] = Figure(each / 9, each / 10, each / 8, 6, "ms/s")
        made[f"most_rows_507.{name}"] = Figure(rows, rows, rows, 1, "rows")
        made[f"table_octets.{name}"] = Figure(999, 999, 999, 1, "octets")
    return made


def texts(svg: Path) -> set[str]:
    """Gives the words and numbers in a picture."""
    elements = ElementTree.parse(svg).iter()
    return {one.text for one in elements if one.tag.endswith("}text") and one.text}


@pytest.mark.parametrize("way", ["multiserver", "cascade"])
@pytest.mark.parametrize("quick", [True, False])
def test_every_way_and_number_of_servers_is_named_in_each_picture(
    tmp_path: Path, way: str, quick: bool
) -> None:
    points = points_of(way, quick)
    drawings = draw(figures(points), tmp_path)
    assert [one.svg.stem for one in drawings] == STEMS
    for drawing, quantity in zip(drawings, QUANTITIES, strict=True):
        shown = texts(drawing.svg)
        assert {_name(point) for point in points} <= shown
        assert quantity.label in shown
        assert drawing.svg.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    if not quick:
        assert {"4", "8", "16", "32"} <= texts(drawings[0].svg)


def _name(point: Point) -> str:
    if point.way == "single":
        return "single"
    noun = "server" if point.servers == 1 else "servers"
    return f"{point.way}, {point.servers} {noun}" + (
        f", {point.telling}" if point.telling != "usual" else ""
    )


def test_a_bar_says_its_value_and_the_caption_all_of_them(tmp_path: Path) -> None:
    points = [Point("single", 1, 6), Point("multiserver", 3, 6)]
    drawing = draw(figures(points), tmp_path)[0]
    assert {"600", "200"} <= texts(drawing.svg)
    assert "single: 600; multiserver, 3 servers: 200" in drawing.caption
    assert not re.search("Unreported|Whole", drawing.caption)


@pytest.mark.parametrize(
    ("telling", "meaning"),
    [
        ("unreported", "Unreported: servers do not tell each other of stations."),
        ("whole", "Whole: with each change servers are told all rows anew."),
    ],
)
def test_what_servers_are_told_is_named_and_explained(
    tmp_path: Path, telling: Telling, meaning: str
) -> None:
    points = [Point("multiserver", 3, 6), Point("multiserver", 3, 6, telling)]
    caption = draw(figures(points), tmp_path)[0].caption
    assert f"multiserver, 3 servers, {telling}: 200" in caption
    assert meaning in caption


@pytest.mark.parametrize("clients", [(6,), (4, 8)])
def test_a_server_that_holds_nothing_can_be_drawn(tmp_path: Path, clients: tuple[int, ...]) -> None:
    points = [Point("single", 1, count) for count in clients]
    assert len(draw(figures(points, rows=0), tmp_path)) == len(QUANTITIES)


def test_without_points_there_is_no_picture(tmp_path: Path) -> None:
    others = {"hub_over_relay.unicast.n3.512": Figure(2, 1, 3, 9, "ratio")}
    assert draw(others, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    points = points_of("cascade", quick=False)
    octets = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        octets.append([one.svg.read_bytes() for one in draw(figures(points), folder)])
    assert octets[0] == octets[1]
    assert not re.search(rb"<dc:date>", octets[0][0])

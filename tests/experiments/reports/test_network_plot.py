"""Shows that topologies of all sizes are drawn whole, without labels upon each other."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest

from experiments.reports import network_plot
from topologies.catalog import CATALOG


@pytest.mark.parametrize("clients", [3, 8])
def test_every_node_and_count_is_in_the_drawing(tmp_path: Path, clients: int) -> None:
    plan = CATALOG["single"](clients=clients).to_json()
    names = [node["name"] for node in plan["nodes"]]
    node_loads = {name: 7000 + i for i, name in enumerate(names)}
    link_loads = {tuple(reversed(link["ends"])): 400 + i for i, link in enumerate(plan["links"])}
    svg, png = network_plot.draw(plan, tmp_path, node_loads, link_loads)
    assert png.read_bytes().startswith(b"\x89PNG")
    texts = {
        element.text
        for element in ElementTree.parse(svg).iter()
        if element.tag.endswith("}text") and element.text
    }
    assert {name for name in names if name[0] != "c"} <= texts
    assert {"c1 (A)", "c2 (B)", "VPN client", "VPN 1001", "VPN 1002"} <= texts
    assert {f"7\u202f{i:03}" for i in range(len(names))} <= texts
    assert {str(load) for load in link_loads.values()} <= texts


@pytest.mark.parametrize("clients", [2, 3, 5, 8])
def test_no_two_boxes_overlap_and_linked_ones_leave_room_for_a_count(clients: int) -> None:
    plan = CATALOG["single"](clients=clients).to_json()
    nodes = {node["name"]: node for node in plan["nodes"]}
    links = [tuple(link["ends"]) for link in plan["links"]]
    width, height = box = (0.9, 0.45)
    places = network_plot._places(nodes, links, box)
    linked = {frozenset(ends) for ends in links}
    for one, other in combinations(places, 2):
        across = abs(places[one][0] - places[other][0])
        along = abs(places[one][1] - places[other][1])
        assert across >= width or along >= height
        if frozenset((one, other)) in linked:
            assert across >= width + 0.6 or along >= height + 0.2


def test_the_same_plan_gives_the_same_svg(tmp_path: Path) -> None:
    plan = CATALOG["single"]().to_json()
    first, _ = network_plot.draw(plan, tmp_path, stem="first")
    second, _ = network_plot.draw(plan, tmp_path, stem="second")
    assert first.read_bytes() == second.read_bytes()


def test_a_narrow_drawing_has_its_legend_in_lines(tmp_path: Path) -> None:
    nodes = [
        {"name": role, "role": role, "vpn_id": 1001 + number}
        for number, role in enumerate(("server", "router", "client", "lan", "terminal"))
    ]
    links = [{"ends": ["router", node["name"]]} for node in nodes if node["name"] != "router"]
    groups = [{"vpn_id": vpn_id} for vpn_id in range(1001, 1010)]
    plan = {"nodes": nodes, "links": links, "groups": groups}
    entries = network_plot._legend_entries({"server", "router"}, network_plot._group_lines(plan))
    assert [str(entry.get_label()) for entry in entries][2:] == [
        f"VPN {vpn_id}" for vpn_id in range(1001, 1006)
    ], "groups that no node has are left out"
    assert network_plot._legend_columns(entries, 3.0) < len(entries)
    assert network_plot._legend_columns(entries, 30.0) == len(entries)
    svg, _ = network_plot.draw(plan, tmp_path)
    root = ElementTree.parse(svg).getroot()
    width = float(root.attrib["viewBox"].split()[2])
    markers = [
        float(element.attrib["x"])
        for element in root.iter()
        if element.tag.endswith("}use") and "x" in element.attrib
    ]
    assert markers
    assert all(0 <= x <= width for x in markers)

"""Holds the documents to what they quote: test vectors, names in the code, tests, files, settings."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiments.records.environment import Environment
from experiments.records.record import Claim, Figure, Invariant, Record, Sample, Summary, Table
from experiments.records.tidy import COLUMNS
from nodes.configuration import load_client, load_server
from protocol.wire.inner_packet import lan_mtu, multicast_lan_mtu
from tests.patent_map import CHECKOUT, is_test, resolves
from tests.protocol.vectors import vectors
from topologies.graphml import read_plan

DOCUMENTS = [
    CHECKOUT / "README.md",
    CHECKOUT / "CLAIMS.md",
    CHECKOUT / "CONTRIBUTING.md",
    CHECKOUT / "results" / "README.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
]
MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
KNOWN = " ".join(re.findall(r"^KNOWN \+?:?= (.*)$", MAKEFILE, re.M)).split()
WIRE_FORMAT = CHECKOUT / "docs" / "wire-format.md"
PACKAGES = "protocol|nodes|topologies|experiments|simulator"

QUOTED = re.findall(r"```vector (\w+)\.(\w+)\n([0-9a-f\n]+)```", WIRE_FORMAT.read_text("utf-8"))


def quotes(pattern: str) -> list[tuple[str, Any]]:
    """Returns (document, text, or texts of groups) for whatever the documents quote in that form."""
    return [
        (document.name, found)
        for document in DOCUMENTS
        for found in re.findall(pattern, document.read_text(encoding="utf-8"), re.M)
    ]


@pytest.mark.parametrize(("file", "name", "octets"), QUOTED)
def test_a_quoted_vector_is_the_vector(file: str, name: str, octets: str) -> None:
    assert octets.replace("\n", "") == vectors(file)[name]["octets"]


def test_the_wire_format_quotes_vectors() -> None:
    files = {
        *("vpn_header", "hop_tag", "ip", "esp", "datagram"),
        *("messages", "table_messages", "probe"),
    }
    assert {file for file, _, _ in QUOTED} >= files


@pytest.mark.parametrize("file", ["messages", "table_messages"])
def test_every_message_stands_in_a_table_of_the_wire_format_with_its_fields(file: str) -> None:
    text = WIRE_FORMAT.read_text(encoding="utf-8")
    for name, vector in vectors(file).items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", text, re.M)
        fields = json.loads(vector["text"]).keys() - {"type"}
        assert [field for field in sorted(fields) if f"`{field}`" not in row] == []


@pytest.mark.parametrize(("version", "octets"), [(6, 1346), (4, 1386)])
def test_the_lan_mtu_of_the_documents_is_the_codes(version: int, octets: int) -> None:
    assert lan_mtu(version, version) == octets
    assert f"**{octets}**" in WIRE_FORMAT.read_text(encoding="utf-8")


@pytest.mark.parametrize(("version", "octets"), [(6, 1410), (4, 1430)])
def test_the_multicast_lan_mtu_of_the_documents_is_the_codes(version: int, octets: int) -> None:
    assert multicast_lan_mtu(version) == octets
    assert f"**{octets}**" in WIRE_FORMAT.read_text(encoding="utf-8")


def test_every_name_of_the_code_exists() -> None:
    named = quotes(rf"`((?:{PACKAGES})[\w.]*:[\w.]+)`")
    assert named
    assert [pair for pair in named if not resolves(pair[1])] == []


def test_every_file_and_test_that_is_named_exists() -> None:
    named = quotes(rf"`((?:tests|{PACKAGES})/[\w/.]+(?:::[\w:]+)?)`")
    assert named
    files = [pair for pair in named if not (CHECKOUT / pair[1].partition("::")[0]).exists()]
    tests = [pair for pair in named if "::" in pair[1] and not is_test(pair[1], CHECKOUT)]
    assert files + tests == []


def test_every_literal_rule_that_fails_in_the_simulator_is_named_at_its_hole_and_in_the_map() -> (
    None
):
    text = (CHECKOUT / "tests" / "simulator" / "test_holes.py").read_text(encoding="utf-8")
    holes = re.findall(r"^def (test_(\d+)_\w+)", text, re.M)
    assert len(holes) == 11
    deviations = (CHECKOUT / "docs" / "deviations.md").read_text(encoding="utf-8")
    patent_map = (CHECKOUT / "docs" / "patent-map.toml").read_text(encoding="utf-8")
    for name, number in holes:
        (row,) = re.findall(rf"^\| {number} \|.*$", deviations, re.M)
        assert f"`{name}`" in row
        assert f"tests/simulator/test_holes.py::{name}" in patent_map


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)(#[^)]+)?\)", document.read_text(encoding="utf-8"))
    assert [file for file, _ in links if not (document.parent / file).exists()] == []
    anchors = [(document.parent / file if file else document, at[1:]) for file, at in links if at]
    assert [(path.name, at) for path, at in anchors if at not in anchors_of(path)] == []


def anchors_of(document: Path) -> set[str]:
    """Returns what a link can lead to in a document: its headings as the usual renderers name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_that_is_named_can_be_given() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.M))
    named = quotes(r"(?:`|^)make +([a-z][\w-]*)((?: +[A-Z_]+=[^\s`]+)*)(?=[\s`])")
    assert len(named) > 40
    for document, (target, given) in named:
        assert target in targets, (document, target)
        for variable in re.findall(r"([A-Z_]+)=", given):
            assert variable in KNOWN, (document, target, variable)
    modules = quotes(r"python -m ([\w.]+)")
    assert modules
    assert [pair for pair in modules if importlib.util.find_spec(pair[1]) is None] == []


def test_help_names_every_target_and_every_variable() -> None:
    said = subprocess.run(
        ["make", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    targets = re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.M)
    assert [one for one in targets if not re.search(rf"^  make {one} ", said.stdout, re.M)] == []
    assert [one for one in KNOWN if not re.search(rf"\b{one}\b", said.stdout)] == []


def test_the_makefile_says_of_each_target_which_variables_its_recipe_uses() -> None:
    text = MAKEFILE.replace("\\\n", " ")
    assigned = re.findall(r"^([\w-]+) \+?:?= (.*)$", text, re.M)

    def used(recipe: str) -> set[str]:
        named = re.findall(r"\$\((?:call \w+,)?(\w+)[,)]", recipe)
        named += " ".join(re.findall(r"\$\(foreach \w+,([^$,]+),", recipe)).split()
        return {
            variable
            for name in named
            for variable in ([name] if name in KNOWN else used(values.get(name, "")))
        }

    values: dict[str, str] = {}
    for name, value in assigned:
        values[name] = f"{values.get(name, '')} {value}"
    taken = {
        name.removeprefix("takes-"): set(
            value.replace("$(OF_NETWORKS)", values["OF_NETWORKS"]).split()
        )
        for name, value in re.findall(r"^(takes-[\w-]+) :=(.*)$", text, re.M)
    }
    recipes = dict(re.findall(r"^([a-z][\w-]*):(?!=).*\n((?:\t.*\n)*)", text, re.M))
    assert {target: used(recipe) for target, recipe in recipes.items()} == taken


def test_every_field_of_a_runs_files_is_documented() -> None:
    text = (CHECKOUT / "docs" / "results.md").read_text(encoding="utf-8")
    structs = (Record, Environment, Sample, Table, Summary, Invariant, Figure, Claim)
    fields = {name for struct in structs for name in struct.__struct_fields__}
    assert [name for name in sorted(fields | {*COLUMNS}) if f"`{name}`" not in text] == []


def test_the_settings_that_the_readme_shows_are_accepted(tmp_path: Path) -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    server, client = re.findall(
        r"^cat > (?:server|client-A)\.toml <<'END'\n(.*?)^END$", readme, re.M | re.S
    )
    (tmp_path / "server.toml").write_text(server, encoding="utf-8")
    (tmp_path / "client-A.toml").write_text(client, encoding="utf-8")
    password = tmp_path / "A.password"
    password.write_text("open\n", encoding="utf-8")
    password.chmod(0o600)
    assert load_server(tmp_path / "server.toml").groups.keys() == {1001}
    assert load_client(tmp_path / "client-A.toml").client.vpn_id == 1001


def test_the_tutorials_graph_is_a_network(tmp_path: Path) -> None:
    tutorial = (CHECKOUT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (graph,) = re.findall(r"```xml\n(<\?xml.*?)```", tutorial, re.S)
    (node, edge) = re.findall(r"^ +<(?:node|edge) .*office-m.*$", tutorial, re.M)
    path = tmp_path / "offices.graphml"
    path.write_text(graph, encoding="utf-8")
    assert len(read_plan(path, 2, 6).clients()) == 2
    path.write_text(graph.replace("  </graph>", f"{node}\n{edge}\n  </graph>"), encoding="utf-8")
    assert len(read_plan(path, 2, 6).clients()) == 3


def commands_of_the_sample_workflow() -> list[str]:
    workflow = (CHECKOUT / "examples" / "ci-workflow.yml").read_text(encoding="utf-8")
    return re.findall(r"^ +run: (make .*)$", workflow, re.M)


def test_the_sample_workflow_runs_targets_that_are_there() -> None:
    commands = commands_of_the_sample_workflow()
    assert len(commands) == 3
    for command in commands:
        _, target, *variables = command.split()
        assert re.search(rf"^{target}:", MAKEFILE, re.M), command
        assert {one.partition("=")[0] for one in variables} <= set(KNOWN), command

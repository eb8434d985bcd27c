"""Cases are named by their content, and results kept under that name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from experiments.records.environment import CHECKOUT
from experiments.scale.coefficients import named
from experiments.sweep import cases
from experiments.sweep.cases import Case, CaseError, code_version, grid, work
from experiments.sweep.store import Store

SMALL = {"way": ["single"], "clients": ["2"], "frames": ["1"], "loss": ["0"], "seed": ["7"]}

SMALL_SCALE = {
    "topology": ["topozoo/Abilene"],
    "way": ["single"],
    "clients": ["32"],
    "group": ["4"],
    "servers": ["2"],
    "seed": ["1"],
}


@pytest.fixture(scope="module")
def case() -> Case:
    (only,) = grid("world", SMALL)
    return only


def test_a_grid_has_all_combinations_once() -> None:
    found = grid("world", {"way": ["single", "cascade"], "clients": ["2", "3"], "loss": ["0"]})
    described = [one.describe() for one in found]
    assert len(set(described)) == len(found) == 2 * 2 * 2
    assert described[0] == "world clients=2 frames=2 loss=0.0 seed=1 way=single"


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("nosuch", {}, "MODEL=nosuch: expected one of scale, world"),
        ("world", {"planet": ["1"]}, "MODEL=world: planet: expected some of"),
        ("world", {"clients": ["many"]}, "clients: many: expected a number"),
        ("world", {"clients": ["3", "1"]}, "clients: 1: expected 2 or more"),
        ("world", {"way": ["hub"]}, "way: hub: expected one of single, "),
        ("world", {"frames": ["0"]}, "frames: 0: expected 1 or more"),
        ("world", {"loss": ["1.5"]}, "loss: 1.5: expected a share of 1"),
        ("world", {"loss": ["nan"]}, "loss: nan: expected a share of 1"),
        ("world", {"seed": ["-1"]}, "seed: -1: expected 0 or more"),
        ("scale", {"way": ["nosuch"]}, "way: nosuch: expected one of hub, "),
        ("scale", {"topology": ["nosuch"]}, "network nosuch: expected one of topohub"),
        ("scale", {"topology": ["internet:9"]}, "network internet:9: expected 1000 to"),
        ("scale", {"topology": ["a.graphml"]}, "topology: a.graphml: expected a name"),
        ("scale", {"group": ["0"]}, "group: 0: expected 2 or more"),
        ("scale", {"servers": ["0"]}, "servers: 0: expected 1 or more"),
    ],
)
def test_what_is_no_case_is_named(kind: str, given: dict[str, list[str]], message: str) -> None:
    with pytest.raises(CaseError, match=message):
        grid(kind, given)


def test_a_name_depends_on_case_and_code(case: Case) -> None:
    (other,) = grid("world", SMALL | {"seed": ["8"]})
    names = {case.name("a"), case.name("b"), other.name("a"), other.name("b")}
    assert len(names) == 4
    assert case.name("a") == grid("world", SMALL)[0].name("a")


def test_the_version_is_that_of_the_code(tmp_path: Path) -> None:
    for package in cases._CODE:
        shutil.copytree(
            CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    assert code_version(tmp_path) == code_version()
    code_version.cache_clear()
    with (tmp_path / "simulator" / "links.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert code_version(tmp_path) != code_version()


def test_a_case_is_worked_out_alike_each_time(case: Case) -> None:
    first, second = (work(case, code_version()) for _ in range(2))
    assert first == second
    assert b'"field":"deliveries_due","note":"","unit":"frames","value":' in first.octets
    assert b'"field":"deliveries_missing","note":"","unit":"frames","value":0}' in first.octets


def test_lost_packets_are_missing_and_seeds_differ() -> None:
    lossy = grid("world", SMALL | {"loss": ["0.2"], "seed": ["1", "2"]})
    first, second = (work(one, code_version()).octets for one in lossy)
    assert b'"field":"deliveries_missing","note":"","unit":"frames","value":0}' not in first
    assert first.split(b'"fields"')[1] != second.split(b'"fields"')[1]


def test_the_scale_model_says_how_exact_each_field_is() -> None:
    (case,) = grid("scale", SMALL_SCALE)
    fields = json.loads(work(case, code_version()).octets)["fields"]
    said = {one["field"]: (one["value"], one["exactness"]) for one in fields}
    assert said["most_rows_507"] == (32, "exact")
    assert said["delay_p50"][1] == "approximate"


def test_what_does_not_fit_together_is_named_when_it_is_worked_out() -> None:
    (case,) = grid("scale", SMALL_SCALE | {"servers": ["90"]})
    assert "servers: expected 1 to" in work(case, code_version()).error


def test_a_worker_refuses_what_no_case_can_have() -> None:
    (case,) = grid("world", SMALL)
    parameters = tuple((name, 0 if name == "frames" else value) for name, value in case.parameters)
    done = work(Case("world", parameters), code_version())
    assert not done.octets
    assert "frames 0: expected 1 or more" in done.error


def test_processors_are_in_a_case_whose_coefficients_it_names() -> None:
    (case,) = grid("scale", SMALL_SCALE | {"dataplane": [named("socket")]})
    fields = json.loads(work(case, code_version()).octets)["fields"]
    said = {one["field"]: one for one in fields}
    assert said["busiest_processor"]["value"] > 0
    assert said["busiest_processor"]["note"].endswith("data plane socket")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("socket:00", "dataplane socket:00: expected these coefficients"),
        ("wifi:00", "DATAPLANE=wifi: expected one that was measured"),
    ],
)
def test_other_coefficients_work_nothing_out(name: str, message: str) -> None:
    (case,) = grid("scale", SMALL_SCALE | {"dataplane": [name]})
    done = work(case, code_version())
    assert not done.octets
    assert message in done.error


def test_other_code_works_nothing_out(case: Case) -> None:
    done = work(case, "0" * 32)
    assert not done.octets
    assert done.error.endswith(f"this sweep {'0' * 32}: expected the same checkout")


def test_a_store_gives_what_it_was_given(case: Case, tmp_path: Path) -> None:
    store = Store(tmp_path, code_version())
    assert store.get(case) is None
    store.put(case, work(case, code_version()).octets)
    fields = store.get(case)
    assert fields is not None
    assert fields[0]["field"] == "deliveries_due"
    assert Store(tmp_path, "0" * 32).get(case) is None


@pytest.mark.parametrize("octets", [b"", b'{"case":', b"[]", b'{"case":{},"fields":[]}', b"\xff"])
def test_a_broken_file_is_no_result(case: Case, tmp_path: Path, octets: bytes) -> None:
    store = Store(tmp_path, code_version())
    store.path(case).parent.mkdir()
    store.path(case).write_bytes(octets)
    assert store.get(case) is None

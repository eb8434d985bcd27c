from __future__ import annotations

import pytest

from simulator.faults import Fault, Script


def test_a_script_comes_back_from_its_text() -> None:
    script = Script("single", 7, (Fault(10, "lose", 3, 500, 20), Fault(0, "crash")))
    assert Script.from_text(script.to_text()) == script


@pytest.mark.parametrize(
    "text", ["", "[]", '["single", 1, [[0, "melt", 0, 0, 0]]]', '["single", 1, [[0, "lose"]]]']
)
def test_text_that_is_no_script_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="script: "):
        Script.from_text(text)


def test_a_fault_beyond_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="at_ms: expected 0 to 20000"):
        Fault(20_001, "lose")
    with pytest.raises(ValueError, match="expected one of lose"):
        Fault(0, "melt")

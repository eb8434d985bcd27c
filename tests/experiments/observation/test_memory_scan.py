"""The search of a process's memory finds what is there, wherever it stands, and nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from experiments.observation import memory_scan
from experiments.observation.memory_scan import (
    ScanError,
    cipher_modules,
    key_forms,
    main,
    regions,
    scan,
)

HOLDER = """
import hashlib, sys
kept = hashlib.sha256(b"kept").digest()
large = bytearray(8 << 20)
large[(3 << 20) - 5 : (3 << 20) + 27] = hashlib.sha256(b"large").digest()
text = hashlib.sha256(b"text").hexdigest()
if len(sys.argv) > 1:
    import cryptography.hazmat.bindings._rust
print("ready", flush=True)
sys.stdin.read()
"""


def _octets(seed: str) -> bytes:
    return hashlib.sha256(seed.encode()).digest()


@pytest.fixture(params=[False, True], ids=["plain", "with a cipher"])
def holder(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """Gives the ID of a process that holds three secrets, and whether it has loaded ciphers."""
    argv = [sys.executable, "-c", HOLDER, *(["cipher"] if request.param else [])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid, request.param
        process.stdin.close()
        process.wait(timeout=60)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to read another process's memory")
class TestAProcess:
    def test_what_it_holds_is_found_and_what_it_does_not_hold_is_not(
        self, holder: tuple[int, bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = {name: _octets(name) for name in ("kept", "large", "text", "absent")}
        wanted["text as text"] = _octets("text").hex().encode()
        for piece in (memory_scan.PIECE, 4096):  # the large one then lies across two pieces
            monkeypatch.setattr(memory_scan, "PIECE", piece)
            result = scan(holder[0], wanted)
            assert {"kept", "large", "text as text"} <= result.found.keys()
            assert "absent" not in result.found
            assert len(result.found["large"]) == 1
            assert result.octets > 8 << 20
            assert result.unreadable < result.octets // 100

    def test_modules_with_ciphers_are_named(self, holder: tuple[int, bool]) -> None:
        pid, loaded = holder
        assert bool(cipher_modules(pid)) == loaded

    def test_the_command_says_what_it_found(
        self, holder: tuple[int, bool], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([str(holder[0]), _octets("kept").hex()]) == 1
        assert capsys.readouterr().out.startswith("key 1, octets: ")
        assert main([str(holder[0]), _octets("absent").hex()]) == 0


def test_a_process_that_is_not_there_is_named() -> None:
    with pytest.raises(ScanError, match="process 4194305: no such file or directory"):
        scan(4194305, {"x": b"x"})
    assert main(["4194305", "00"]) == 3


def test_nothing_to_look_for_is_a_mistake() -> None:
    for wanted in ({}, {"empty": b""}):
        with pytest.raises(ValueError, match="expected at least one string"):
            scan(os.getpid(), wanted)


def test_mappings_have_addresses_access_and_path() -> None:
    found = regions(os.getpid())
    assert any(one.path == "[stack]" and one.access == "rw-p" for one in found)
    assert all(one.start < one.end for one in found)


def test_a_key_may_stand_as_octets_or_as_text() -> None:
    forms = key_forms([{"spi": 4097, "key": "ab" * 16}])
    assert set(forms.values()) == {b"\xab" * 16, b"ab" * 16, b"AB" * 16}

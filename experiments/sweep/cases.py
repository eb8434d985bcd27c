"""Cases of a sweep: what is to be worked out, named by its content, and who works it out.

A case is a kind and its parameters. Its result is a function of both and of the code, so its name is a hash
of the three: a result that is there under the name is the result, wherever and whenever it was made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from experiments.records.environment import CHECKOUT
from experiments.sweep import kinds

Value: TypeAlias = str | int | float
DIGEST_OCTETS = 16
_CODE = ("protocol", "simulator", "topologies", "experiments")
_LIBRARIES = ("cryptography", "msgspec", "networkx", "numpy", "scipy", "topohub")


class CaseError(ValueError):
    """Says what is wrong with a sweep's cases."""


@dataclass(frozen=True)
class Kind:
    """A sort of case: the function from parameters to fields, and the names of what may be given."""

    work: Callable[[Mapping[str, Any]], list[dict[str, Any]]]
    parameters: Mapping[str, tuple[Value, ...]]
    """By name, the values that a sweep has unless told otherwise."""
    unfit: Callable[[str, Any], str]
    """Says why no case can have a parameter's value; nothing when one can."""
    failures: tuple[type[Exception], ...]
    """What the function raises for parameters that do not fit; anything else is a mistake of ours."""
    telling: tuple[str, ...]
    """The fields that stand for a case in the record and in a comparison of two sweeps."""


KINDS: Mapping[str, Kind] = {
    "scale": Kind(
        kinds.scale,
        kinds.SCALE_PARAMETERS,
        kinds.scale_unfit,
        kinds.SCALE_FAILURES,
        kinds.SCALE_TELLING,
    ),
    "world": Kind(
        kinds.world,
        kinds.WORLD_PARAMETERS,
        kinds.world_unfit,
        kinds.WORLD_FAILURES,
        kinds.WORLD_TELLING,
    ),
}


@dataclass(frozen=True)
class Case:
    """A kind, and its parameters in the order of their names."""

    kind: str
    parameters: tuple[tuple[str, Value], ...]

    def describe(self) -> str:
        """Says in one line what it is."""
        return f"{self.kind} {' '.join(f'{name}={value}' for name, value in self.parameters)}"

    def to_json(self) -> dict[str, Any]:
        """Returns what is hashed and kept."""
        return {"kind": self.kind, "parameters": dict(self.parameters)}

    def name(self, version: str) -> str:
        """Returns the name by content: 32 hexadecimal digits."""
        return _digest(canonical({"case": self.to_json(), "version": version}))


@dataclass(frozen=True)
class Done:
    """What a worker gives back: the octets to keep, or why there are none."""

    octets: bytes
    error: str = ""


def grid(kind: str, given: Mapping[str, Sequence[str]]) -> list[Case]:
    """Returns all combinations of the values given, and of the kind's own for the others.

    CaseError for a kind or parameter that is not there, and for values that no case can have. What does not
    fit together, as more servers than a network has room for, is found when the case is worked out.
    """
    if kind not in KINDS:
        raise CaseError(f"MODEL={kind}: expected one of {', '.join(KINDS)}")
    own = KINDS[kind].parameters
    for name in given.keys() - own.keys():
        raise CaseError(f"MODEL={kind}: {name}: expected some of {', '.join(own)}")
    axes = [
        [_parsed(KINDS[kind], name, text) for text in given[name]] if name in given else values
        for name, values in sorted(own.items())
    ]
    return [
        Case(kind, tuple(zip(sorted(own), values, strict=True)))
        for values in itertools.product(*axes)
    ]


def work(case: Case, version: str) -> Done:
    """Works a case out, in whichever process: canonical JSON, or what does not fit.

    A worker whose code is not that of ``version`` says so instead.
    """
    own = code_version()
    if own != version:
        return Done(
            b"", f"a worker has code {own}, this sweep {version}: expected the same checkout"
        )
    kind = KINDS[case.kind]
    try:
        fields = kind.work(dict(case.parameters))
    except kind.failures as error:
        return Done(b"", f"{case.describe()}: {error}")
    return Done(canonical({"case": case.to_json(), "fields": fields, "version": version}) + b"\n")


@cache
def code_version(checkout: Path = CHECKOUT) -> str:
    """Returns a hash of all code that a result may depend on, and of the libraries' versions."""
    hashed = blake2b(digest_size=DIGEST_OCTETS)
    for package in _CODE:
        for path in sorted((checkout / package).rglob("*.py")):
            name = path.relative_to(checkout).as_posix().encode()
            hashed.update(
                b"%d %s %d\n" % (len(name), name, path.stat().st_size) + path.read_bytes()
            )
    for library in _LIBRARIES:
        hashed.update(f"{library} {metadata.version(library)}\n".encode())
    return hashed.hexdigest()


def canonical(value: Any) -> bytes:
    """Writes a value as JSON in one way only."""
    return msgspec.json.encode(value, order="sorted")


def _parsed(kind: Kind, name: str, text: str) -> Value:
    try:
        value = type(kind.parameters[name][0])(text)
    except ValueError as error:
        raise CaseError(f"{name}: {text}: expected a number") from error
    if said := kind.unfit(name, value):
        raise CaseError(f"{name}: {text}: {said}")
    return value


def _digest(octets: bytes) -> str:
    return blake2b(octets, digest_size=DIGEST_OCTETS).hexdigest()

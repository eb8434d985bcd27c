"""TOML text to typed values, with every error as one line that names file, line and key.

The TOML library tells values but not where they stand: ``nodes.toml_positions`` reads the text once
more for that. Values are built field by field, so that each error has its exact key.
"""

from __future__ import annotations

import functools
import json
import operator
import re
import sys
import types
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

import msgspec

from nodes.toml_positions import KeyPath, locate
from protocol.errors import WireError
from protocol.types import IpAddress, Secret
from protocol.wire.ethernet import is_station, parse_mac

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

MacAddress = NewType("MacAddress", bytes)
"""Six octets that name one station."""
Section = TypeVar("Section", bound=msgspec.Struct)

_SHOWN_LENGTH = 60
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LINE_IN_MESSAGE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class ConfigurationError(Exception):
    """A file that cannot be used: ``file:line: key: expected …, got …`` in one line."""

    def __init__(
        self, file: Path | str, line: int | None, key: str, expected: str, got: str
    ) -> None:
        place = f"{file}:{line}" if line is not None else f"{file}"
        super().__init__(f"{place}: {key}: expected {expected}, got {got}")
        self.file = Path(file)
        self.line = line
        self.key = key
        self.expected = expected
        self.got = got


class Document:
    """One file: its values, and where each of them stands.

    ``secret`` files hold keys: errors then tell the kind of a value instead of the value.
    """

    def __init__(
        self, path: Path, secret: bool = False, forbidden: dict[str, str] | None = None
    ) -> None:
        self.path = path
        self.secret = secret
        self.forbidden = forbidden or {}
        text = _read(path)
        try:
            self.values: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _syntax_error(path, text, str(error)) from None
        self._lines = locate(text)

    def line(self, key: KeyPath) -> int:
        """Returns the line of the key, or of the nearest table around it that the file names."""
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key, 1)

    def error(self, key: KeyPath, expected: str, got: str) -> ConfigurationError:
        """Returns the error for one key."""
        return ConfigurationError(self.path, self.line(key), format_key(key), expected, got)

    def build(self, section: type[Section]) -> Section:
        """Returns the whole file as a value of this type."""
        built: Section = self._struct(section, self.values, ())
        return built

    def _struct(self, section: type[Any], value: Any, path: KeyPath) -> Any:
        if not isinstance(value, dict):
            raise self.error(path, "a table", self.describe(value))
        fields = {field.encode_name: field for field in msgspec.structs.fields(section)}
        for name in value:
            if name in self.forbidden:
                raise self.error((*path, name), self.forbidden[name], "one")
            if name not in fields:
                expected = f"one of {', '.join(sorted(fields))}"
                raise self.error((*path, name), expected, "an unknown key")
        arguments = {}
        for name, field in fields.items():
            if name in value:
                arguments[field.name] = self._value(field.type, value[name], (*path, name))
            elif field.required:
                raise self.error((*path, name), _kind_name(field.type), "nothing")
        return section(**arguments)

    def _value(self, kind: Any, value: Any, path: KeyPath) -> Any:
        kind = _without_none(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, value, path)
        if get_origin(kind) is dict:
            return self._table(kind, value, path)
        if get_origin(kind) is tuple:
            return self._array(kind, value, path)
        if get_origin(kind) is Literal:
            return self._choice(get_args(kind), value, path)
        for special, (_, decode) in _DECODERS.items():
            if kind == special:
                return self._decoded(decode, value, path)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            expected = str(error).partition(", got ")[0].replace("`", "")
            expected = expected.removeprefix("Expected ")
            raise self.error(path, expected, self.describe(value)) from None

    def _table(self, kind: Any, value: Any, path: KeyPath) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise self.error(path, "a table", self.describe(value))
        key_kind, value_kind = get_args(kind)
        table = {}
        for name, entry in value.items():
            try:
                key = msgspec.convert(name, key_kind, strict=False)
            except msgspec.ValidationError:
                raise self.error(
                    (*path, name), f"{_kind_name(key_kind)} as name", repr(name)
                ) from None
            if key in table:
                raise self.error((*path, name), "each number once", "it again")
            table[key] = self._value(value_kind, entry, (*path, name))
        return table

    def _array(self, kind: Any, value: Any, path: KeyPath) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self.error(path, "an array", self.describe(value))
        entry_kind = get_args(kind)[0]
        return tuple(
            self._value(entry_kind, entry, (*path, index)) for index, entry in enumerate(value)
        )

    def _choice(self, choices: tuple[str | int, ...], value: Any, path: KeyPath) -> Any:
        if (type(value), value) not in [(type(one), one) for one in choices]:  # true is no 1
            named = ", ".join(map(str, choices))
            raise self.error(path, f"one of {named}", self.describe(value))
        return value

    def _decoded(self, decode: Callable[[str, Path], Any], value: Any, path: KeyPath) -> Any:
        if not isinstance(value, str):
            raise self.error(path, "a string", self.describe(value))
        try:
            return decode(value, self.path)
        except _DecodeError as error:
            got = error.got if error.got is not None else self.describe(value)
            raise self.error(path, error.expected, got) from None

    def describe(self, value: Any) -> str:
        """Writes a value for an error; its kind alone when the file holds secrets."""
        if isinstance(value, dict):
            return "a table"
        if isinstance(value, list):
            return "an array"
        if self.secret:
            return f"a value of type {type(value).__name__}"
        shown = repr(value)
        return shown if len(shown) <= _SHOWN_LENGTH else shown[:_SHOWN_LENGTH] + "…"


class _DecodeError(Exception):
    """What a decoder wanted; ``got`` stands in for values that must not be shown."""

    def __init__(self, expected: str, got: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got


def _decode_path(text: str, file: Path) -> Path:
    if not text or "\0" in text:
        raise _DecodeError("a path")
    return file.absolute().parent / text


def _decode_address(text: str, _: Path) -> IpAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise _DecodeError("an IPv4 or IPv6 address") from None


def _decode_mac(text: str, _: Path) -> MacAddress:
    try:
        mac = parse_mac(text)
    except WireError:
        raise _DecodeError("a MAC address such as 02:00:00:00:00:01") from None
    if not is_station(mac):
        raise _DecodeError("the MAC address of one station")
    return MacAddress(mac)


def _decode_secret(text: str, _: Path) -> Secret:
    try:
        return Secret(bytes.fromhex(text))
    except ValueError:
        raise _DecodeError("hexadecimal octets", "something else") from None


_DECODERS: dict[Any, tuple[str, Callable[[str, Path], Any]]] = {
    Path: ("a path", _decode_path),
    IpAddress: ("an IP address", _decode_address),
    MacAddress: ("a MAC address", _decode_mac),
    Secret: ("hexadecimal octets", _decode_secret),
}


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    members = [member for member in get_args(kind) if member is not type(None)]
    return functools.reduce(operator.or_, members)


def _kind_name(kind: Any) -> str:
    kind = _without_none(kind)
    for special, (name, _) in _DECODERS.items():
        if kind == special:
            return name
    if get_origin(kind) is Annotated:
        return _kind_name(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return "an array"
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "a table"
    return str(kind.__name__)


def format_key(key: KeyPath) -> str:
    """Writes a key path as TOML does, with array indices in brackets."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        name = part if _PLAIN_KEY.fullmatch(part) else json.dumps(part)
        text += f".{name}" if text else name
    return text or "file"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").replace("\r\n", "\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(path, None, "file", "a readable TOML file", reason) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(path, line, "syntax", "UTF-8 text", "other octets") from None


def _syntax_error(path: Path, text: str, message: str) -> ConfigurationError:
    found = _LINE_IN_MESSAGE.search(message)
    line = int(found[1]) if found and found[1] else text.rstrip("\n").count("\n") + 1
    got = _LINE_IN_MESSAGE.sub("", message)
    return ConfigurationError(path, line, "syntax", "valid TOML", f"an error: {got}")

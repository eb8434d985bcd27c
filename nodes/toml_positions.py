"""Where each key of a TOML text stands: what the TOML library does not tell."""

from __future__ import annotations

import ast
import re

KeyPath = tuple[str | int, ...]
"""Table and key names from the top, with the index where an array stands."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_BARE = re.compile(r"[^,\]}#\n]+")


def locate(text: str) -> dict[KeyPath, int]:
    """Returns the line (from 1) of every table and key in a text that is known to be valid TOML."""
    return _Locator(text).run()


class _Locator:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._arrays: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while not self._blank():
            table = self._header() if self._next("[") else self._assignment(table)
        return self._lines

    def _blank(self) -> bool:
        """Skips white space and comments; tells whether that was the rest of the text."""
        self._take(_BLANK)
        return self._at >= len(self._text)

    def _next(self, expected: str) -> bool:
        return self._text.startswith(expected, self._at)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise AssertionError(f"not valid TOML at offset {self._at}")
        self._at = found.end()
        return found

    def _mark(self, path: KeyPath) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)

    def _names(self) -> list[str]:
        """Reads a key, dotted or not."""
        names = []
        while True:
            names.append(_unquoted(self._take(_KEY)[1]))
            if not self._next("."):
                return names
            self._at += 1

    def _header(self) -> KeyPath:
        is_array = self._next("[[")
        start = self._at
        self._at += 2 if is_array else 1
        names = self._names()
        path: KeyPath = ()
        for name in names[:-1]:
            path = self._last_entry((*path, name))
        path = (*path, names[-1])
        if is_array:
            self._arrays[path] = self._arrays.get(path, -1) + 1
        path = self._last_entry(path)
        end, self._at = self._at, start
        self._lines.pop(path, None)  # a sub-table may have named it before its own header
        self._mark(path)
        self._at = end + (2 if is_array else 1)
        return path

    def _last_entry(self, path: KeyPath) -> KeyPath:
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _assignment(self, table: KeyPath) -> KeyPath:
        start = self._at
        names = self._names()
        end, self._at = self._at, start
        path = (*table, *names)
        self._mark(path)
        self._at = end + 1
        self._value(path)
        return table

    def _value(self, path: KeyPath) -> None:
        self._blank()
        if self._next("["):
            self._entries(path)
        elif self._next("{"):
            self._inline_table(path)
        elif self._next('"') or self._next("'"):
            self._take(_STRING)
        else:
            self._take(_BARE)

    def _entries(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while not self._blank() and not self._next("]"):
            self._mark((*path, index))
            self._value((*path, index))
            index += 1
            self._separator()
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while not self._blank() and not self._next("}"):
            self._assignment(path)
            self._separator()
        self._at += 1

    def _separator(self) -> None:
        self._blank()
        if self._next(","):
            self._at += 1


def _unquoted(name: str) -> str:
    if name.startswith("'"):
        return name[1:-1]
    # TOML's escapes are among Python's
    return str(ast.literal_eval(name)) if name.startswith('"') else name

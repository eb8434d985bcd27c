"""An administrator at the group's page: logs in, and changes what is asked on standard input.

    python -m experiments.embodiments.subgroups.click --url https://[3ffe::1000]:8443 \\
        --authority authority.pem --administrator admin --password-file admin.password

Each line of input is the path of a form and its fields as ``name=value``, such as
``/groups/1001/move user=C sub_id=1``. For each it prints one line of JSON: when the form left
(CLOCK_MONOTONIC, ns), how long the answer took, and its status.
"""

from __future__ import annotations

import argparse
import json
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')
ANSWER_SECONDS = 10.0


class ClickError(RuntimeError):
    """Says what the page did not do."""


class Administrator:
    """A browser's part: cookies, the form's token, forms."""

    def __init__(self, url: str, authority: Path) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        self._url = url
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(CookieJar()),
            urllib.request.ProxyHandler({}),
        )
        self._token = ""

    def log_in(self, name: str, password: str) -> None:
        """Logs in; raises ClickError when the page refuses."""
        self._read("/login")
        self.submit("/login", {"name": name, "password": password})
        self._read("/groups")

    def submit(self, path: str, fields: dict[str, str]) -> int:
        """Sends a form and returns the answer's status, after redirections."""
        body = urllib.parse.urlencode({"form_token": self._token, **fields}).encode()
        request = urllib.request.Request(self._url + path, body, {"Origin": self._url})
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS) as answer:
                self._remember(answer.read().decode())
                status: int = answer.status
                sent_away = answer.url == f"{self._url}/login"
        except urllib.error.HTTPError as error:
            raise ClickError(f"{path}: answered {error.code}") from None
        if sent_away:
            raise ClickError(f"{path}: nobody is logged in")
        return status

    def _read(self, path: str) -> None:
        with self._opener.open(self._url + path, timeout=ANSWER_SECONDS) as answer:
            self._remember(answer.read().decode())

    def _remember(self, page: str) -> None:
        found = _TOKEN.search(page)
        if found is not None:
            self._token = found.group(1)


def main() -> int:
    """Runs the program; returns 0, or 1 when the page refuses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--authority", required=True, type=Path)
    parser.add_argument("--administrator", required=True)
    parser.add_argument("--password-file", required=True, type=Path)
    options = parser.parse_args()
    administrator = Administrator(options.url, options.authority)
    try:
        password = options.password_file.read_text(encoding="utf-8").strip()
        administrator.log_in(options.administrator, password)
        print("ready", flush=True)
        for line in sys.stdin:
            path, *fields = line.split()
            at = time.monotonic_ns()
            status = administrator.submit(path, dict(field.split("=", 1) for field in fields))
            answer = {"at": at, "took": time.monotonic_ns() - at, "status": status}
            print(json.dumps(answer), flush=True)
    except (ClickError, OSError) as error:
        print(f"click: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

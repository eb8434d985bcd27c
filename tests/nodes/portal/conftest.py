"""A page for each test; passwords are hashed once for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.portal.site import Site, fill


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes users and administrators."""
    path = tmp_path_factory.mktemp("portal") / "users.sqlite"
    fill(path)
    return path


@pytest.fixture
def site(tmp_path: Path, database: Path) -> Iterator[Site]:
    """Gives a page over a database of its own."""
    opened = Site(tmp_path, database)
    yield opened
    opened.close()

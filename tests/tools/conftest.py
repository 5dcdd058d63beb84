"""Fixtures for tests of tools that fetch published weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.file_server import FileServer, serving
from tests.helpers.publish import use_cache


@pytest.fixture
def file_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves files on this machine; what is fetched goes below tmp_path."""
    use_cache(tmp_path, monkeypatch)
    with serving() as server:
        yield server

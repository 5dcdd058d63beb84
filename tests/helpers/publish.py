"""Publishes files on a server of this machine, under names that the registry then knows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.file_server import FileServer
from utils.files import sha256
from utils.published import download, files, libraries, registry
from utils.published.registry import Published
from utils.published.sums import keep_sum

ABOUT: dict[str, Any] = {"source": "s", "backbone": "b", "dataset": "set", "layout": "l", "licence": "MIT"}


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets downloads go to folder/torch, and tries broken ones again at once."""
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(download, "PAUSE", 0.0)


def use_registry(entries: list[Published], monkeypatch: pytest.MonkeyPatch) -> dict[str, Published]:
    """Makes these entries the whole registry, and returns them by name."""
    known = {entry.id: entry for entry in entries}
    for module in (registry, files, libraries):
        monkeypatch.setattr(module, "registry", lambda: known)
    monkeypatch.setattr(registry, "_by_file", getattr(registry._by_file, "__wrapped__", registry._by_file))  # not kept
    return known


def noted(path: Path) -> Path:
    """Notes the SHA-256 of a file beside it, so that nobody doubts its weights, and returns the file."""
    keep_sum(path, sha256(path))
    return path


def publish(path: Path, server: FileServer, name: str = "set/net", **about: Any) -> Published:
    """Returns an entry for a file, which the server has under a name with its hash."""
    content = path.read_bytes()
    digits = hashlib.sha256(content).hexdigest()[:8]
    server.files[f"/net-{digits}.pth"] = content
    return Published(name, **{**ABOUT, **about}, url=f"{server.address}/net-{digits}.pth", sha256=digits)

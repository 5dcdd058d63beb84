"""What the tests of dumps share: dumping with one worker, and reading what lies on the disk afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools import dump_frames
from tools.dumping.video import Job, Settings
from utils.errors import UserError


def dump(*arguments: object) -> int:
    return dump_frames.main([*map(str, arguments), "--workers", "1"])


def refusal(*arguments: object) -> str:
    with pytest.raises(UserError) as error:
        dump(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def entries(out: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return {line["video"]: line for line in lines if line["kind"] == "video"}


def images(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))]


def tree(folder: Path) -> list[str]:
    """Returns what is in a folder, without the files of checksums."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix != ".sfv")


def run_here(function: Callable[[Any], Any], jobs: Iterable[Any], **_: Any) -> Iterator[tuple[Any, Any]]:
    """Does what `run_jobs` does, in this process: workers need seconds to start."""
    for job in jobs:
        try:
            answer = function(job)
        except Exception as error:
            answer = error
        yield job, answer


def make_job(source: Path, out: Path, *, keep_partial: bool = False, **settings: Any) -> Job:
    return Job(source, f"frames/{source.stem}", "", None, None, Settings(**settings), out, keep_partial)

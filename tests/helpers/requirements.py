"""What a test may need beyond the Python packages, and what happens when it is not there.

A missing need skips the test with the line that would provide it. With REQUIRE_ALL=1, as in CI, it fails instead; only
a missing GPU always skips, because CI has none.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest
from packaging.version import Version

from utils.files import ROOT

CLIPS = Path(os.environ.get("CLIPS", ROOT.parent / "shared" / "clips"))
TORCHCODEC_FITS = Version(version("torch")) >= Version("2.11")
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"


def _need(present: bool, how: str) -> pytest.MarkDecorator:
    # a missing need fails under REQUIRE_ALL: conftest.py turns this mark into an error
    return pytest.mark.need(present=present, how=how)


def needs_program(*programs: str, install: str) -> pytest.MarkDecorator:
    """For tests that start an installed program; `install` is the line that installs it."""
    missing = [program for program in programs if shutil.which(program) is None]
    return _need(not missing, f"{', '.join(missing)} not found: {install}")


def needs_package(package: str, install: str = "") -> pytest.MarkDecorator:
    """For tests of an optional extra."""
    return _need(importlib.util.find_spec(package) is not None, f"no {package}: {install or 'pip install ' + package}")


def lacking(what: str) -> NoReturn:
    """Skips a test that finds out in its middle what it lacks, or fails it under REQUIRE_ALL."""
    if REQUIRE_ALL:
        pytest.fail(f"REQUIRE_ALL=1, but {what}", pytrace=False)
    pytest.skip(what)


def needs_torchcodec(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test of the decoder torchcodec, which has to work where its torch and FFmpeg are there."""
    marks = needs_package("torchcodec"), needs_program("ffmpeg", install="apt install ffmpeg")  # for its libraries
    old = pytest.mark.skipif(not TORCHCODEC_FITS, reason="torchcodec needs torch 2.11")
    for mark in (*marks, old):
        test = mark(test)
    return test


# under REQUIRE_ALL too, where CI runs everything with the oldest torch: what that torch cannot do at all
needs_new_tracing = pytest.mark.skipif(
    Version(version("torch")) < Version("2.7"), reason="cannot trace timm's attention"
)
needs_clips = _need(
    CLIPS.is_dir(), f"no real clips in {CLIPS}: put short videos there or set CLIPS=folder (see tests/README.md)"
)
needs_gpu = pytest.mark.gpu  # conftest.py skips where there is none
needs_root = _need(os.geteuid() == 0, "this starts daemons of its own as root: sudo make test")


def needs_shards() -> None:
    """Skips a test of `fsdp` where torch is too old for it on CPUs. Imports what forked processes would import each."""
    from torch.distributed.fsdp import FSDPModule

    from utils.processes.sharded import SUMS

    if not hasattr(FSDPModule, SUMS):
        pytest.skip("this torch shares networks out on GPUs only")

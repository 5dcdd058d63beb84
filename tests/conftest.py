"""Fixtures and rules for all tests."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.browser import browser  # noqa: F401 - a fixture for all
from tests.helpers.requirements import ROOT, lacking
from tools.dumping import pool
from utils.run import summary

# whose tests run commands, train, or build large networks
WHOLE = ("integration", "tools", "anal_tools", "benchmarks", "networks", "methods")
WHOLE_FILES = ("test_contributing.py", "test_recipes.py", "test_start.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(ROOT / "tests")
        if place.parts[0] in WHOLE or place.name in WHOLE_FILES:
            item.add_marker("whole")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("need"):
        if not mark.kwargs["present"]:
            lacking(mark.kwargs["how"])


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two workers on two cores: more threads only fight, and sums depend on their number.

    Of the session, so that it comes before the fixtures of a module, which train too.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


@pytest.fixture(autouse=True, scope="session")
def _workers_of_tools_are_forked() -> None:
    """Forks the workers of tools/dumping/pool.py from a server that has loaded torch, which takes three seconds.

    The server starts with the first worker. tests/tools/dumping/test_pool.py gives each worker a fresh interpreter.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "datasets.videos.video"]
    )  # not tools.dumping.video, which knows its parent
    pool._CONTEXT = context


@pytest.fixture(autouse=True, scope="session")
def _networks_are_counted_once() -> None:
    """Keeps the multiply-adds that a training run logs: most runs have the network of tests/helpers/experiment.py."""
    count, known = summary.multiply_adds, {}

    def counted(module: nn.Module, shape: Sequence[int]) -> int:
        key = (repr(module), tuple(shape))
        if key not in known:
            known[key] = count(module, shape)
        return known[key]

    summary.multiply_adds = counted


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)

"""Fixtures and rules for all tests."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.helpers.browser import browser  # noqa: F401 - a fixture for all
from tests.helpers.requirements import lacking


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


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)

"""Fixtures and rules for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch

from tests.requirements import REQUIRE_ALL


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("need"):
        if not mark.kwargs["present"]:
            if REQUIRE_ALL:
                pytest.fail(f"REQUIRE_ALL=1, but {mark.kwargs['how']}", pytrace=False)
            pytest.skip(mark.kwargs["how"])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two workers on two cores: more threads only fight, and sums would depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)

"""Places of features: rows of one way never lie beside rows of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.requirements import needs_package
from tools.inference.features import Features, open_feature_store
from utils.errors import UserError

ROWS = Features(np.ones((2, 3), np.float32), np.zeros((2, 2)))


@needs_package("h5py")
@pytest.mark.parametrize("name", ["npz", "features.h5"])
@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"segments": "2"}, {}, r"made with segments '2', not \(not set\); choose another output"),
        ({}, {"segments": "2"}, r"made with segments \(not set\), not '2'"),
        ({"segments": "2"}, {"segments": "3"}, "made with segments '2', not '3'"),
    ],
)
def test_what_only_one_protocol_says_is_another_way_to_make_rows(
    tmp_path: Path, name: str, before: dict[str, str], now: dict[str, str], said: str
) -> None:
    with open_feature_store(tmp_path / name, {"layer": "a", **before}) as store:
        store.put("v.mp4", ROWS, "one")
    with open_feature_store(tmp_path / name, {"layer": "a", **before}) as store:
        assert store.version("v.mp4") == "one"
    with pytest.raises(UserError, match=said), open_feature_store(tmp_path / name, {"layer": "a", **now}) as store:
        store.version("v.mp4")

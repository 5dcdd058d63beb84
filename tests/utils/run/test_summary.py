from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.grey import config
from utils.run.summary import summary

COST = {"gmacs_clip": (1, 2, 2), "views": 1, "parameters": 1, "gmacs": 0.0}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"val_source": "val.txt", "val_freq": 250}, "once, after the last step"),
        ({"val_source": "val.txt", "val_freq": 4}, "every 4 steps"),
        ({"val_source": "val.txt", "val_epochs": 0.5}, "every 5 steps"),
        ({}, "never, because there is no val_source"),
    ],
)
def test_a_run_says_when_it_is_validated(keys: dict[str, object], words: str) -> None:
    said = summary(config(steps=22, **keys), np.full(22, 0.1), 10, 1, COST)
    assert f"validations: {words}" in said.splitlines()

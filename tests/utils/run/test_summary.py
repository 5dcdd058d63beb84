from __future__ import annotations

import numpy as np
import pytest
import torch

from datasets.protocol import clip_protocol
from methods.build import build_method
from tests.helpers.grey import config
from utils.run.flops import multiply_adds
from utils.run.summary import network_cost, summary

COST = {
    "gmacs_clip": (1, 2, 2), "gmacs_test_clip": (1, 4, 4), "views": 6, "parameters": 1, "gmacs": 0.5, "gmacs_test": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"val_source": "val.txt", "val_freq": 250}, "once, after the last step; every 250 are set"),
        ({"val_source": "val.txt", "val_freq": 4}, "every 4 steps"),
        ({"val_source": "val.txt", "val_epochs": 0.5}, "every 5 steps"),
        ({}, "never, because there is no val_source"),
    ],
)
def test_a_run_says_when_it_is_validated(keys: dict[str, object], words: str) -> None:
    said = summary(config(steps=22, **keys), np.full(22, 0.1), 10, 1, COST)
    assert f"validations: {words}" in said.splitlines()


@pytest.mark.whole
def test_a_test_costs_what_its_own_clips_cost() -> None:
    common = config(
        model={"type": "tsn", "backbone": "mobilenetv2", "kwargs": {"scale": 0.25}, "num_segments": 2, "num_class": 2},
        augmentation={"input_size": 32, "test_resize": 80},
        test={"input_size": 64, "num_frames": 5, "num_crops": 3, "num_clips": 2},
    )
    with torch.device("meta"):
        method = build_method(common.model)
    protocols = {name: clip_protocol(common, method.clip, train=name == "train") for name in ("train", "val")}
    cost = network_cost(method, **protocols)
    of_frames = multiply_adds(method, (1, 3, 1, 64, 64)) / 1e9
    assert cost["gmacs_test"] == pytest.approx(5 * of_frames) and cost["gmacs_test_clip"] == [5, 64, 64]
    assert cost["gmacs"] == multiply_adds(method, (1, 3, 2, 32, 32)) / 1e9 and cost["gmacs_clip"] == [2, 32, 32]
    said = summary(common, np.full(22, 0.1), 10, 1, cost)
    assert f"GMACs per video at test: {6 * cost['gmacs_test']:.3f} over 6 view(s) at 5 x 64 x 64" in said.splitlines()


@pytest.mark.parametrize("backbone", ["resnet18", "mc3_18"])
def test_a_frozen_network_that_computes_groups_costs_what_the_dry_run_says(backbone: str) -> None:
    clip = {"num_segments": 2} if backbone == "resnet18" else {"clip_len": 2}
    common = config(
        model={"type": "probe", "backbone": backbone, "num_class": 2, **clip},
        augmentation={"input_size": 32, "test_resize": 40},
    )
    with torch.device("meta"):
        method = build_method(common.model)
    protocols = {name: clip_protocol(common, method.clip, train=name == "train") for name in ("train", "val")}
    dry = network_cost(method, **protocols)
    method.in_groups = True  # as prepare_method has it in a run
    assert network_cost(method, **protocols) == dry

"""mmaction2's C3D: its published scores, the file to start from, and its config."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.clip3d import Clip3D
from networks.checkpoints.layouts import LAYOUTS
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.load import load_into
from networks.checkpoints.protocols import sections
from tests.golden import fill
from tests.helpers.requirements import ROOT

DOC = json.loads((ROOT / "tests/golden/models/mmaction2__c3d_sports1m_ucf101_16x1x1.json").read_text())
SHAPES = [(key, tuple(shape)) for key, shape, _ in DOC["state_entries"]]


def _converted(state: dict[str, Tensor], **others: object) -> tuple[dict[str, Tensor], Description]:
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    assert layout.name == "mmaction2 (clips)"
    return layout.convert(state, others)


def _meta() -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in SHAPES}


@pytest.mark.long  # 78 million weights
def test_a_published_file_tells_its_network_and_gives_its_published_scores() -> None:
    arrays = fill.fill_state(SHAPES, **DOC["fill"])
    state, description = _converted({key: torch.from_numpy(value) for key, value in arrays.items()})
    assert (description.backbone, description.arguments["num_class"]) == ("c3d", 101)
    method = Clip3D(backbone=description.backbone, **description.arguments)
    method.load_state_dict(state, assign=True)
    with torch.no_grad():
        logits = method.eval()(torch.from_numpy(fill.make_input(DOC["input"]["shape_NCTHW"]))).numpy()
    assert np.abs(logits - np.array(DOC["logits"])).max() / DOC["logits_std"] < 1e-4


CONFIG = """
model = dict(type='Recognizer3D', backbone=dict(type='C3D', norm_cfg=None, dropout_ratio=0.5),
    cls_head=dict(type='I3DHead', num_classes=101, in_channels=4096, spatial_type=None, dropout_ratio=0.5),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[104, 117, 128], std=[1, 1, 1]))
train_pipeline = [dict(type='SampleFrames', clip_len=16, frame_interval=1, num_clips=1), dict(type='Flip')]
test_pipeline = [
    dict(type='SampleFrames', clip_len=16, frame_interval=1, num_clips=10, test_mode=True),
    dict(type='Resize', scale=(-1, 128)), dict(type='CenterCrop', crop_size=112)]
"""


def test_with_and_without_its_config_a_file_is_tested_as_its_project_tests_it() -> None:
    for others in ({}, {"meta": {"cfg": CONFIG}}):
        weights, description = _converted(_meta(), **others)
        assert not description.assumed and description.arguments["clip_len"] == 16
        with torch.device("meta"):
            made = Clip3D(backbone=description.backbone, **description.arguments).state_dict()
        assert {key: value.shape for key, value in weights.items()} == {key: made[key].shape for key in made}
        found = sections("mmaction2 (clips)", description)
        pixels, test = found["augmentation"], found["test"]
        assert (pixels["input_size"], pixels["test_resize"], test["input_size"]) == (112, 128, 112)
        assert (test["num_clips"], test["num_crops"]) == (10, 1)
        assert [round(255 * value, 5) for value in pixels["mean"]] == [104, 117, 128]
        assert [round(255 * value, 5) for value in pixels["std"]] == [1, 1, 1]


@pytest.mark.whole
def test_the_file_of_sports_1m_starts_a_training_without_its_classifier(tmp_path: Path) -> None:
    state = {key.removeprefix("backbone."): torch.empty(shape) for key, shape in SHAPES if "cls_head" not in key}
    torch.save({"state_dict": {key: value.normal_(0, 0.01) for key, value in state.items()}}, tmp_path / "c3d.pth")
    with torch.device("meta"):
        method = Clip3D(backbone="c3d", num_class=5)
    report = load_into(method, tmp_path / "c3d.pth", new_head=True)
    assert len(report.matched) == len(state) and not report.missing and not report.unexpected


def test_clips_of_another_size_are_refused_with_the_size_that_it_takes() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=r"takes clips of 16 x 112 x 112 .*, not 8 x 112 x 112"):
        Clip3D(backbone="c3d", num_class=5)(torch.empty(1, 3, 8, 112, 112))

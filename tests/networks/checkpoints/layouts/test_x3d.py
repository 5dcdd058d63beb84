"""X3D under the names of four projects: published scores, which X3D a file is, and what it cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.clip3d import Clip3D
from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.checkpoints.layouts import LAYOUTS
from networks.checkpoints.load import load_into
from networks.checkpoints.protocols import sections
from tests.golden import fill
from tests.helpers.requirements import ROOT
from tests.helpers.run_tool import run_tool
from tests.networks.checkpoints.layouts import official_names, official_names_x3d
from utils.errors import CheckpointError

GOLDEN = ROOT / "tests" / "golden" / "models"
TOLERANCE = 1e-4  # of the scores' spread, as in test_layouts_3d.py
OTHER = {"first_shortcut_norm": True}
SCORES = {**OTHER, "position_average": "scores"}
# fixture -> the name of the published file, its layout, its network and how this differs from the network's defaults
PUBLISHED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "pytorchvideo__x3d_xs": ("X3D_XS.pyth", "PyTorchVideo", "x3d_xs", {}),
    "pytorchvideo__efficient_x3d_xs": (
        "efficient_x3d_xs_original_form.pyth", "PyTorchVideo", "efficient_x3d_xs", {},
    ),
    "pyslowfast__x3d_s": ("x3d_s.pyth", "PySlowFast", "x3d_s", SCORES),
    "mmaction2__x3d_m_16x5x1": (
        "x3d_m_16x5x1_facebook-kinetics400-rgb.pth", "mmaction2 (clips)", "x3d_m", {**OTHER, "crop_size": None},
    ),
}  # fmt: skip


def _golden(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A fixture, and the contents of the published file that it describes."""
    doc = json.loads((GOLDEN / f"{name}.json").read_text())
    entries = fill.fill_state([(key, shape) for key, shape, _ in doc["state_entries"]], **doc["fill"])
    state = {key: torch.from_numpy(np.asarray(value)) for key, value in entries.items()}
    return doc, official_names.wrapped(doc["file"]["state_dict_path"], state)


def _loaded(contents: dict[str, Any], path: Path, **kwargs: Any) -> tuple[RawCheckpoint, Clip3D]:
    torch.save(contents, path)
    file = load_checkpoint_file(path)
    arguments = dict(file.description.arguments)
    arguments["kwargs"] = {**arguments.get("kwargs", {}), **kwargs}
    method = Clip3D(backbone=file.description.backbone, **arguments)
    report = load_into(method, file)
    assert not report.missing and not report.unexpected
    return file, method.eval()


def _logits(method: Clip3D, shape: list[int]) -> Tensor:
    with torch.no_grad():
        return method(torch.from_numpy(fill.make_input(shape)))


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_tells_its_network_and_gives_its_published_scores(name: str, tmp_path: Path) -> None:
    published, layout, backbone, kwargs = PUBLISHED[name]
    doc, contents = _golden(name)
    file, method = _loaded(contents, tmp_path / published)
    assert (file.layout, file.description.backbone) == (layout, backbone)
    assert file.description.arguments.get("kwargs", {}) == kwargs
    assert file.description.arguments["clip_len"] == doc["input"]["shape_NCTHW"][2]
    logits = _logits(method, doc["input"]["shape_NCTHW"]).numpy()
    assert np.abs(logits - np.array(doc["logits"])).max() / doc["logits_std"] < TOLERANCE


@pytest.mark.whole
def test_pytorchvideo_averages_raw_scores_over_the_positions_of_a_larger_crop(tmp_path: Path) -> None:
    doc, contents = _golden("pytorchvideo__x3d_xs")
    wider = doc["extra_outputs"]["larger_crop"]
    _, method = _loaded(contents, tmp_path / "X3D_XS.pyth")
    error = _logits(method, wider["shape_NCTHW"]).numpy() - np.array(wider["values"])
    assert np.abs(error).max() / doc["logits_std"] < TOLERANCE


@pytest.mark.whole
def test_pyslowfast_averages_a_softmax_over_the_positions_of_a_larger_crop(tmp_path: Path) -> None:
    doc, contents = _golden("pyslowfast__x3d_s")
    wider = doc["extra_outputs"]["official_eval_output_fully_convolutional"]
    _, method = _loaded(contents, tmp_path / "x3d_s.pyth", crop_size=96)  # the fixture's head was built for this crop
    scores = _logits(method, wider["shape_NCTHW"]).softmax(-1).numpy()
    np.testing.assert_allclose(scores, wider["values"], atol=1e-5 * np.max(wider["values"]))


def _state(naming: str, backbone: str, **kwargs: Any) -> dict[str, Tensor]:
    """Weights without numbers, under the names of a project."""
    with torch.device("meta"):
        net = Clip3D(backbone=backbone, num_class=33, kwargs=kwargs).network
    return getattr(official_names_x3d, naming)(net.state_dict())


def _described(state: dict[str, Tensor], name: str = "best.pth", **others: Any) -> tuple[str, Any]:
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    weights, description = layout.convert(state, others)
    layout.read_name(description, name)
    if description.backbone:
        with torch.device("meta"):
            made = Clip3D(backbone=description.backbone, **description.arguments).state_dict()
        assert {key: value.shape for key, value in weights.items()} == {key: made[key].shape for key in made}
    return layout.name, description


@pytest.mark.parametrize(
    ("naming", "backbone", "kwargs", "project"),
    [
        ("pytorchvideo", "x3d_l", {}, "PyTorchVideo"),
        ("efficient", "efficient_x3d_s", {}, "PyTorchVideo"),
        ("pyslowfast", "x3d_l", OTHER, "PySlowFast"),
        ("mmaction2", "x3d_l", OTHER, "mmaction2 (clips)"),
    ],
)
def test_depth_and_names_show_the_network_and_its_project(
    naming: str, backbone: str, kwargs: dict[str, Any], project: str
) -> None:
    name, description = _described(_state(naming, backbone, **kwargs))
    assert (name, description.backbone) == (project, backbone)
    assert description.arguments["num_class"] == 33


def test_the_name_of_a_file_says_whether_it_is_xs_s_or_m() -> None:
    state = _state("pytorchvideo", "x3d_m")
    unnamed = _described(state)[1]
    assert unnamed.backbone == "x3d_m" and unnamed.assumed == ("clip_len", "frame_stride")
    assert any("X3D-XS, S and M have the same weights" in note for note in unnamed.notes)
    for name, backbone, clip in (("X3D_XS.pyth", "x3d_xs", (4, 12)), ("my_x3d_s_4.pt", "x3d_s", (13, 6))):
        named = _described(state, name)[1]
        arguments = named.arguments
        assert named.backbone == backbone and (arguments["clip_len"], arguments["frame_stride"]) == clip
        assert not named.assumed and any("from the name of the file" in note for note in named.notes)
    assert _described(state, "X3D_L.pyth")[1].backbone == "x3d_m"  # it has other depths


def test_a_config_in_the_file_goes_before_its_name() -> None:
    config = """
    DATA: {NUM_FRAMES: 4, SAMPLING_RATE: 12, TRAIN_CROP_SIZE: 128, TEST_CROP_SIZE: 144, TRAIN_JITTER_SCALES: [150, 180]}
    TEST: {NUM_ENSEMBLE_VIEWS: 5, NUM_SPATIAL_CROPS: MANY}
    """
    state = _state("pyslowfast", "x3d_m", **OTHER)
    project, description = _described(state, "x3d_s.pyth", cfg=config.replace("MANY", "3"))
    assert description.backbone == "x3d_xs" and description.arguments["kwargs"]["crop_size"] == 128
    assert not description.notes
    found = sections(project, description)
    assert found["test"] == {"num_clips": 5, "num_crops": 3, "sampling": "pyslowfast", "input_size": 144}
    assert (found["augmentation"]["input_size"], found["augmentation"]["test_resize"]) == (128, 144)
    one = _described(state, cfg=config.replace("MANY", "1"))[1]
    assert one.protocol["augmentation"]["test_resize"] == 150


MMACTION2 = """
model = dict(type='Recognizer3D', backbone=dict(type='X3D', gamma_w=1, gamma_b=2.25, gamma_d=2.2{more}),
             cls_head=dict(type='X3DHead', num_classes=33, dropout_ratio=0.5, average_clips='prob'))
test_pipeline = [
    dict(type='SampleFrames', clip_len=13, frame_interval=6, num_clips=10, target_fps=30, test_mode=True),
    dict(type='Resize', scale=(-1, 190)), dict(type='ThreeCrop', crop_size=190)]
"""


def test_mmaction2s_config_has_no_clip_of_the_training_and_gives_crops() -> None:
    state = _state("mmaction2", "x3d_s", **OTHER)
    project, description = _described(
        state, "x3d_s_13x6x1_facebook-kinetics400-rgb.pth", meta={"cfg": MMACTION2.format(more="")}
    )
    assert description.backbone == "x3d_s" and description.arguments["clip_len"] == 13
    assert description.arguments["kwargs"] == {**OTHER, "crop_size": None} and description.arguments["dropout"] == 0.5
    found = sections(project, description)
    assert found["augmentation"]["test_resize"] == found["test"]["input_size"] == 190
    assert found["augmentation"]["input_size"] == 160 and found["augmentation"]["mean"] == [0.45] * 3
    for more in (", use_swish=False", ", spatial_strides=(1, 2, 2, 2)"):
        with pytest.raises(CheckpointError, match=f"its config says {more[2:].partition('=')[0]}"):
            _described(state, meta={"cfg": MMACTION2.format(more=more)})


def test_without_a_config_crops_and_views_are_those_that_are_published() -> None:
    for naming, backbone, name, sizes in (
        ("pytorchvideo", "x3d_l", "X3D_L.pyth", (312, 356, 356)),
        ("efficient", "efficient_x3d_xs", "efficient_x3d_xs_original_form.pyth", (160, 182, 182)),
    ):
        project, description = _described(_state(naming, backbone), name)
        found = sections(project, description)
        pixels, test = found["augmentation"], found["test"]
        assert (pixels["input_size"], pixels["test_resize"], test["input_size"]) == sizes
        assert (test["num_clips"], test["num_crops"]) == (10, 3) and pixels["preset"] == "pytorchvideo"


@pytest.mark.parametrize("naming", ["pytorchvideo", "pyslowfast"])
def test_an_x3d_of_another_depth_is_called_so(naming: str, tmp_path: Path) -> None:
    state = {key: value for key, value in _state(naming, "x3d_m").items() if "res6." not in key and "s.6." not in key}
    torch.save({key: torch.ones(value.shape) for key, value in state.items()}, tmp_path / "x.pth")
    error = run_tool("convert_checkpoint", tmp_path / "x.pth", tmp_path / "out", code=2).stderr
    assert "(backbone: X3D with (3, 5, 10, 6) blocks per stage, which does not exist here)" in error

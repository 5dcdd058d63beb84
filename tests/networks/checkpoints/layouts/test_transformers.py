"""Checkpoints of MViT and Video Swin: published numbers, and all published sizes by names and shapes alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.clip3d import Clip3D
from networks.checkpoints.layouts import LAYOUTS
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.layouts.swin import INDEX, TABLE
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from tests.golden import fill
from tests.helpers.publish import noted
from tests.helpers.requirements import ROOT
from tests.networks.checkpoints.layouts.official_names import wrapped
from utils.errors import CheckpointError

State = dict[str, Tensor]
GOLDEN = ROOT / "tests" / "golden" / "models"
TOLERANCE = 1e-4  # of the scores' spread
PUBLISHED = {
    "pytorchvideo__mvit_base_16x4": ("PyTorchVideo MViT", "mvit_v1_b", {"clip_len": 16, "frame_stride": 4}),
    "pyslowfast__mvit_b_16x4_conv_112": ("PySlowFast MViT", "mvit_v1_b", {"kwargs": {"spatial_size": 112}}),
    "pyslowfast__mvitv2_s_16x4": ("PySlowFast MViT", "mvit_v2_s", {"clip_len": 16, "frame_stride": 4}),
    "mmaction2__mvit_small_16x4x1_112": ("mmaction2 MViT", "mvit_v2_s", {"kwargs": {"spatial_size": 112}}),
    "mmaction2__swin_tiny_32x2x1": ("Video Swin", "swin3d_t", {"clip_len": 32, "frame_stride": 2}),
}


def _published(name: str) -> tuple[dict[str, Any], State]:
    doc = json.loads((GOLDEN / f"{name}.json").read_text())
    entries = fill.fill_state([(key, shape) for key, shape, _ in doc["state_entries"]], **doc["fill"])
    return doc, {key: torch.from_numpy(np.asarray(value)) for key, value in entries.items()}


def _error(path: Path, doc: Mapping[str, Any]) -> float:
    """Loads a file into the network that it shows; returns how far its scores are from the published ones."""
    file = load_checkpoint_file(noted(path))
    method = Clip3D(backbone=file.description.backbone, **file.description.arguments).eval()
    report = load_into(method, file)
    assert not (report.missing or report.unexpected or report.warnings)
    with torch.no_grad():
        scores = method(torch.from_numpy(fill.make_input(doc["input"]["shape_NCTHW"]))).numpy()
    return float(np.abs(scores - np.array(doc["logits"])).max() / doc["logits_std"])


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    "name", [name if "112" in name else pytest.param(name, marks=pytest.mark.long) for name in PUBLISHED]
)
def test_a_published_transformer_tells_its_network_and_gives_its_published_scores(name: str, tmp_path: Path) -> None:
    doc, state = _published(name)
    torch.save(wrapped(doc["file"]["state_dict_path"], state), tmp_path / "file.pyth")
    file = load_checkpoint_file(tmp_path / "file.pyth")
    layout, backbone, arguments = PUBLISHED[name]
    assert (file.layout, file.description.backbone) == (layout, backbone)
    assert {key: file.description.arguments[key] for key in arguments} == arguments
    assert _error(tmp_path / "file.pyth", doc) < TOLERANCE
    assert [norm["eps"] for norm in doc["layer_norms"]] == [_eps(file.description)]


def _eps(description: Description) -> float:
    """The only eps of the network's layer norms, which scores hardly show."""
    with torch.device("meta"):
        method = Clip3D(backbone=description.backbone, **description.arguments)
    (eps,) = {module.eps for module in method.modules() if isinstance(module, torch.nn.LayerNorm)}
    return eps


def _convert(state: Mapping[str, Tensor], **others: Any) -> tuple[State, Description, str]:
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    return *layout.convert(state, others), layout.name


@pytest.mark.whole
def test_a_second_name_of_a_tensor_is_taken_for_it_and_may_not_contradict() -> None:
    doc, state = _published("pytorchvideo__mvit_base_16x4")
    second = dict(doc["alias_entries"]["entries"])
    plain = _convert(state)[0]
    for other in (
        state | {key: state[own] for key, own in second.items()},
        {key: value for key, value in state.items() if key not in second.values()}
        | {key: state[own] for key, own in second.items()},
    ):
        found = _convert(other)[0]
        assert found.keys() == plain.keys() and all(torch.equal(found[key], value) for key, value in plain.items())
    key, own = next(iter(second.items()))
    with pytest.raises(CheckpointError, match=rf"{re.escape(own)}: is in the file under two names, with different"):
        _convert(state | {key: state[own] + 1})


def test_the_index_of_positions_is_made_where_the_file_has_none_and_kept_where_it_has() -> None:
    doc, state = _published("mmaction2__swin_tiny_32x2x1")
    found = _convert(state)[0]
    for key, shape, numbers in doc["constant_entries"]["entries"]:
        theirs = key.replace("backbone.layers.", "")
        stage, rest = theirs.split(".", 1)
        made = found[f"network.features.{2 * int(stage)}.{rest.removeprefix('blocks.')}"]
        assert list(made.shape) == shape and made.double().mean() == pytest.approx(numbers["mean"])
        assert made.flatten()[numbers["flat_index"]].tolist() == numbers["value"]
    own = torch.zeros(392, 392, dtype=torch.int64)
    kept = _convert(state | {f"backbone.layers.0.blocks.0.{INDEX}": own})[0]
    assert kept[f"network.features.0.0.{INDEX}"] is own


# --- other published sizes, under their projects' names, by shapes alone

V2_B = {"depth": 24, "wider_at": [2, 5, 21]}
V2_L = {"depth": 48, "embed_dim": 144, "num_heads": 2, "wider_at": [2, 8, 44], "spatial_size": 312}
SIZES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("PyTorchVideo MViT", "mvit_v1_b", "pytorchvideo", {"clip_len": 32, "frame_stride": 3}),
    ("PyTorchVideo MViT", "mvit_v1_b", "pytorchvideo", {"clip_len": 1, "num_class": 1000}),
    ("PySlowFast MViT", "mvit_v1_b", "pyslowfast", {"clip_len": 32, "frame_stride": 3, "num_class": 600}),
    ("PySlowFast MViT", "mvit_v2_s", "pyslowfast", {"clip_len": 32, "frame_stride": 3, "kwargs": V2_B}),
    ("PySlowFast MViT", "mvit_v2_s", "pyslowfast", {"clip_len": 40, "frame_stride": 3, "kwargs": V2_L}),
    ("mmaction2 MViT", "mvit_v2_s", "mmaction2", {"clip_len": 32, "frame_stride": 3, "kwargs": V2_B}),
    ("mmaction2 MViT", "mvit_v2_s", "mmaction2", {"clip_len": 40, "frame_stride": 3, "kwargs": V2_L}),
    ("mmaction2 MViT", "mvit_v2_s", "mmaction2", {"kwargs": {"widen_in": "mlp"}}),
    ("Video Swin", "swin3d_s", "authors", {"num_class": 710}),
    ("Video Swin", "swin3d_b", "authors", {"num_class": 174, "kwargs": {"window": [16, 7, 7]}}),
    ("Video Swin", "swin3d_b", "mmaction2", {"num_class": 700, "kwargs": {"embed_dim": 192}}),
]


def _mvit_names(state: State, project: str) -> State:
    """torchvision's names to those of a project."""
    patch = {"pytorchvideo": "patch_model", "pyslowfast": "proj", "mmaction2": "projection"}[project]
    head = {"pytorchvideo": "head.proj", "pyslowfast": "head.projection", "mmaction2": "cls_head.fc_cls"}[project]
    norm = {"pytorchvideo": "norm_embed", "pyslowfast": "norm", "mmaction2": "norm3"}[project]
    tables = "cls_positional_encoding." if project == "pytorchvideo" else ""
    found: State = {}
    for key, value in state.items():
        if key == "pos_encoding.class_token":
            key, value = f"{tables}cls_token", value[None, None]
        elif match := re.fullmatch(r"pos_encoding\.(\w+)_pos", key):
            key, value = f"{tables}pos_embed_{match[1]}", value.reshape(1, -1, value.shape[-1])
        key = re.sub(r"^conv_proj", f"patch_embed.{patch}", key)
        key = re.sub(r"\.pool_(\w)\.pool\.", r".pool_\1.", key)
        key = re.sub(r"\.pool_(\w)\.norm_act\.0\.", r".norm_\1.", key)
        key = re.sub(r"\.project\.0\.|\.project\.", ".proj.", key)
        key = key.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
        key = re.sub(r"^norm\.", f"{norm}.", re.sub(r"^head\.1\.", f"{head}.", key))
        found[f"backbone.{key}" if project == "mmaction2" and not key.startswith("cls_head") else key] = value
    if project == "pytorchvideo":
        for key in [key for key in found if ".qkv." in key]:
            parts = found.pop(key).chunk(3)
            found |= {key.replace("qkv", letter): part for letter, part in zip("qkv", parts, strict=True)}
    patches = "patch_embed.patch_model.weight"
    if patches in found and found[patches].shape[2] == 1:
        found[patches] = found[patches].squeeze(2)
    return found


def _swin_names(state: State, project: str) -> State:
    found: State = {}
    for key, value in state.items():
        if match := re.fullmatch(r"features\.(\d)\.(.+)", key):
            stage, odd = divmod(int(match[1]), 2)
            key = f"layers.{stage}.{'downsample' if odd else 'blocks'}.{match[2]}"
        key = key.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
        key = re.sub(r"^norm\.", "norm3." if project == "mmaction2" else "norm.", key)
        found[re.sub(r"^head\.", "cls_head.fc_cls.", key) if key.startswith("head.") else f"backbone.{key}"] = value
    return found


def _meta(backbone: str, **arguments: Any) -> Clip3D:
    with torch.device("meta"):
        return Clip3D(backbone=backbone, **arguments)


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("layout", "backbone", "project", "arguments"), SIZES)
def test_each_published_size_is_recognised_by_its_shapes(
    layout: str, backbone: str, project: str, arguments: dict[str, Any]
) -> None:
    made = _meta(backbone, **{"num_class": 400, **arguments})
    inner = {key.removeprefix("network."): value for key, value in made.state_dict().items()}
    names = _swin_names if backbone.startswith("swin") else _mvit_names
    weights, description, found = _convert(names(inner, project))
    assert (found, description.backbone) == (layout, backbone)
    assert {key: description.arguments.get(key) for key in arguments} == arguments
    again = _meta(description.backbone, **description.arguments).state_dict()
    assert {key: value.shape for key, value in weights.items()} == {key: value.shape for key, value in again.items()}


def test_statistics_and_crops_are_those_of_the_project() -> None:
    def told(layout: str, **arguments: Any) -> tuple[Any, ...]:
        made = _meta("mvit_v2_s", num_class=4, **arguments)
        inner = {key.removeprefix("network."): value for key, value in made.state_dict().items()}
        _, description, name = _convert(_mvit_names(inner, layout))
        found = sections(name, description)
        pixels, test = found["augmentation"], found["test"]
        return pixels["preset"], pixels.get("mean"), pixels["test_resize"], test["num_clips"], test["num_crops"]

    assert told("pyslowfast") == ("pyslowfast", None, 256, 5, 1)
    assert told("mmaction2") == ("mmaction2_slowfast", [0.45] * 3, 224, 5, 1)
    assert told("mmaction2", kwargs={"spatial_size": 312})[2:] == (312, 5, 3)


CONFIG = """
DATA: {{NUM_FRAMES: 16, SAMPLING_RATE: 8, TRAIN_CROP_SIZE: 224, TEST_CROP_SIZE: 224}}
TEST: {{NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 3}}
MVIT: {{DROPPATH_RATE: 0.4, POOL_KV_STRIDE_ADAPTIVE: [1, {step}, {step}]}}
"""


def test_the_config_in_a_pyth_file_is_followed_and_refused_where_no_network_has_its_argument() -> None:
    inner = {key.removeprefix("network."): v for key, v in _meta("mvit_v2_s", num_class=4).state_dict().items()}
    state = _mvit_names(inner, "pyslowfast")
    _, description, _ = _convert(state, cfg=CONFIG.format(step=8))
    assert description.arguments["frame_stride"] == 8 and description.arguments["kwargs"] == {"drop_path": 0.4}
    assert description.protocol["augmentation"]["test_resize"] == 224 and description.protocol["test"]["num_crops"] == 3
    assert not description.notes and not description.assumed
    with pytest.raises(CheckpointError, match=r"POOL_KV_STRIDE_ADAPTIVE \[1, 4, 4\]; our networks have \[1, 8, 8\]"):
        _convert(state, cfg=CONFIG.format(step=4))


MMACTION2 = """
model = dict(type='Recognizer3D', backbone=dict(type='MViT', arch='small', drop_path_rate=0.1),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[114.75] * 3, std=[57.375] * 3),
    cls_head=dict(type='MViTHead', num_classes=4, dropout_ratio=0.5, average_clips='prob'))
train_pipeline = [dict(type='UniformSample', clip_len=16)]
test_pipeline = [dict(type='UniformSample', clip_len=16, test_mode=True), dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224)]
"""


def test_the_config_in_a_file_of_mmaction2_says_how_frames_are_taken() -> None:
    inner = {key.removeprefix("network."): v for key, v in _meta("mvit_v2_s", num_class=4).state_dict().items()}
    _, description, _ = _convert(_mvit_names(inner, "mmaction2"), meta={"cfg": MMACTION2})
    assert description.arguments["kwargs"] == {"drop_path": 0.1} and description.arguments["dropout"] == 0.5
    assert description.protocol["data"] == {"sampling": "mmaction2_uniform"}
    assert description.protocol["test"]["num_crops"] == 3 and description.protocol["test"]["num_clips"] == 1


@pytest.mark.parametrize(
    ("gone", "note"),
    [("rel_pos_t", "without the position tables of version 1 or 2"), ("mlp.fc2", "without blocks.0.mlp.3.weight")],
)
def test_an_mvit_that_is_not_whole_is_named(gone: str, note: str) -> None:
    inner = {key.removeprefix("network."): v for key, v in _meta("mvit_v2_s", num_class=4).state_dict().items()}
    state = {key: value for key, value in _mvit_names(inner, "pyslowfast").items() if gone not in key}
    _, description, _ = _convert(state)
    assert description.backbone == "" and description.notes == [f"backbone: MViT {note}"]


def test_a_swin_of_another_depth_is_named() -> None:
    inner = {key.removeprefix("network."): v for key, v in _meta("swin3d_t", num_class=4).state_dict().items()}
    state = {key: v for key, v in _swin_names(inner, "authors").items() if "layers.2.blocks.5" not in key}
    assert TABLE in " ".join(state)
    _, description, _ = _convert(state)
    assert description.notes == [
        "backbone: Swin with (2, 2, 5, 2) blocks, 96 channels and tables of 2535 rows, which no network here has"
    ]

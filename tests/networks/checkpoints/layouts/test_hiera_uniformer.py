"""Checkpoints of Hiera, UniFormer and UniFormerV2: published numbers, and all published sizes by names and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.clip3d import Clip3D
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from tests.networks.checkpoints.layouts.official_names import wrapped
from tests.networks.checkpoints.layouts.test_transformers import (
    TOLERANCE,
    State,
    _convert,
    _eps,
    _error,
    _meta,
    _published,
)
from utils.errors import CheckpointError

PUBLISHED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "hiera__tiny_16x128": ("Hiera", "hiera_tiny", {"clip_len": 16, "kwargs": {"spatial_size": 128}}),
    "hiera__base_16x224": ("Hiera", "hiera_base", {"clip_len": 16, "frame_stride": 4}),
    "mmaction2__uniformer_small_16x112": ("mmaction2 UniFormer", "uniformer_s", {"kwargs": {"eps": 1e-5}}),
    "mmaction2__uniformerv2_b16_depth4_lmhra_8x112": (
        "mmaction2 UniFormer",
        "uniformerv2_b",
        {"kwargs": {"depth": 4, "reads": [1, 2, 3], "spatial_size": 112, "local": True}},
    ),
}


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if "224" in name else name for name in PUBLISHED]
)
def test_a_published_file_tells_its_network_and_gives_its_published_scores(name: str, tmp_path: Path) -> None:
    doc, state = _published(name)
    torch.save(wrapped(doc["file"]["state_dict_path"], state), tmp_path / "file.pyth")
    file = load_checkpoint_file(tmp_path / "file.pyth")
    layout, backbone, arguments = PUBLISHED[name]
    assert (file.layout, file.description.backbone) == (layout, backbone)
    assert {key: file.description.arguments[key] for key in arguments} == arguments
    assert _error(tmp_path / "file.pyth", doc) < TOLERANCE
    assert [norm["eps"] for norm in doc["layer_norms"]] == [_eps(file.description)]


@pytest.mark.whole
def test_a_file_of_hugging_face_is_that_of_hieras_authors_without_a_wrapper(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="pip install safetensors")
    _, state = _published("hiera__tiny_16x128")
    torch.save({"model_state": state}, tmp_path / "authors.pth")
    safetensors.save_file(state, tmp_path / "model.safetensors")
    authors, hub = (load_checkpoint_file(tmp_path / name) for name in ("authors.pth", "model.safetensors"))
    assert hub.layout == "Hiera" and hub.description == authors.description
    assert all(torch.equal(value, hub.weights[key]) for key, value in authors.weights.items())


TABLES = re.compile(
    r"(pos_embed_(?:spatial|temporal)|class_embedding|positional_embedding|.*_cls_token|.*balance)\.weight"
)


def _official(made: Clip3D) -> State:
    """A network's entries under the names of its authors, in their shapes."""
    found: State = {}
    for key, value in made.state_dict().items():
        key = key.removeprefix("network.").replace(".in_proj.", ".in_proj_")
        if match := TABLES.fullmatch(key):
            key = match[1]
            flat = key in ("class_embedding", "positional_embedding", "transformer.balance")
            value = value if key == "positional_embedding" else value[0] if flat else value[None]
        found[key] = value
    return found


def _authors(state: Mapping[str, Tensor]) -> State:
    """mmaction2's names of UniFormer and UniFormerV2 to their authors'."""
    found: State = {}
    for key, value in state.items():
        if key.startswith("cls_head.fc_cls."):
            second = "backbone.transformer.norm.weight" in state
            key = key.replace("cls_head.fc_cls", "backbone.transformer.proj.2" if second else "head")
        elif "temporal_cls_token" not in state and key.startswith("backbone.transformer.norm."):
            key = key.replace("norm", "proj.0")
        if not any(name.startswith("backbone.transformer") for name in state):
            key = key.removeprefix("backbone.")
        found[key] = value
    return found


@pytest.mark.whole
@pytest.mark.parametrize("name", [name for name in PUBLISHED if "uniformer" in name])
def test_the_authors_names_are_those_of_the_same_network(name: str) -> None:
    _, state = _published(name)
    theirs, description, layout = _convert(_authors(state))
    ours, same, _ = _convert(state)
    assert layout == "UniFormer" and theirs.keys() == ours.keys()
    eps = same.arguments["kwargs"].pop("eps", None)
    assert (eps is not None) == ("uniformerv2" not in name)  # the authors' networks have 1e-6, which is our default
    assert description.backbone == same.backbone
    assert description.arguments.get("kwargs", {}) == same.arguments["kwargs"]


SIZES: list[tuple[str, str, dict[str, Any]]] = [
    *[("Hiera", f"hiera_{size}", {"clip_len": 16}) for size in ("tiny", "small", "base", "base_plus", "large", "huge")],
    ("Hiera", "hiera_base", {"clip_len": 32, "kwargs": {"spatial_size": 320}}),
    ("Hiera", "hiera_tiny", {"clip_len": 16, "num_class": 51, "kwargs": {"depths": [1, 1, 2, 1]}}),
    ("UniFormer", "uniformer_s", {"num_class": 174}),
    ("UniFormer", "uniformer_b", {"num_class": 600}),
    ("UniFormer", "uniformer_s", {"kwargs": {"widths": [32, 64, 128, 192], "depths": [1, 1, 1, 1]}}),
    ("UniFormer", "uniformerv2_b", {"clip_len": 8, "num_class": 710}),
    ("UniFormer", "uniformerv2_l", {"kwargs": {"spatial_size": 336}}),
    (
        "UniFormer",
        "uniformerv2_b",
        {"clip_len": 16, "kwargs": {"reads": [*range(4, 12)], "local": True, "halve_frames": True}},
    ),
    (
        "UniFormer",
        "uniformerv2_l",
        {"clip_len": 16, "kwargs": {"reads": [*range(8, 24)], "local": True, "halve_frames": True}},
    ),
    ("UniFormer", "uniformerv2_b", {"kwargs": {"local": True, "double_local": False, "reduction": 768 / 384.5}}),
]


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("layout", "backbone", "arguments"), SIZES)
def test_each_size_is_recognised_by_its_shapes(layout: str, backbone: str, arguments: dict[str, Any]) -> None:
    made = _meta(backbone, **{"num_class": 400, **arguments})
    weights, description, found = _convert(_official(made))
    assert (found, description.backbone) == (layout, backbone)
    assert {key: description.arguments.get(key) for key in arguments} == arguments
    again = _meta(description.backbone, **description.arguments).state_dict()
    assert {key: value.shape for key, value in weights.items()} == {key: value.shape for key, value in again.items()}


def test_statistics_and_views_are_those_of_the_project() -> None:
    def told(backbone: str, **kwargs: Any) -> tuple[Any, ...]:
        _, description, layout = _convert(_official(_meta(backbone, num_class=4, kwargs=kwargs)))
        found = sections(layout, description)
        pixels, test = found["augmentation"], found["test"]
        return pixels.get("mean"), pixels["test_resize"], test["sampling"], test["num_clips"], test["num_crops"]

    assert told("hiera_base") == (None, 224, "pyslowfast", 5, 3)  # the preset has 0.45
    assert told("uniformer_s") == ([0.45] * 3, 224, "pyslowfast", 4, 1)
    assert told("uniformerv2_b") == ([0.45] * 3, 224, "mmaction2_uniform", 4, 3)
    assert told("uniformerv2_b", local=True) == ([0.45] * 3, 224, "mmaction2_uniform", 1, 3)


@pytest.mark.whole
def test_the_file_of_a_masked_auto_encoder_starts_a_classifier(tmp_path: Path) -> None:
    made = _official(_meta("hiera_tiny", num_class=4))
    encoder = {key: torch.ones(value.shape) for key, value in made.items()}
    encoder = {key: value for key, value in encoder.items() if not key.startswith(("norm.", "head."))}
    others = ("decoder_embed.weight", "mask_token", "encoder_norm.bias", "multi_scale_fusion_heads.0.weight")
    torch.save({"model_state": encoder | dict.fromkeys(others, torch.zeros(3))}, tmp_path / "mae.pth")
    report = load_into(_meta("hiera_tiny", num_class=4), tmp_path / "mae.pth", new_head=True)
    assert not report.unexpected and not report.missing
    assert len(report.matched) == len(encoder) and "network.norm.weight" not in report.matched
    assert "a masked auto-encoder: its decoder is left out" in report.summary()
    with pytest.raises(CheckpointError, match=r"only the model has network\.norm\.weight .*head\.projection\.weight"):
        load_into(_meta("hiera_tiny", num_class=4), tmp_path / "mae.pth")


CONFIG = """
model = dict(type='Recognizer3D', backbone=dict(type='UniFormerV2', layers=12, return_list=[7, 9, 10, 11],
        backbone_drop_path_rate=0.2, drop_path_rate=0.4, mlp_dropout=[0.5] * 4),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[114.75] * 3, std=[57.375] * 3),
    cls_head=dict(type='UniFormerHead', num_classes=4, dropout_ratio=0.3, average_clips='prob'))
train_pipeline = [dict(type='UniformSample', clip_len=8)]
test_pipeline = [dict(type='UniformSample', clip_len=8, num_clips=4, test_mode=True),
    dict(type='Resize', scale=(-1, 224)), dict(type='ThreeCrop', crop_size=224)]
"""


def test_the_config_in_a_file_of_mmaction2_says_what_weights_do_not_show() -> None:
    made = _official(_meta("uniformerv2_b", num_class=4))
    state = {re.sub(r"^(?!head)", "backbone.", key): value for key, value in made.items()}
    state = {re.sub(r"^head", "cls_head.fc_cls", key): value for key, value in state.items()}
    _, description, layout = _convert(state, meta={"cfg": CONFIG})
    assert layout == "mmaction2 UniFormer" and not description.assumed
    assert description.arguments == {
        "num_class": 4,
        "clip_len": 8,
        "frame_stride": 1,
        "dropout": 0.3,
        "kwargs": {"drop_path": 0.2, "reader_drop_path": 0.4, "reads": [7, 9, 10, 11]},
    }
    assert (
        description.protocol["test"] | {"num_clips": 4, "num_crops": 3, "sampling": "mmaction2_uniform"}
        == (description.protocol["test"])
    )
    wrong = CONFIG.replace("[7, 9, 10, 11]", "[7, 9, 10]")
    with pytest.raises(CheckpointError, match=r"return_list \[7, 9, 10\], but the weights have 4 readers and 12"):
        _convert(state, meta={"cfg": wrong})


def test_a_network_that_is_not_here_is_named() -> None:
    hiera = _official(_meta("hiera_tiny", num_class=4))
    wide = hiera | {"patch_embed.proj.weight": torch.empty(100, 3, 3, 7, 7, device="meta")}
    assert _convert(wide)[1].notes == [
        "backbone: Hiera with [1, 2, 7, 2] blocks and 100 channels, which no network here has"
    ]
    second = _official(_meta("uniformerv2_b", num_class=4))
    del second["transformer.balance"]
    assert "UniFormerV2 with 768 channels and patches of 16, which no network here has" in _convert(second)[1].notes[0]
    half = _official(_meta("uniformer_s", num_class=4))
    del half["patch_embed3.proj.weight"]
    assert _convert(half)[1].notes == ["backbone: UniFormer without patch_embed3.proj.weight"]


def test_a_uniformer_of_something_something_sees_frames_of_all_parts_of_the_video() -> None:
    made = _official(_meta("uniformer_s", num_class=174))
    _, description, layout = _convert(made)
    test = sections(layout, description)["test"]
    assert (test["sampling"], test["num_clips"], test["num_crops"]) == ("pyslowfast_segments", 1, 3)
    assert description.arguments["frame_stride"] == 1
    assert sections("mmaction2 UniFormer", description)["test"]["sampling"] == "mmaction2_uniform"

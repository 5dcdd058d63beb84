"""What the config in a file of mmaction2 says, what its weights overrule, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from methods import METHODS
from methods.base import Method
from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.checkpoints.layouts import LAYOUTS
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.layouts.python_config import read_python_config
from networks.checkpoints.load import load_into
from networks.checkpoints.protocols import sections
from tests.helpers.randomise import randomise
from tests.networks.checkpoints.layouts import official_names as clips
from tests.networks.checkpoints.layouts import official_names_2d as frames
from utils.errors import CheckpointError

TSM = """
frames = 4
model = dict(
    type='Recognizer2D',
    backbone=dict(type='ResNetTSM', depth=34, num_segments=frames, shift_div=4{more}),
    cls_head=dict(type='TSMHead', num_classes=7, dropout_ratio=0.25, average_clips='score'))
crop = dict(type='MultiScaleCrop', input_size=96, num_fixed_crops=13)
train_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=dict(pipeline=[
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=frames),
    crop, dict(type='Resize', scale=(96, 96), keep_ratio=False)])))
test_pipeline = [
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=frames, test_mode=True, twice_sample=True),
    dict(type='Resize', scale=(-1, 112)),
    dict(type='ThreeCrop', crop_size=112)]
"""
SLOWFAST = """
model = dict(type='Recognizer3D', backbone=dict(type='ResNet3dSlowFast', resample_rate=8, speed_ratio=4{more}),
             cls_head=dict(type='SlowFastHead', num_classes=7))
train_pipeline = [dict(type='SampleFrames', clip_len=64, frame_interval=2, num_clips=1), dict(type='RandomResizedCrop')]
test_pipeline = [dict(type='SampleFrames', clip_len=64, frame_interval=2, num_clips=5, test_mode=True)]
"""


def _frames(config: Any, **arguments: Any) -> tuple[dict[str, torch.Tensor], Description]:
    """Translates a TSM's weights as mmaction2 writes them, on the meta device, together with this config."""
    with torch.device("meta"):
        made = METHODS["tsm"](backbone="resnet34", num_class=7, **arguments)
    state = frames.mmaction2(made.state_dict(), arguments, shifted=True)
    return _converted(state, config)


def _clips(method: str, config: Any, **arguments: Any) -> Description:
    with torch.device("meta"):
        made = METHODS[method](num_class=7, **arguments)
    inner = {key.removeprefix("network."): value for key, value in made.state_dict().items()}
    return _converted(clips.mmaction2(inner), config)[1]


def _converted(state: dict[str, torch.Tensor], config: Any) -> tuple[dict[str, torch.Tensor], Description]:
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    return layout.convert(state, {"meta": {"cfg": config}})


def _scored(method: Method, file: RawCheckpoint, clip: torch.Tensor) -> torch.Tensor:
    load_into(method, file)
    with torch.no_grad():
        return method.eval()(clip)


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("mode", ["dot_product", "gaussian", "embedded_gaussian"])
@pytest.mark.parametrize("use_scale", [True, False])
def test_the_kind_of_a_non_local_block_and_its_scale_come_from_the_config(
    mode: str, use_scale: bool, tmp_path: Path
) -> None:
    made = METHODS["tsm"](backbone="resnet34", num_class=7, num_segments=4, shift_div=4, non_local=mode)
    randomise(made)
    for block in (module for module in made.modules() if hasattr(module, "pool_after")):
        block.scale = use_scale  # theirs has the choice
        if mode != "gaussian":  # or the affinities are all but equal
            torch.nn.init.normal_(block.theta.weight, std=0.5)
            torch.nn.init.normal_(block.phi.weight, std=0.5)
    state = frames.mmaction2(made.state_dict(), {}, shifted=True)
    cfg = TSM.format(more=f", non_local_cfg=dict(mode='{mode}', use_scale={use_scale}, sub_sample=True)")
    torch.save({"state_dict": state, "meta": {"cfg": cfg}}, tmp_path / "epoch_50.pth")
    file = load_checkpoint_file(tmp_path / "epoch_50.pth")
    assert file.description.arguments["non_local"] == mode
    clip = torch.randn(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = _scored(METHODS["tsm"](backbone=file.description.backbone, **file.description.arguments), file, clip)
    with torch.no_grad():
        torch.testing.assert_close(scores, made.eval()(clip), rtol=1e-5, atol=1e-5)


def test_segments_shift_head_and_protocol_of_a_tsm_are_those_of_its_config() -> None:
    description = _frames(TSM.format(more=""))[1]
    expected = {"num_segments": 4, "shift_div": 4, "dropout": 0.25, "num_class": 7, "shift_place": "blockres"}
    assert description.arguments == expected and not description.assumed
    assert description.notes == ["from the config in the file: num_segments 4, shift_div 4, dropout 0.25"]
    assert sections("mmaction2 (frames)", description) == {
        "augmentation": {"preset": "mmaction2_tsm", "input_size": 96, "test_resize": 112, "flip": 0.0},
        "data": {"sampling": "mmaction2_segments"},
        "test": {"num_clips": 2, "num_crops": 3, "sampling": "twice", "input_size": 112, "average": "logits"},
    }


def test_crops_that_are_not_square_have_their_height_first() -> None:
    config = TSM.format(more="").replace("(96, 96)", "(256, 144)").replace("(-1, 112)", "(292, 164), keep_ratio=False")
    description = _frames(config.replace("crop_size=112", "crop_size=(256, 144)"))[1]
    pixels, test = description.protocol["augmentation"], description.protocol["test"]
    assert (pixels["input_size"], pixels["test_resize"], test["input_size"]) == ([144, 256], [164, 292], [144, 256])
    assert test["num_crops"] == 3
    file = RawCheckpoint(Path("f.pth"), {}, {}, "mmaction2 (frames)", {}, description)
    assert file.protocol["size"] == [144, 256]


def test_slowfasts_fast_pathway_sees_one_of_so_many_sampled_frames() -> None:
    description = _clips("slowfast", SLOWFAST.format(more=""), lateral_norm=False)
    assert {key: description.arguments[key] for key in ("alpha", "clip_len", "frame_stride")} == {
        "alpha": 4,
        "clip_len": 32,
        "frame_stride": 4,
    }
    assert not description.assumed and description.protocol["test"]["num_clips"] == 5


@pytest.mark.alike
@pytest.mark.parametrize("mode", ["gaussian", "dot_product", "embedded_gaussian"])
@pytest.mark.parametrize("sub_sample", [True, False])
def test_non_local_blocks_of_slowonly_are_recognised_in_each_kind(mode: str, sub_sample: bool) -> None:
    ours = {"embedded_gaussian": "softmax"}.get(mode, mode)
    blocks = [[], [0, 2], [0, 2, 4], []]
    with torch.device("meta"):
        made = METHODS["clip3d"](backbone="slow_r50", num_class=7, kwargs={"non_local": blocks, "instantiation": ours})
    state = clips.mmaction2({key.removeprefix("network."): value for key, value in made.state_dict().items()})
    if not sub_sample:
        state = {key.replace("g.0.conv", "g.conv").replace("phi.0.conv", "phi.conv"): v for key, v in state.items()}
    config = f"model = dict(backbone=dict(type='ResNet3dSlowOnly', depth=50, non_local_cfg=dict(mode='{mode}')))"
    description = _converted(state, config)[1]
    kwargs = description.arguments["kwargs"]
    assert (description.backbone, kwargs["non_local"], kwargs["instantiation"]) == ("slow_r50", blocks, ours)
    assert kwargs.get("non_local_pool") == (None if sub_sample else [1, 1, 1])


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        (
            (", shift_place='block'", ""),
            "shift_place: the config in the file says block, but the",
        ),
        ((", temporal_pool=True", ""), "temporal_pool: the config in the file says True, but the weights have False"),
        (("depth=34", "depth=101"), "depth: the config in the file says 101, but the weights have 34"),
        (("num_classes=7", "num_classes=400"), "num_classes: the config in the file says 400, but the weights have 7"),
        (("'ResNetTSM'", "'ResNet'"), "method: the config in the file says tsn, but the weights have tsm"),
    ],
)
def test_where_config_and_weights_differ_the_weights_are_followed_and_a_note_says_so(
    changed: tuple[str, str], note: str
) -> None:
    text = TSM.format(more=changed[0]) if changed[0].startswith(",") else TSM.format(more="").replace(*changed)
    description = _frames(text)[1]
    assert any(line.startswith(note) for line in description.notes), description.notes
    assert (description.method, description.backbone, description.arguments["shift_place"]) == (
        "tsm",
        "resnet34",
        "blockres",
    )
    assert description.arguments["num_class"] == 7 and "temporal_pool" not in description.arguments


def test_a_gaussian_config_over_weights_that_embed_is_noted_and_not_followed() -> None:
    description = _frames(TSM.format(more=", non_local_cfg=dict(mode='gaussian')"), non_local=True)[1]
    assert description.arguments["non_local"] == "embedded_gaussian"
    assert any(note.startswith("non_local: the config in the file says gaussian") for note in description.notes)


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ("model = dict(", "cannot be read (not Python: "),
        ("x = 1", "no model.backbone.type in it"),
        ("model = dict(backbone=dict(type='MyTSM'))", "backbone MyTSM is unknown here, so the config is not used"),
    ],
)
def test_a_config_that_cannot_be_followed_is_named_and_leaves_what_the_weights_tell(config: str, note: str) -> None:
    description, without = _frames(config)[1], _frames(None)[1]
    added = [line for line in description.notes if line not in without.notes]
    assert len(added) == 1 and added[0].startswith(f"config in the file: {note}")
    assert (description.arguments, description.assumed) == (without.arguments, without.assumed)
    assert set(without.notes) <= set(description.notes)


def test_a_sampler_that_is_not_ours_leaves_the_clip_assumed() -> None:
    description = _clips(
        "slowfast", SLOWFAST.format(more="").replace("num_clips=1", "target_fps=15"), lateral_norm=False
    )
    assert description.assumed == ("clip_len", "frame_stride") and description.arguments["alpha"] == 4
    assert any(note.startswith("clip_len, frame_stride: the config in the file samples") for note in description.notes)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", dilations=(1, 1, 1, 2)", r"dilations \[1, 1, 1, 2\]; our networks have \[1, 1, 1, 1\]"),
        (", slow_pathway=dict(conv1_stride_t=2)", "conv1_stride_t 2; our networks have 1"),
        (", norm_cfg=dict(type='BN3d', eps=1e-3)", "eps 0.001 for the norms; our networks have 1e-05"),
    ],
)
def test_what_the_weights_do_not_show_and_no_network_of_ours_has_is_refused(more: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        _clips("slowfast", SLOWFAST.format(more=more), lateral_norm=False)


def test_frames_of_one_window_in_a_2d_recogniser_are_c2d_without_temporal_pooling() -> None:
    made = METHODS["tsn"](backbone="resnet50", num_class=7).eval()
    state = frames.mmaction2(made.state_dict(), {}, shifted=False)
    config = """
model = dict(type='Recognizer2D', backbone=dict(type='ResNet', depth=50), cls_head=dict(type='TSNHead'))
train_pipeline = [dict(type='SampleFrames', clip_len=8, frame_interval=4, num_clips=1)]
"""
    weights, description = _converted(state, config)
    assert (description.method, description.backbone) == ("clip3d", "c2d_nopool_r50")
    assert (description.arguments["clip_len"], description.arguments["frame_stride"]) == (8, 4)
    built = METHODS["clip3d"](backbone=description.backbone, **description.arguments).eval()
    built.load_state_dict(weights)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(built(clip), made(clip), rtol=1e-4, atol=1e-5)


def test_class_names_are_those_of_the_file_where_they_fit_its_classifier() -> None:
    state = {"backbone.conv1.weight": torch.zeros(8, 3, 3, 3), "cls_head.fc_cls.weight": torch.zeros(2, 8)}
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    for names, found in ((("run", "walk"), ["run", "walk"]), (("run",), None)):
        description = layout.convert(state, {"meta": {"dataset_meta": {"classes": names}}})[1]
        assert RawCheckpoint(Path("x.pth"), state, {}, layout.name, {}, description).class_names == found


# --- the text


def test_files_of_mmcv_one_after_the_other_inherit() -> None:
    text = """configs/_base_/models/tsm.py
model = dict(backbone=dict(type='ResNetTSM', depth=50), cls_head=dict(num_classes=400))
/home/someone/tsm.py
_base_ = ['../_base_/models/tsm.py']
classes = 7
model = dict(backbone=dict(depth=34), cls_head=dict(_delete_=True, num_classes=classes))
"""
    config, unread = read_python_config(text)
    assert config["model"]["backbone"] == {"type": "ResNetTSM", "depth": 34} and not unread
    assert config["model"]["cls_head"]["num_classes"] == 7 and config["classes"] == 7


def test_names_arithmetic_and_unpacking_are_computed_and_what_would_have_to_run_is_left_out(tmp_path: Path) -> None:
    text = f"""
import os
os.mkdir({str(tmp_path / "ran")!r})
size = 2 * 112
shared = dict(io_backend='disk')
model = dict(made=os.mkdir({str(tmp_path / "ran")!r}), size=size, **shared)
mean = [128, -1] * 2
labels = dict({{1: 2}})
steps = [shared, os.listdir('.')]
first = steps[0]['io_backend']
huge = [0] * 10**9
"""
    config, unread = read_python_config(text)
    assert config["model"] == {"size": 224, "io_backend": "disk"} and config["mean"] == [128, -1, 128, -1]
    assert config["labels"] == {1: 2} and config["first"] == "disk"
    assert config["steps"] == [{"io_backend": "disk"}, None] and "huge" not in config
    assert not (tmp_path / "ran").exists()
    assert unread[0] == "import os" and unread[-1] == "huge = [0] * 10 ** 9" and len(unread) == 5


@pytest.mark.parametrize("text", ["x = (", "\0", "-" * 100_000 + "1", "x = " + "[" * 500 + "]" * 500, "1" * 10**6])
def test_a_text_that_is_no_config_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_python_config(text)


TOO_MUCH = [
    ("a = 0x" + "f" * 300_000 + "\n" + "b = a * a\n" * 2000, "Exceeds the limit"),  # is written without end, too
    ("a = " + "9" * 3000 + "\n" + "a = a * a\n" * 30, None),
    ("a = [1, 2]\n" + "a = [a, a]\n" * 60, "more than 500000 entries"),
    ("a = dict(x=1)\n" + "a = dict(p=a, q=a)\n" * 60, "more than 500000 entries"),
    ("a = 'x' * 400000\n" + "".join(f"b{n} = a + 'y'\n" for n in range(9)), "more than 500000 entries"),
    ("a = [" + ", ".join(["[1] * 400000"] * 9) + "]\n", "more than 500000 entries"),
]


@pytest.mark.parametrize(("text", "words"), TOO_MUCH)
def test_a_short_text_makes_no_large_values(text: str, words: str | None) -> None:
    if words is None:
        config, unread = read_python_config(text)
        assert not config and unread[1] == "a = a * a"  # and the number itself
        return
    with pytest.raises(ValueError, match=words):
        read_python_config(text)

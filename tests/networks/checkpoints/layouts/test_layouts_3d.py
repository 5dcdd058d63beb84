"""Checkpoints of networks over clips: published numbers, and every further model of each family by its names alone."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.video import S3D_Weights

from methods import METHODS
from methods.base import Method
from networks import CLIP_NETWORKS
from networks.checkpoints.layouts import LAYOUTS, torchvision_video
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from tests.golden import fill
from tests.helpers.requirements import ROOT
from tests.networks.checkpoints.layouts import official_names as official
from utils.errors import CheckpointError

GOLDEN = ROOT / "tests" / "golden" / "models"
TOLERANCE = 1e-4  # of the scores' spread; rounding is below 1e-5, a wrong eps in one norm above 3e-4
PUBLISHED = [
    "pyslowfast__slow_8x8_r50",
    "pyslowfast__slowfast_4x16_r50",
    "pytorchvideo__slow_r50",
    "torchvision__r3d_18",
    "torchvision__r2plus1d_18",
    "vmz__ir_csn_152",
]


def _published(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    doc = json.loads((GOLDEN / f"{name}.json").read_text())
    entries = fill.fill_state([(key, shape) for key, shape, _ in doc["state_entries"]], **doc["fill"])
    return doc, {key: torch.from_numpy(np.asarray(value)) for key, value in entries.items()}


def _method(description: Description) -> Method:
    return METHODS[description.method](backbone=description.backbone, **description.arguments)


def _scores(method: Method, shape: list[int]) -> np.ndarray:
    method.eval()
    with torch.no_grad():
        return method(torch.from_numpy(fill.make_input(shape))).numpy()


def _load(path: Path) -> Method:
    file = load_checkpoint_file(path)
    method = _method(file.description)
    report = load_into(method, path)
    assert not report.missing and not report.unexpected
    return method


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_tells_its_network_and_gives_its_published_scores(name: str, tmp_path: Path) -> None:
    doc, state = _published(name)
    path = tmp_path / "file.pyth"
    torch.save(official.wrapped(doc["file"]["state_dict_path"], state), path)
    scores = _scores(_load(path), doc["input"]["shape_NCTHW"])
    assert np.abs(scores - np.array(doc["logits"])).max() / doc["logits_std"] < TOLERANCE


@pytest.mark.long
@pytest.mark.whole
def test_a_caffe2_pickle_gives_the_published_scores_and_softmax_is_averaged_over_positions(tmp_path: Path) -> None:
    doc, state = _published("pyslowfast__slowfast_4x16_r50")
    blobs = {blob: state[key].numpy() for key, blob in doc["caffe2_blob_names"]}
    path = tmp_path / "SLOWFAST_4x16_R50.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    description = load_checkpoint_file(path).description
    description.arguments["kwargs"] = {"crop_size": 128}  # the fixture's head was built for this crop
    method = _method(description)
    load_into(method, path)
    scores = _scores(method, doc["input"]["shape_NCTHW"])
    assert np.abs(scores - np.array(doc["logits"])).max() / doc["logits_std"] < TOLERANCE
    wider = doc["extra_outputs"]["fully_convolutional"]
    logits = torch.from_numpy(_scores(method, wider["input_shape"]))
    np.testing.assert_allclose(logits.softmax(-1).numpy(), wider["values"], atol=1e-5 * np.max(wider["values"]))


# --- every other model of the families: built, written under the project's names, recognised, loaded

NLN = [[], [1, 3], [1, 3, 5], []]
SF = "slowfast"
MODELS: list[tuple[str, official.Renamer, str, str, dict[str, Any]]] = [
    ("PySlowFast", official.pyslowfast, "clip3d", "slow_r101", {}),
    ("PySlowFast", official.pyslowfast, "clip3d", "slow_nln_r50", {}),
    ("PySlowFast", official.pyslowfast, "clip3d", "i3d_r50", {}),
    ("PySlowFast", official.pyslowfast, "clip3d", "i3d_r101", {}),
    ("PySlowFast", official.pyslowfast, "clip3d", "i3d_nln_r50", {}),
    ("PySlowFast", official.pyslowfast, "clip3d", "c2d_r50", {}),
    ("PySlowFast", official.pyslowfast, "clip3d", "c2d_nln_r50", {}),
    ("PySlowFast", official.pyslowfast, "clip3d", "i3d_r101", {"kwargs": {"non_local": NLN}}),
    ("PySlowFast", official.pyslowfast, SF, "resnet50", {"alpha": 4, "fusion_kernel": 7}),
    ("PySlowFast", official.pyslowfast, SF, "resnet101", {"alpha": 4}),
    ("PySlowFast", official.pyslowfast, SF, "resnet101_50_50", {"alpha": 4}),
    ("PySlowFast", official.pyslowfast, SF, "resnet101_50_101", {"alpha": 4}),
    ("PySlowFast", official.pyslowfast, SF, "resnet50", {"kwargs": {"non_local": NLN}}),
    ("PySlowFast", official.pyslowfast, SF, "resnet50", {"beta": 4, "kwargs": {"fusion_ratio": 1}}),
    ("PySlowFast", official.caffe2, "clip3d", "c2d_nopool_r50", {}),
    ("PySlowFast", official.caffe2, "clip3d", "i3d_r50", {}),
    ("PySlowFast", official.caffe2, "clip3d", "i3d_nln_r50", {}),
    ("PySlowFast", official.caffe2, "clip3d", "slow_r50", {}),
    ("PySlowFast", official.caffe2, SF, "resnet50", {"alpha": 4, "fusion_kernel": 7}),
    (
        "PySlowFast",
        official.caffe2,
        SF,
        "resnet101_50_50",
        {"alpha": 4, "kwargs": {"non_local": [[], [], [6, 13], []]}},
    ),
    ("PyTorchVideo", official.pytorchvideo, "clip3d", "create_resnet_r50", {}),
    ("PyTorchVideo", official.pytorchvideo, "clip3d", "csn_r101", {}),
    ("PyTorchVideo", official.pytorchvideo, "clip3d", "r2plus1d_r50", {}),
    ("PyTorchVideo", official.pytorchvideo, "clip3d", "c2d_nopool_r50", {}),
    ("PyTorchVideo", lambda state: official.pytorchvideo(state, pooled=True), "clip3d", "c2d_r50", {}),
    ("PyTorchVideo", lambda state: official.pytorchvideo(state, pooled=True), "clip3d", "i3d_r50", {}),
    ("PyTorchVideo", official.pytorchvideo, SF, "resnet50", {"alpha": 4, "fusion_kernel": 7}),
    ("PyTorchVideo", official.pytorchvideo, SF, "resnet101", {"alpha": 4}),
    ("PyTorchVideo", official.pytorchvideo, SF, "resnet101_50_50", {"alpha": 4}),
    ("mmaction2 (clips)", official.mmaction2, "clip3d", "slow_r50", {}),
    ("mmaction2 (clips)", official.mmaction2, "clip3d", "slow_r101", {}),
    ("mmaction2 (clips)", official.mmaction2, SF, "resnet50", {"lateral_norm": False}),
    ("mmaction2 (clips)", official.mmaction2, SF, "resnet50", {"lateral_norm": False, "alpha": 4, "fusion_kernel": 7}),
    ("mmaction2 (clips)", official.mmaction2, SF, "resnet101", {"lateral_norm": False, "kwargs": {"fast_depth": 50}}),
    ("mmaction2 (clips)", official.mmaction2_video_resnet, "clip3d", "r2plus1d_34_mm", {}),
    ("mmaction2 (clips)", official.mmaction2_video_resnet, "clip3d", "ir_csn_152", {}),
    ("mmaction2 (clips)", official.mmaction2_video_resnet, "clip3d", "ip_csn_152", {}),
    ("mmaction2 (clips)", official.mmaction2_video_resnet, "clip3d", "ir_csn_50", {}),
    *[
        ("VMZ", dict, "clip3d", name, {})
        for name in ("r2plus1d_34", "r2plus1d_152", "ip_csn_152", "mc2_18", "mc4_18", "mc5_18", "rmc2_18", "rmc5_18")
    ],
    *[
        ("torchvision video", dict, "clip3d", name, {})
        for name in ("mc3_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
    ],
    ("3D-ResNets-PyTorch", dict, "clip3d", "resnet50_3d", {}),
    ("3D-ResNets-PyTorch", dict, "clip3d", "resnet18_3d", {"kwargs": {"shortcut_type": "A"}}),
]


def _meta(method: str, backbone: str, **arguments: Any) -> Method:
    with torch.device("meta"):
        return METHODS[method](backbone=backbone, **arguments)


def _named(index: int) -> str:
    project, _, method, backbone, _ = MODELS[index]
    return f"{project}-{method}-{backbone}-{index}"


@pytest.mark.alike
@pytest.mark.parametrize("index", range(len(MODELS)), ids=_named)
def test_each_model_of_a_family_is_recognised_and_loads_whole(index: int) -> None:
    project, rename, name, backbone, arguments = MODELS[index]
    made = _meta(name, backbone, num_class=33, **arguments)
    inner = {key.removeprefix("network."): value for key, value in made.state_dict().items()}
    state = rename(inner)
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    assert layout.name == project
    ours, description = layout.convert(state, {})
    assert (description.method, description.backbone) == (name, backbone), description
    built = _meta(description.method, description.backbone, **description.arguments)
    wanted = {key: value.shape for key, value in built.state_dict().items()}
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    found = {key: value.shape for key, value in ours.items()}
    assert {**{key: torch.Size() for key in counters}, **found} == wanted
    for key, value in arguments.items():
        if key != "kwargs":
            assert description.arguments[key] == value


def test_a_file_of_torchvisions_s3d_has_the_64_frames_of_its_training_and_is_tested_on_128() -> None:
    state = {key.removeprefix("network."): v for key, v in _meta("clip3d", "s3d", num_class=400).state_dict().items()}
    description = torchvision_video.LAYOUT.convert(state, {})[1]
    assert (description.arguments["clip_len"], description.arguments["frame_stride"]) == (64, 2)
    assert sections("torchvision video", description)["test"]["num_frames"] == 128
    assert "clip_len=128" in S3D_Weights.KINETICS400_V1.meta["_docs"]


def test_a_config_inside_a_pyth_file_replaces_what_was_assumed() -> None:
    made = _meta(SF, "resnet50", num_class=174, clip_len=64, alpha=4, kwargs={"non_local": NLN})
    state = official.pyslowfast({key.removeprefix("network."): v for key, v in made.state_dict().items()})
    config = """
    DATA: {NUM_FRAMES: 64, SAMPLING_RATE: 2, TRAIN_CROP_SIZE: 224, TEST_CROP_SIZE: 224, MEAN: [0.5, 0.5, 0.5]}
    TEST: {NUM_ENSEMBLE_VIEWS: 1}
    SLOWFAST: {ALPHA: 4}
    NONLOCAL: {INSTANTIATION: softmax}
    MODEL: {ARCH: slowfast}
    """
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    description = layout.convert(state, {"cfg": config})[1]
    assert description.arguments["clip_len"] == 64 and description.arguments["alpha"] == 4
    assert description.arguments["kwargs"]["instantiation"] == "softmax"
    assert not description.notes and not description.assumed
    assert description.protocol == {
        "test": {"num_clips": 1, "input_size": 224},
        "augmentation": {"input_size": 224, "mean": [0.5, 0.5, 0.5]},
    }
    assert "alpha" in " ".join(layout.convert(state, {"cfg": "no: [yaml"})[1].notes)


def test_classifier_columns_of_mmaction2_change_places() -> None:
    made = METHODS[SF](num_class=3, lateral_norm=False)
    inner = {key.removeprefix("network."): value for key, value in made.state_dict().items()}
    state = official.mmaction2(inner)
    fast = torch.nn.functional.one_hot(torch.tensor(0), 2304).float().expand(3, -1)
    state["cls_head.fc_cls.weight"] = fast.clone()
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    weight = layout.convert(state, {})[0]["network.fc.weight"]
    assert weight[0].nonzero().flatten().tolist() == [2048]


REFUSED: list[tuple[str, Callable[[dict[str, Tensor]], None], str]] = [
    ("truncated", lambda state: [state.pop(key) for key in list(state)[-40:]] and None, "only the model has"),
    ("of_another_depth", lambda state: None, "does not fit clip3d_slow_r101"),
    ("with_foreign_keys", lambda state: state.update({"s9.extra.weight": torch.zeros(1)}), "s9.extra.weight"),
]


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("what", "damage", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_file_that_does_not_fit_is_refused_whole(
    what: str, damage: Callable[[dict[str, Tensor]], None], message: str, tmp_path: Path
) -> None:
    made = METHODS["clip3d"](backbone="slow_r50", num_class=5)
    state = official.pyslowfast({key.removeprefix("network."): v for key, v in made.state_dict().items()})
    damage(state)
    torch.save({"model_state": state}, tmp_path / "file.pyth")
    target = METHODS["clip3d"](backbone="slow_r101" if what == "of_another_depth" else "slow_r50", num_class=5)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_into(target, tmp_path / "file.pyth")
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def _filled(shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under mmaction2's names, each from its name."""
    norms = {key.removesuffix("running_mean") for key in shapes if key.endswith("running_mean")}
    scales = {"theta": 0.1, "phi": 0.1, "non_local_block.g": 0.1}
    filled = {}
    for key, value in shapes.items():
        is_norm = key.rpartition(".")[0] + "." in norms
        array = fill.fill_tensor(key, tuple(value.shape), is_norm, norm_scale=0.5, key_scales=scales)
        filled[key] = torch.from_numpy(np.asarray(array)).to(value.dtype)
    return filled


I3D = """
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3d', depth=50, conv1_kernel=(5, 7, 7), conv1_stride_t=2, pool1_stride_t=2, zero_init_residual=False,
        inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)){more}),
    cls_head=dict(type='I3DHead', num_classes=4))
train_pipeline = [dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1)]
"""
ATTENDING = """,
        non_local=((0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 0, 0)),
        non_local_cfg=dict(use_scale=False, mode='{}')"""
C2D = """
model = dict(type='Recognizer3D', backbone=dict(type='C2D', depth=50), cls_head=dict(type='I3DHead', num_classes=4))
train_pipeline = [dict(type='SampleFrames', clip_len=8, frame_interval=8, num_clips=1)]
"""
# of mmaction2 1.2.0, float32 on a CPU: ResNet3d and C2D in evaluation, averaged, through a linear classifier
THEIR_LOGITS = {
    "i3d": (
        I3D.format(more=""),
        16,
        [0.3576079308986664, 0.17334119975566864, -0.22303684055805206, 0.4078904986381531],
    ),
    "i3d, embedded gaussian": (
        I3D.format(more=ATTENDING.format("embedded_gaussian")),
        16,
        [0.4838125705718994, 0.07265639305114746, -0.28949207067489624, 0.555616021156311],
    ),
    "i3d, dot product": (
        I3D.format(more=ATTENDING.format("dot_product")),
        16,
        [0.4448747932910919, 0.07337306439876556, -0.2196211963891983, 0.46994325518608093],
    ),
    "c2d": (C2D, 8, [0.35755181312561035, 0.19689147174358368, -0.21526455879211426, 0.4607473313808441]),
}


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("config", "frames", "logits"), THEIR_LOGITS.values(), ids=THEIR_LOGITS)
def test_i3d_and_c2d_of_mmaction2_have_its_logits(config: str, frames: int, logits: list[float]) -> None:
    name = "c2d_r50" if config == C2D else "i3d_nln_r50" if "non_local" in config else "i3d_r50"
    ours = {key.removeprefix("network."): v for key, v in _meta("clip3d", name, num_class=4).state_dict().items()}
    theirs = official.mmaction2(ours)
    if config == C2D:  # its convolutions see pictures
        theirs = {key: value.squeeze(2) if value.ndim == 5 else value for key, value in theirs.items()}
    state = _filled(theirs)
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    weights, description = layout.convert(state, {"meta": {"cfg": config}})
    built = METHODS["clip3d"](backbone=description.backbone, **description.arguments).eval()
    built.load_state_dict(weights)
    assert description.arguments["clip_len"] == (8 if config == C2D else 32)
    with torch.no_grad():
        scores = built(torch.from_numpy(fill.make_input((1, 3, frames, 64, 64))).float())
    torch.testing.assert_close(scores[0], torch.tensor(logits), rtol=2e-5, atol=2e-6)


def test_i3d_of_mmaction2_without_a_config_is_the_published_one_and_says_so() -> None:
    made = _meta("clip3d", "i3d_r50", num_class=4)
    state = official.mmaction2({key.removeprefix("network."): v for key, v in made.state_dict().items()})
    layout = next(layout for layout in LAYOUTS if layout.recognises(state))
    assumed = "clip_len, frame_stride, strides in time of the stem: not in the file; 32, 2 and 2 are assumed"
    unknown = I3D.format(more="").replace("'ResNet3d'", "'MyResNet3d'")
    for others, notes in (({}, 0), ({"meta": {"cfg": unknown}}, 1)):
        _, description = layout.convert(state, others)
        assert description.arguments["kwargs"] == {"crop_size": None, "stem_stride_t": 2, "stem_pool_stride_t": 2}
        assert (description.arguments["clip_len"], description.arguments["frame_stride"]) == (32, 2)
        assert description.notes[-1] == assumed and len(description.notes) == notes + 1, (
            "what is told of the config stays"
        )


def test_a_slow_network_of_mmaction2_with_a_pyramid_finds_a_place_for_every_entry() -> None:
    with torch.device("meta"):
        made = METHODS["clip3d"](backbone="slow_r50", num_class=400, neck="tpn")
    wanted = {key: value.shape for key, value in made.state_dict().items()}
    plain = {
        key.removeprefix("network."): value for key, value in made.state_dict().items() if "network.neck." not in key
    }
    doc = json.loads((GOLDEN / "mmaction2__tpn_tsm_r50_1x1x8_sthv1.json").read_text())
    neck = {key: torch.empty(shape, device="meta") for key, shape, _ in doc["state_entries"] if key.startswith("neck.")}
    layout = next(one for one in LAYOUTS if one.name == "mmaction2 (clips)")
    weights, description = layout.convert({**official.mmaction2(plain), **neck}, {})
    assert (description.method, description.backbone) == ("clip3d", "slow_r50")
    assert description.arguments["neck"] == "tpn"
    assert {key: value.shape for key, value in weights.items()} == wanted


@pytest.mark.parametrize(("name", "clip"), [("mvit_v2_s", (16, 4)), ("swin3d_t", (32, 2)), ("r3d_18", (16, 2))])
def test_the_clip_of_torchvisions_published_weights_is_assumed(name: str, clip: tuple[int, int]) -> None:
    with torch.device("meta"):
        state = CLIP_NETWORKS[name]().state_dict()
    description = torchvision_video.LAYOUT.convert(state, {})[1]
    assert tuple(description.arguments[key] for key in ("clip_len", "frame_stride")) == clip
    assert {"clip_len", "frame_stride"} <= {*description.assumed}

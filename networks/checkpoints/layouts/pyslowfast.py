"""Translates PySlowFast: .pyth files and Caffe2 files of SlowFast, Slow, I3D, C2D, their non-local variants and X3D.

A .pyth file holds its config as a YAML text, which says what the weights do not show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_resnet3d, with_prefix
from networks.checkpoints.layouts.identify_slowfast import describe_slowfast
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.checkpoints.layouts.x3d import convert_x3d, is_x3d, read_name
from utils.config.safe_yaml import read_yaml

STATISTICS = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}


def _rules(pathway: int, prefix: str) -> list[Rule]:
    """Makes rules for one pathway. Stage s2 of PySlowFast is layer1 here."""
    rules = [
        (rf"s1\.pathway{pathway}_stem\.conv\.(.+)", rf"{prefix}conv1.\1"),
        (rf"s1\.pathway{pathway}_stem\.bn\.(.+)", rf"{prefix}bn1.\1"),
    ]
    for stage in range(2, 6):
        block, ours = rf"s{stage}\.pathway{pathway}_res(\d+)", rf"{prefix}layer{stage - 1}.\1"
        rules += [
            (rf"{block}\.branch1\.(.+)", rf"{ours}.downsample.0.\2"),
            (rf"{block}\.branch1_bn\.(.+)", rf"{ours}.downsample.1.\2"),
        ]
        for number, letter in enumerate("abc", start=1):
            rules += [
                (rf"{block}\.branch2\.{letter}\.(.+)", rf"{ours}.conv{number}.\2"),
                (rf"{block}\.branch2\.{letter}_bn\.(.+)", rf"{ours}.bn{number}.\2"),
            ]
        attend = rf"s{stage}\.pathway{pathway}_nonlocal(\d+)"
        rules += [
            (rf"{attend}\.conv_(theta|phi|g|out)\.(.+)", rf"{ours}.non_local.\2.\3"),
            (rf"{attend}\.(?:bn|norm)\.(.+)", rf"{ours}.non_local.bn.\2"),
        ]
    return rules


SHARED: list[Rule] = [
    *[(rf"s{stage}_fuse\.conv_f2s\.(.+)", rf"lateral.{stage - 1}.conv.\1") for stage in range(1, 5)],
    *[(rf"s{stage}_fuse\.bn\.(.+)", rf"lateral.{stage - 1}.bn.\1") for stage in range(1, 5)],
    (r"head\.projection\.(.+)", r"fc.\1"),
]

_NORM = r"_bn_(s|b|rm|riv)"
# Caffe2 blob -> PySlowFast key: "t_" is the fast pathway, "w" the weight, and a norm's four blobs are in STATISTICS
BLOBS: list[tuple[str, str]] = [
    (r"(t_)?conv1_(w)", "s1.{path}_stem.conv.{2}"),
    (rf"(t_)?res_conv1{_NORM}", "s1.{path}_stem.bn.{2}"),
    (r"(t_)?res(\d)_(\d+)_branch1_(w)", "s{2}.{path}_res{3}.branch1.{4}"),
    (rf"(t_)?res(\d)_(\d+)_branch1{_NORM}", "s{2}.{path}_res{3}.branch1_bn.{4}"),
    (r"(t_)?res(\d)_(\d+)_branch2([abc])_(w)", "s{2}.{path}_res{3}.branch2.{4}.{5}"),
    (rf"(t_)?res(\d)_(\d+)_branch2([abc]){_NORM}", "s{2}.{path}_res{3}.branch2.{4}_bn.{5}"),
    (r"(t_)pool1_subsample_(w)", "s1_fuse.conv_f2s.{2}"),
    (rf"(t_)pool1_subsample{_NORM}", "s1_fuse.bn.{2}"),
    (r"(t_)res(\d)_\d+_branch2c_bn_subsample_(w)", "s{2}_fuse.conv_f2s.{3}"),
    (rf"(t_)res(\d)_\d+_branch2c_bn_subsample{_NORM}", "s{2}_fuse.bn.{3}"),
    (r"(t_)?nonlocal_conv(\d)_(\d+)_(theta|phi|g|out)_([wb])", "s{2}.{path}_nonlocal{3}.conv_{4}.{5}"),
    (rf"(t_)?nonlocal_conv(\d)_(\d+){_NORM}", "s{2}.{path}_nonlocal{3}.norm.{4}"),
    (r"(t_)?pred_([wb])", "head.projection.{2}"),
]
_BLOBS = [(re.compile(pattern), key) for pattern, key in BLOBS]
# the optimizer's blobs: momenta and counters
_TRAINING = re.compile(r".*_momentum|lr|model_iter|optimizer_iteration.*|.*_iter")


def key_of_blob(blob: str) -> str:
    """Returns PySlowFast's key for a Caffe2 blob; a name that no rule matches stays as it is."""
    for pattern, key in _BLOBS:
        if match := pattern.fullmatch(blob):
            body, _, last = key.rpartition(".")  # the last part is "w", or a key of STATISTICS
            letter = match[int(last[1:-1])]
            named = {str(index): text for index, text in enumerate(match.groups(), start=1)}
            path = "pathway1" if match[1] else "pathway0"
            return _fill(body, named, path) + "." + {"w": "weight", **STATISTICS}[letter]
    return blob


def _fill(key: str, named: Mapping[str, str | None], path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: path if match[1] == "path" else str(named[match[1]]), key)


def _is_caffe2(state: State) -> bool:
    return "conv1_w" in state and any(key.startswith("res2_0_branch2") for key in state)


def _recognises(state: State) -> bool:
    return "s1.pathway0_stem.conv.weight" in state or _is_caffe2(state)


def _from_caffe2(state: State) -> dict[str, Tensor]:
    """Renames Caffe2 blobs; a kernel with fewer axes than a 3-D convolution gets axes of size 1 at its end."""
    renamed = {}
    for blob, value in state.items():
        if _TRAINING.fullmatch(blob):
            continue
        key = key_of_blob(blob)
        if key.endswith(".weight") and value.ndim > 1 and key != "head.projection.weight":
            value = value.reshape(*value.shape, *[1] * (5 - value.ndim))
        renamed[key] = value.flatten(1) if key == "head.projection.weight" else value
    return renamed


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    caffe2 = _is_caffe2(state)
    if caffe2:
        state = _from_caffe2(state)
    two = "s1.pathway1_stem.conv.weight" in state
    config = read_config(others.get("cfg"))
    if is_x3d(state):
        ours, description = convert_x3d(state)
        if description.backbone:
            _apply_config(description, config)
        return ours, description
    rules = [*SHARED, *(_rules(0, "slow.") + _rules(1, "fast.") if two else _rules(0, ""))]
    ours = rename(state, rules)
    if two:
        description = describe_slowfast(ours)
    else:
        # only a config shows temporal pooling; the zoo's Caffe2 files of C2D do not have it
        arch = str(config.get("MODEL", {}).get("ARCH", "c2d_nopool" if caffe2 else ""))
        description = describe_resnet3d(ours, prefer=arch)
        description.arguments |= {"clip_len": 8, "frame_stride": 8}
        description.assumed += ("clip_len", "frame_stride")
        description.notes.append(
            "clip_len and frame_stride: not in the file; 8 and 8 are assumed (some networks have 4 and 16)"
        )
    kwargs = description.arguments.setdefault("kwargs", {})
    (description.arguments if two else kwargs)["position_average"] = "scores"
    _apply_config(description, config)
    if not kwargs:
        del description.arguments["kwargs"]
    return with_prefix(ours), description


def read_config(text: Any) -> dict[str, Any]:
    """Reads the YAML text of a .pyth file; an empty dict if there is no text or it is not plain YAML."""
    if not isinstance(text, str):
        return {}
    try:
        config, _ = read_yaml(text)
    except yaml.YAMLError:
        return {}
    return config if isinstance(config, dict) else {}


def _apply_config(description: Description, config: Mapping[str, Any]) -> None:
    """Replaces assumed values by those of the file's own config."""
    if not config:
        return
    data, arguments = config.get("DATA", {}), description.arguments
    description.notes.clear()
    description.assumed = ()
    found = {"clip_len": data.get("NUM_FRAMES"), "frame_stride": data.get("SAMPLING_RATE")}
    if description.method == "slowfast":
        found["alpha"] = config.get("SLOWFAST", {}).get("ALPHA")
    arguments |= {key: value for key, value in found.items() if isinstance(value, int)}
    kwargs = arguments["kwargs"]
    if description.method == "clip3d" and config.get("RESNET", {}).get("STRIDE_1X1") is True:
        kwargs["stride_1x1"] = True
    if kwargs.get("non_local") or "nln" in description.backbone:
        kwargs["instantiation"] = config.get("NONLOCAL", {}).get("INSTANTIATION", "dot_product")
    if isinstance(crop := data.get("TRAIN_CROP_SIZE"), int):
        kwargs["crop_size"] = crop
    description.protocol = protocol_of(config)


def protocol_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns crops, views and pixel statistics, as far as the config gives them."""
    data, test = config.get("DATA", {}), config.get("TEST", {})
    views = {
        "num_clips": test.get("NUM_ENSEMBLE_VIEWS"),
        "num_crops": test.get("NUM_SPATIAL_CROPS"),
        "input_size": data.get("TEST_CROP_SIZE"),
    }
    crops, scales = test.get("NUM_SPATIAL_CROPS"), data.get("TRAIN_JITTER_SCALES")
    short_side = scales[0] if crops == 1 and isinstance(scales, list) and scales else None
    pixels = {
        "input_size": data.get("TRAIN_CROP_SIZE"),
        "test_resize": data.get("TEST_CROP_SIZE") if isinstance(crops, int) and crops > 1 else short_side,
        "mean": data.get("MEAN"),
        "std": data.get("STD"),
    }
    return {
        "test": {key: value for key, value in views.items() if isinstance(value, int)},
        "augmentation": {key: value for key, value in pixels.items() if isinstance(value, (int, list))},
    }


LAYOUT = Layout("PySlowFast", _recognises, _convert, read_name)

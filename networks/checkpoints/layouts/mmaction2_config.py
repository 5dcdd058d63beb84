"""Reads what the config in a file of mmaction2 says about its network.

mmengine keeps the text in meta.cfg, mmcv 0.x in meta.config. If the config and the weights differ, the weights are
right and a note says so: a config can be edited, a tensor cannot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description
from networks.checkpoints.layouts.mmaction2_protocol import Sampler, protocol_of, sampler_of
from networks.checkpoints.layouts.python_config import read_python_config, section
from networks.clip.resnet3d_published import RESNETS_3D
from utils.errors import CheckpointError

# type of their backbone -> the method that its weights belong to
BACKBONES = {
    "ResNet": "tsn",
    "ResNeXt": "tsn",
    "MobileNetV2": "tsn",
    "TANet": "tsn",
    "ResNetTIN": "tsn",
    "ResNetTSM": "tsm",
    "MobileNetV2TSM": "tsm",
    "ResNet3dSlowFast": "slowfast",
    "C2D": "clip3d",
    "ResNet3d": "clip3d",
    "ResNet3dSlowOnly": "clip3d",
    "ResNet3dCSN": "clip3d",
    "ResNet2Plus1d": "clip3d",
    "X3D": "clip3d",
    "C3D": "clip3d",
    "MViT": "clip3d",
    "SwinTransformer3D": "clip3d",
    "UniFormer": "clip3d",
    "UniFormerV2": "clip3d",
}
LIBRARIES = {"torchvision.": "", "timm.": "timm/"}  # prefix of their networks' names -> the prefix here
HEADS = ("TSNHead", "TSMHead", "TRNHead", "I3DHead", "SlowFastHead", "X3DHead", "TPNHead", "MViTHead", "UniFormerHead")
SEPARATED = ("ResNet3dCSN", "ResNet2Plus1d")  # strided in time, with a larger eps
# arguments that the weights do not show -> the value that our networks have
UNTRACED: dict[str, Any] = {
    "strides": [1, 2, 2, 2],
    "spatial_strides": [1, 2, 2, 2],
    "temporal_strides": [1, 1, 1, 1],
    "dilations": [1, 1, 1, 1],
    "conv1_stride_s": 2,
    "conv1_stride_t": 1,
    "pool1_stride_s": 2,
    "pool1_stride_t": 1,
    "with_pool1": True,
    "adaptive_kv_stride": [1, 8, 8],
    "patch_size": [2, 4, 4],
}
X3D: dict[str, Any] = {"spatial_strides": [2, 2, 2, 2], "use_swish": True}
# those of them that the 3-D ResNets with one pathway can change -> their name here
STEM = {"conv1_stride_t": "stem_stride_t", "pool1_stride_t": "stem_pool_stride_t"}
# mode of their non-local blocks -> its name in our 3-D networks; our TSM has the same names as mmaction2
NON_LOCAL = {"embedded_gaussian": "softmax", "dot_product": "dot_product", "gaussian": "gaussian"}


@dataclass(frozen=True)
class FileConfig:
    """Holds the config in a file.

    whole: everything that could be read.
    unread: expressions that could not be read.
    backbone, head: these sections of its `model`.
    type: the backbone's type without the name of a registry: "ResNetTSM", "torchvision.densenet161".
    train, test: how clips are taken from a video; None if the way is unknown here.
    """

    whole: Mapping[str, Any]
    unread: list[str]
    backbone: Mapping[str, Any]
    head: Mapping[str, Any]
    type: str
    train: Sampler | None
    test: Sampler | None

    @property
    def sees_one_window(self) -> bool:
        """Tells whether a clip has consecutive frames, instead of one frame of each segment."""
        return self.train is not None and self.train.rule == "mmaction2_clip"

    @property
    def non_local(self) -> Mapping[str, Any]:
        """Returns the arguments of its non-local blocks."""
        return section(self.backbone, "non_local_cfg")

    def number(self, key: str, default: int) -> int:
        """Returns a positive integer of the backbone, or the default."""
        value = self.backbone.get(key)
        return value if isinstance(value, int) and value > 0 else default


def read_meta(others: Mapping[str, Any], description: Description) -> FileConfig | None:
    """Reads the config from the other entries of a file, and puts its class names into `description`.

    Returns None if there is no config, or if it cannot be read, which becomes a note.
    """
    meta = section(others, "meta")
    names = section(meta, "dataset_meta").get("classes")
    if isinstance(names, (list, tuple)) and len(names) == description.arguments.get("num_class"):
        description.class_names = [str(name) for name in names]
    text = meta.get("cfg") or meta.get("config")
    if not isinstance(text, str):
        return None
    try:
        config, unread = read_python_config(text)
    except ValueError as error:
        description.notes.append(f"config in the file: cannot be read ({error})")
        return None
    model = section(config, "model")
    backbone = section(model, "backbone")
    kind = str(backbone.get("type", ""))
    if not kind.startswith(tuple(LIBRARIES)):
        kind = kind.rpartition(".")[2]
    if not kind:
        description.notes.append("config in the file: no model.backbone.type in it")
        return None
    samplers = sampler_of(config, "train"), sampler_of(config, "test")
    return FileConfig(config, unread, backbone, section(model, "cls_head"), kind, *samplers)


def follow(config: FileConfig, description: Description, weights: dict[str, Tensor]) -> None:
    """Replaces assumed values by those of the file's own config, and adds a note for each that the weights contradict.

    weights: under our names; those of non-local blocks with another scale are changed to fit ours, in place.

    Raises: CheckpointError for an argument that no network here has and that the weights do not show.
    """
    library = next((start for start in LIBRARIES if config.type.startswith(start)), None)
    if library and not description.backbone:
        description.backbone = LIBRARIES[library] + config.type.removeprefix(library)
    known = library is not None or config.type in BACKBONES
    if not known:
        description.notes.append(
            f"config in the file: backbone {config.type} is unknown here, so the config is not used"
        )
    if not (known and description.backbone):
        return
    description.notes, description.assumed = [], ()
    _refuse_untraced(config, description)
    found, kwargs = {"slowfast": _slowfast, "tsm": _tsm, "tsn": _tsn, "clip3d": _clip3d}[description.method](
        config, description
    )
    if isinstance(dropout := config.head.get("dropout_ratio"), (int, float)):
        found["dropout"] = float(dropout)
    description.arguments |= found
    if kwargs:
        description.arguments.setdefault("kwargs", {}).update(kwargs)
    _match_scale(weights, config, scaled=description.method != "tsm")
    description.protocol = protocol_of(config.whole, description, config.train, config.test)
    listed = ", ".join(f"{key} {value}" for key, value in (found | kwargs).items())
    description.notes.insert(0, f"from the config in the file: {listed}")
    description.notes += _contradictions(config, description)
    if config.unread:
        description.notes.append(
            f"config in the file: not read, because it would have to be run: {', '.join(config.unread[:3])}"
        )


def _match_scale(weights: dict[str, Tensor], config: FileConfig, *, scaled: bool) -> None:
    """Multiplies theta by the factor between mmaction2's affinities and ours, in place.

    scaled: whether our blocks divide by the root of the inner width; `use_scale` says whether mmaction2's do.
    """
    theirs = bool(config.non_local.get("use_scale", True))
    if theirs == scaled or config.non_local.get("mode", "embedded_gaussian") != "embedded_gaussian":
        return
    for key, value in weights.items():
        if ".non_local.theta." in key:
            weights[key] = value * value.shape[0] ** (-0.5 if theirs else 0.5)


def _refuse_untraced(config: FileConfig, description: Description) -> None:
    separated = config.type in SEPARATED
    ours = UNTRACED | ({"temporal_strides": [1, 2, 2, 2]} if separated else {}) | (X3D if config.type == "X3D" else {})
    if description.backbone in RESNETS_3D:
        ours = {key: value for key, value in ours.items() if key not in STEM}
    for part in (config.backbone, section(config.backbone, "slow_pathway"), section(config.backbone, "fast_pathway")):
        for key, value in ours.items():
            if part.get(key, value) != value:
                raise CheckpointError(f"its config says {key} {part[key]}; our networks have {value}")
    our_eps = 1e-3 if separated else 1e-5
    eps = section(config.backbone, "norm_cfg").get("eps", 1e-3 if config.type == "ResNet3dCSN" else 1e-5)
    if eps != our_eps:
        raise CheckpointError(f"its config says eps {eps} for the norms; our networks have {our_eps}")
    if config.type != "C3D" and config.head.get("spatial_type", "avg") != "avg":
        raise CheckpointError(f"its config says spatial_type {config.head['spatial_type']}; our networks average")


Found = tuple[dict[str, Any], dict[str, Any]]  # further arguments of the method, and of its network


def _tsn(config: FileConfig, description: Description) -> Found:
    if config.train is None:
        _not_sampled(description, "num_segments")
        return {}, {}
    return {"num_segments": config.train.places}, {}


def _tsm(config: FileConfig, description: Description) -> Found:
    found: dict[str, Any] = {key: config.number(key, 8) for key in ("num_segments", "shift_div")}
    if shown := description.arguments.get("non_local"):
        found["non_local"] = _mode(config, description, gaussian=shown == "gaussian")
    return found, {}


def _clip3d(config: FileConfig, description: Description) -> Found:
    kwargs: dict[str, Any] = {}
    if config.backbone.get("style") == "caffe":
        kwargs["stride_1x1"] = True
    if isinstance(rate := config.backbone.get("drop_path_rate"), (int, float)):
        kwargs["drop_path"] = float(rate)
    known = description.arguments.get("kwargs", {})
    if "instantiation" in known:
        kwargs["instantiation"] = NON_LOCAL[_mode(config, description, gaussian=known["instantiation"] == "gaussian")]
    pooled = config.backbone.get("with_pool2", config.type in ("ResNet3d", "ResNet3dCSN", "C2D"))
    if description.backbone in RESNETS_3D:
        kwargs |= {ours: config.number(theirs, 1) for theirs, ours in STEM.items() if theirs in config.backbone}
        if config.type == "C2D":
            kwargs["stem_pool_padding"] = 0
        pool_t = 2 if pooled and config.type != "ResNet" else 1
        if pool_t != RESNETS_3D[description.backbone].stages.get("pool_t", 1):
            kwargs["pool_t"] = pool_t
    elif pooled and config.type != "ResNet2Plus1d":  # it has the argument but no pool
        raise CheckpointError(f"its config says with_pool2; {description.backbone} has no such pool")
    return _clip(config, description), kwargs


def _slowfast(config: FileConfig, description: Description) -> Found:
    """Finds alpha and the clip; the fast pathway sees every (resample_rate / speed_ratio)-th of the sampled frames."""
    alpha = config.number("speed_ratio", 8)
    return {"alpha": alpha, **_clip(config, description, every=max(1, config.number("resample_rate", 8) // alpha))}, {}


def _clip(config: FileConfig, description: Description, *, every: int = 1) -> dict[str, Any]:
    if config.train is None:
        _not_sampled(description, "clip_len", "frame_stride")
        return {}
    return {"clip_len": config.train.length // every, "frame_stride": config.train.stride * every}


def _not_sampled(description: Description, *names: str) -> None:
    description.assumed = names
    values = ", ".join(str(description.arguments.get(name, 1)) for name in names)
    description.notes.append(
        f"{', '.join(names)}: the config in the file samples in a way that is unknown here; {values} are assumed"
    )


def _mode(config: FileConfig, description: Description, *, gaussian: bool) -> str:
    """Returns the mode of the non-local blocks, which the weights show in part: only `gaussian` has no theta."""
    mode = str(config.non_local.get("mode", "embedded_gaussian"))
    if mode in NON_LOCAL and (mode == "gaussian") == gaussian:
        return mode
    shown = "gaussian" if gaussian else "embedded_gaussian"
    description.notes.append(
        f"non_local: the config in the file says {mode}, but the weights fit {shown}, which is used"
    )
    return shown


def _contradictions(config: FileConfig, description: Description) -> list[str]:
    """Returns a note for each value of the config that the weights contradict."""
    arguments, backbone = description.arguments, config.backbone
    depth = backbone.get("depth") or section(backbone, "slow_pathway").get("depth")
    method = description.method if config.sees_one_window else BACKBONES.get(config.type)
    shown = [
        ("method", method, description.method),
        ("depth", depth, _depth(description)),
        ("num_classes", config.head.get("num_classes"), arguments.get("num_class")),
        ("shift_place", backbone.get("shift_place"), arguments.get("shift_place")),
        ("temporal_pool", backbone.get("temporal_pool"), arguments.get("temporal_pool", False)),
        ("channel_ratio", backbone.get("channel_ratio"), arguments.get("beta")),
        ("bottleneck_mode", backbone.get("bottleneck_mode"), description.backbone[:2]),
    ]
    notes = [
        f"{name}: the config in the file says {theirs}, but the weights have {ours}, which is used"
        for name, theirs, ours in shown
        if theirs is not None and ours is not None and theirs != ours
    ]
    if (head := str(config.head.get("type", "")).rpartition(".")[2]) not in HEADS:
        notes.append(f"config in the file: head {head or 'without a type'} is unknown here, so it is not used")
    return notes


def _depth(description: Description) -> int | None:
    found = re.search(r"\d\d+", description.backbone)
    depth = description.arguments.get("kwargs", {}).get("depth")
    return depth or (int(found[0]) if found else None)

"""What the config in a file of mmaction2 tells of its network.

mmengine keeps the text in meta.cfg, mmcv 0.x in meta.config. Where it and the weights differ, the
weights are right and a note says so: a config can be edited, a tensor cannot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Facts
from networks.checkpoints.layouts.mmaction2_protocol import Sampler, protocol_of, sampler_of
from networks.checkpoints.layouts.python_config import read_python_config, section
from networks.clip.resnet3d_published import RESNETS_3D
from utils.errors import CheckpointError

# type of their backbone -> the method that its weights belong to
BACKBONES = {
    "ResNet": "tsn",
    "ResNeXt": "tsn",
    "MobileNetV2": "tsn",
    "ResNetTSM": "tsm",
    "MobileNetV2TSM": "tsm",
    "ResNet3dSlowFast": "slowfast",
    "C2D": "clip3d",
    "ResNet3d": "clip3d",
    "ResNet3dSlowOnly": "clip3d",
    "ResNet3dCSN": "clip3d",
    "ResNet2Plus1d": "clip3d",
}
LIBRARIES = {"torchvision.": "", "timm.": "timm/"}  # whose networks it takes by name -> how ours are named
HEADS = ("TSNHead", "TSMHead", "I3DHead", "SlowFastHead")
SEPARATED = ("ResNet3dCSN", "ResNet2Plus1d")  # strided in time, with a larger eps
# arguments that leave no trace in the weights -> the value that our networks have
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
}
# of these, what our single 3-D ResNets can have otherwise -> our name for it
STEM = {"conv1_stride_t": "stem_stride_t", "pool1_stride_t": "stem_pool_stride_t"}
# mode of their non-local blocks -> our name for it in 3-D networks; TSM has theirs
NON_LOCAL = {"embedded_gaussian": "softmax", "dot_product": "dot_product", "gaussian": "gaussian"}


@dataclass(frozen=True)
class FileConfig:
    """The config in a file.

    whole: all of it that could be read; unread: what could not. backbone, head: of its `model`.
    type: of the backbone, without the name of a registry: "ResNetTSM", "torchvision.densenet161".
    train, test: how clips are taken from a video; None where that is not known here.
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
        """Whether a clip is consecutive frames, and not one of each segment."""
        return self.train is not None and self.train.rule == "mmaction2_clip"

    @property
    def non_local(self) -> Mapping[str, Any]:
        """The arguments of its non-local blocks."""
        return section(self.backbone, "non_local_cfg")

    def number(self, key: str, default: int) -> int:
        """A positive number of the backbone."""
        value = self.backbone.get(key)
        return value if isinstance(value, int) and value > 0 else default


def read_meta(others: Mapping[str, Any], facts: Facts) -> FileConfig | None:
    """The config in a file with these other entries, and its class names into `facts`.

    None where there is no config, or, with a note, where it cannot be read.
    """
    meta = section(others, "meta")
    names = section(meta, "dataset_meta").get("classes")
    if isinstance(names, (list, tuple)) and len(names) == facts.arguments.get("num_class"):
        facts.class_names = [str(name) for name in names]
    text = meta.get("cfg") or meta.get("config")
    if not isinstance(text, str):
        return None
    try:
        config, unread = read_python_config(text)
    except ValueError as error:
        facts.notes.append(f"config in the file: cannot be read ({error})")
        return None
    model = section(config, "model")
    backbone = section(model, "backbone")
    kind = str(backbone.get("type", ""))
    if not kind.startswith(tuple(LIBRARIES)):
        kind = kind.rpartition(".")[2]
    if not kind:
        facts.notes.append("config in the file: no model.backbone.type in it")
        return None
    samplers = sampler_of(config, "train"), sampler_of(config, "test")
    return FileConfig(config, unread, backbone, section(model, "cls_head"), kind, *samplers)


def follow(config: FileConfig, facts: Facts, weights: dict[str, Tensor]) -> None:
    """Replaces what was assumed by what the file's own config says, and notes where the weights show otherwise.

    weights: under our names; those of non-local blocks that scale otherwise than ours are changed to do as ours.

    Raises: CheckpointError for an argument that none of our networks has and that the weights do not show.
    """
    library = next((start for start in LIBRARIES if config.type.startswith(start)), None)
    if library and not facts.backbone:
        facts.backbone = LIBRARIES[library] + config.type.removeprefix(library)
    known = library is not None or config.type in BACKBONES
    if not known:
        facts.notes.append(f"config in the file: backbone {config.type} is not known here, so it is not followed")
    if not (known and facts.backbone):
        return
    facts.notes, facts.assumed = [], ()
    _refuse_untraced(config, facts)
    told, kwargs = {"slowfast": _slowfast, "tsm": _tsm, "tsn": _tsn, "clip3d": _clip3d}[facts.method](config, facts)
    if isinstance(dropout := config.head.get("dropout_ratio"), (int, float)):
        told["dropout"] = float(dropout)
    facts.arguments |= told
    if kwargs:
        facts.arguments.setdefault("kwargs", {}).update(kwargs)
    _match_scale(weights, config, scaled=facts.method != "tsm")
    facts.protocol = protocol_of(config.whole, facts, config.train, config.test)
    said = ", ".join(f"{key} {value}" for key, value in (told | kwargs).items())
    facts.notes.insert(0, f"from the config in the file: {said}")
    facts.notes += _contradictions(config, facts)
    if config.unread:
        facts.notes.append(f"config in the file: only running it would tell {', '.join(config.unread[:3])}")


def _match_scale(weights: dict[str, Tensor], config: FileConfig, *, scaled: bool) -> None:
    """Makes theta carry the factor by which their affinities differ from ours, in place.

    scaled: whether our blocks divide by the root of the inner width; `use_scale` says whether theirs do.
    """
    theirs = bool(config.non_local.get("use_scale", True))
    if theirs == scaled or config.non_local.get("mode", "embedded_gaussian") != "embedded_gaussian":
        return
    for key, value in weights.items():
        if ".non_local.theta." in key:
            weights[key] = value * value.shape[0] ** (-0.5 if theirs else 0.5)


def _refuse_untraced(config: FileConfig, facts: Facts) -> None:
    separated = config.type in SEPARATED
    ours = UNTRACED | ({"temporal_strides": [1, 2, 2, 2]} if separated else {})
    if facts.backbone in RESNETS_3D:
        ours = {key: value for key, value in ours.items() if key not in STEM}
    for part in (config.backbone, section(config.backbone, "slow_pathway"), section(config.backbone, "fast_pathway")):
        for key, value in ours.items():
            if part.get(key, value) != value:
                raise CheckpointError(f"its config says {key} {part[key]}; our networks have {value}")
    our_eps = 1e-3 if separated else 1e-5
    eps = section(config.backbone, "norm_cfg").get("eps", 1e-3 if config.type == "ResNet3dCSN" else 1e-5)
    if eps != our_eps:
        raise CheckpointError(f"its config says eps {eps} for the norms; our networks have {our_eps}")
    if config.head.get("spatial_type", "avg") != "avg":
        raise CheckpointError(f"its config says spatial_type {config.head['spatial_type']}; our networks average")


Told = tuple[dict[str, Any], dict[str, Any]]  # further arguments of the method, and of its network


def _tsn(config: FileConfig, facts: Facts) -> Told:
    if config.train is None:
        _not_sampled(facts, "num_segments")
        return {}, {}
    return {"num_segments": config.train.places}, {}


def _tsm(config: FileConfig, facts: Facts) -> Told:
    told: dict[str, Any] = {key: config.number(key, 8) for key in ("num_segments", "shift_div")}
    if shown := facts.arguments.get("non_local"):
        told["non_local"] = _mode(config, facts, gaussian=shown == "gaussian")
    return told, {}


def _clip3d(config: FileConfig, facts: Facts) -> Told:
    kwargs: dict[str, Any] = {}
    if config.backbone.get("style") == "caffe":
        kwargs["stride_1x1"] = True
    known = facts.arguments.get("kwargs", {})
    if "instantiation" in known:
        kwargs["instantiation"] = NON_LOCAL[_mode(config, facts, gaussian=known["instantiation"] == "gaussian")]
    pooled = config.backbone.get("with_pool2", config.type in ("ResNet3d", "ResNet3dCSN", "C2D"))
    if facts.backbone in RESNETS_3D:
        kwargs |= {ours: config.number(theirs, 1) for theirs, ours in STEM.items() if theirs in config.backbone}
        if config.type == "C2D":
            kwargs["stem_pool_padding"] = 0
        pool_t = 2 if pooled and config.type != "ResNet" else 1
        if pool_t != RESNETS_3D[facts.backbone].stages.get("pool_t", 1):
            kwargs["pool_t"] = pool_t
    elif pooled and config.type != "ResNet2Plus1d":  # which has the argument, and no pool
        raise CheckpointError(f"its config says with_pool2; {facts.backbone} has no such pool")
    return _clip(config, facts), kwargs


def _slowfast(config: FileConfig, facts: Facts) -> Told:
    """Of the frames that are sampled, the fast pathway sees every (resample_rate / speed_ratio)-th."""
    alpha = config.number("speed_ratio", 8)
    return {"alpha": alpha, **_clip(config, facts, every=max(1, config.number("resample_rate", 8) // alpha))}, {}


def _clip(config: FileConfig, facts: Facts, *, every: int = 1) -> dict[str, Any]:
    if config.train is None:
        _not_sampled(facts, "clip_len", "frame_stride")
        return {}
    return {"clip_len": config.train.length // every, "frame_stride": config.train.stride * every}


def _not_sampled(facts: Facts, *names: str) -> None:
    facts.assumed = names
    values = ", ".join(str(facts.arguments.get(name, 1)) for name in names)
    facts.notes.append(f"{', '.join(names)}: how the config in the file samples is not known here; {values} assumed")


def _mode(config: FileConfig, facts: Facts, *, gaussian: bool) -> str:
    """Of the non-local blocks. The weights show it in part: `gaussian` alone has no theta."""
    mode = str(config.non_local.get("mode", "embedded_gaussian"))
    if mode in NON_LOCAL and (mode == "gaussian") == gaussian:
        return mode
    shown = "gaussian" if gaussian else "embedded_gaussian"
    facts.notes.append(f"non_local: the config in the file says {mode}; {shown} is what its weights can be")
    return shown


def _contradictions(config: FileConfig, facts: Facts) -> list[str]:
    """A note for each thing that the weights show and the config says otherwise."""
    arguments, backbone = facts.arguments, config.backbone
    depth = backbone.get("depth") or section(backbone, "slow_pathway").get("depth")
    method = facts.method if config.sees_one_window else BACKBONES.get(config.type)
    shown = [
        ("method", method, facts.method),
        ("depth", depth, _depth(facts)),
        ("num_classes", config.head.get("num_classes"), arguments.get("num_class")),
        ("shift_place", backbone.get("shift_place"), arguments.get("shift_place")),
        ("temporal_pool", backbone.get("temporal_pool"), arguments.get("temporal_pool", False)),
        ("channel_ratio", backbone.get("channel_ratio"), arguments.get("beta")),
        ("bottleneck_mode", backbone.get("bottleneck_mode"), facts.backbone[:2]),
    ]
    notes = [
        f"{name}: the config in the file says {theirs}, but its weights have {ours}, which is followed"
        for name, theirs, ours in shown
        if theirs is not None and ours is not None and theirs != ours
    ]
    if (head := str(config.head.get("type", "")).rpartition(".")[2]) not in HEADS:
        notes.append(f"config in the file: head {head or 'of no type'} is not known here, so it is not followed")
    return notes


def _depth(facts: Facts) -> int | None:
    found = re.search(r"\d\d+", facts.backbone)
    depth = facts.arguments.get("kwargs", {}).get("depth")
    return depth or (int(found[0]) if found else None)

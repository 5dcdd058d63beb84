"""Small checkpoints for the tests of tools that run a trained network; weights are random but fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from methods.build import build_method
from tools.exporting.random_weights import liven
from utils.config.schema import Common
from utils.run import checkpoint

CLASSES = ["<script>alert(1)</script>", "跑步", "يمشي", "jump, then fall"]
SCHEDULE = {"base_lr": 0.1, "max_iter": 1}
TSN = {"type": "tsn", "backbone": "mobilenetv2", "num_segments": 3, "kwargs": {"scale": 0.25}}
UNI = {"type": "tsm", "backbone": "resnet18", "num_segments": 4, "shift": "uni"}
UNI_TAM, UNI_GSF, UNI_ACTION = (
    {"type": "tsn", "backbone": "resnet18", "num_segments": 4, "temporal": {"name": name, "shift": "uni"}}
    for name in ("tam", "gsf", "action")
)
CLIP = {"type": "clip3d", "backbone": "mc3_18", "clip_len": 4, "frame_stride": 2}
PROBE = {"type": "probe", "backbone": "resnet18", "num_segments": 3}
PROBE_OF_CLIPS = CLIP | {"type": "probe"}
SLOWFAST = {"type": "slowfast", "backbone": "resnet50", "clip_len": 8, "frame_stride": 1, "alpha": 4}


def write_checkpoint(
    folder: Path,
    model: dict[str, Any] = TSN,
    *,
    class_names: list[str] | None = None,
    num_class: int = len(CLASSES),
    **common: Any,
) -> Path:
    """ckpt.pth.tar of an untrained network, as a run would leave it."""
    raw = {
        "model": {"num_class": num_class, **model},
        "augmentation": {"input_size": 32},
        "lr_scheduler": SCHEDULE,
        **common,
    }
    torch.manual_seed(0)
    method = build_method(Common.model_validate(raw).model)
    liven(method, torch.randn(4, method.clip.in_channels, method.clip.num_frames, 32, 32))
    about = {"step": 1, "arch": method.name, "config": {"common": raw}, "class_names": class_names}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder, {**about, "state_dict": method.state_dict()}, best=False)
    return folder / checkpoint.NEWEST

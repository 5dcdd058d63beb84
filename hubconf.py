"""Defines the entry points of torch.hub: VMZ's builders, PyTorchVideo's names, and all other networks over a clip.

torch.hub.load(<this folder>, "ir_csn_152", source="local", pretraining="ig_ft_kinetics_32frms")
torch.hub.load(<this folder>, "slow_r50", source="local", pretrained=True)
torch.hub.load(<this folder>, "published", source="local", name="kinetics400/tsm_r50_8f_mit")
"""

from __future__ import annotations

from methods.hub import DETECTORS as _DETECTORS
from methods.hub import PYTORCHVIDEO as _PYTORCHVIDEO
from methods.hub import entry_point as _entry_point
from methods.hub import refusal as _refusal
from networks import CLIP_NETWORKS as _NETWORKS
from networks.clip.slowfast import SlowFastNet as slowfast  # noqa: N813 - the entry point's name
from vmz.models import ip_csn_152, ir_csn_152, mc3_18, published, r2plus1d_18, r2plus1d_34, r2plus1d_152, r3d_18

dependencies = ["torch", "torchvision", "numpy", "pydantic", "yaml", "easydict", "filelock", "rich"]

__all__ = [
    "ip_csn_152",
    "ir_csn_152",
    "mc3_18",
    "published",
    "r2plus1d_18",
    "r2plus1d_34",
    "r2plus1d_152",
    "r3d_18",
    "slowfast",
]

_OTHERS = [name for name in (*_PYTORCHVIDEO, *_NETWORKS) if name not in __all__]
globals().update({name: _entry_point(name) for name in _OTHERS})
globals().update({name: _refusal(name) for name in _DETECTORS})

"""Recognises actions in videos with a trained network, from Python.

    from tools.inference import load

    recognizer = load("exps/mine/ckpt_best.pth.tar")
    prediction = recognizer.predict("video.mp4")

docs/predict.md explains the rest. Importing this package costs nothing; PyTorch is imported with the first name that is
taken from it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.inference.features import Features
    from tools.inference.inputs import Input
    from tools.inference.prediction import ClassScore, FramePrediction, Prediction, WindowPrediction
    from tools.inference.recognizer import Recognizer, load

__all__ = [
    "ClassScore",
    "Features",
    "FramePrediction",
    "Input",
    "Prediction",
    "Recognizer",
    "Timeline",
    "WindowPrediction",
    "load",
]

_MODULES = {
    "features": ("Features",),
    "inputs": ("Input",),
    "prediction": ("ClassScore", "FramePrediction", "Prediction", "Timeline", "WindowPrediction"),
    "recognizer": ("Recognizer", "load"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"tools.inference.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

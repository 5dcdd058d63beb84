"""Holds the methods, which turn a video into a prediction, in one table. A new method is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from methods.base import Method
from methods.clip3d import Clip3D
from methods.img import Image
from methods.probe import Probe
from methods.segment import Segment
from methods.slowfast import SlowFast
from methods.tsm import TSM
from methods.tsn import TSN

METHODS: Mapping[str, Callable[..., Method]] = {
    "tsn": TSN,
    "tsm": TSM,
    "slowfast": SlowFast,
    "clip3d": Clip3D,
    "classify": Clip3D,  # the original project's name for it
    "img": Image,
    "probe": Probe,
    "segment": Segment,
}

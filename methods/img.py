"""Classifies single images: `type: img`, where a record is one frame of a video or an image file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from methods.tsn import TSN


class Image(TSN):
    """Classifies images with an image network; a clip is one frame."""

    def __init__(
        self, *, backbone: str, num_class: int, dropout: float = 0.0, kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(backbone=backbone, num_class=num_class, num_segments=1, dropout=dropout, kwargs=kwargs)
        self.clip = dataclasses.replace(self.clip, dataset="img")
        self.name = f"img_{backbone}"

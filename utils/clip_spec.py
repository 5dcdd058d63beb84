"""Defines what a method asks of the data: how many images it sees at once, how far apart, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

CLIP_DIMS = 5  # of clips (B, C, T, H, W); features, (B, T', ...), have fewer


@dataclass(frozen=True)
class Modality:
    """The kind of picture that shows a moment of a video.

    channels: number of channels of one picture on its way to the device.
    beyond: number of pictures that a stack needs beyond its length.
    """

    channels: int
    beyond: int = 0


MODALITIES = {
    "rgb": Modality(3),
    "flow": Modality(2),  # x and y of optical flow from one picture to the next
    "rgbdiff": Modality(3, beyond=1),  # a picture minus the one before: n differences come from n + 1 pictures
}


@dataclass(frozen=True)
class ClipSpec:
    """The clip that a method wants to see.

    num_frames: T, the places of a video the network sees at once (TSN and TSM: one per segment).
    frame_stride: step between them in source frames; used by rules that take a window, 1 elsewhere.
    sampling: name of the rule in `datasets.sampling.rules.SAMPLING`.
    dataset: name of the dataset in `datasets.DATASETS`.
    modality: name in MODALITIES.
    stack: number of consecutive flow fields, differences or frames that are the channels of one place; 1 for most
        networks that see RGB.
    window, step: of a method that sees whole videos, the seconds of the windows that slide over one, each of which
        gives a clip, and from one window to the next; 0 for a method that sees clips.
    segments: windows of a video that are one clip together, of num_frames / segments frames each, one behind the other.
    """

    num_frames: int
    frame_stride: int = 1
    sampling: str = "segments"
    dataset: str = "tsn"
    modality: str = "rgb"
    stack: int = 1
    window: float = 0.0
    step: float = 0.0
    segments: int = 1

    @property
    def whole_videos(self) -> bool:
        """Returns whether the method sees whole videos, as the features of the windows that slide over them."""
        return self.window > 0

    @cached_property
    def length(self) -> int:
        """Number of consecutive pictures that are read at each place."""
        return self.stack + MODALITIES[self.modality].beyond

    @cached_property
    def num_pictures(self) -> int:
        """Number of pictures of a clip on its way to the device: T of a batch's (N, V, C, T, H, W) there."""
        return self.num_frames * self.length

    @property
    def channels(self) -> int:
        """C of one picture on its way to the device."""
        return MODALITIES[self.modality].channels

    @property
    def in_channels(self) -> int:
        """C that the network sees: the channels of a whole stack."""
        return self.channels * self.stack

"""Decodes videos on the GPU, and cuts and resizes their frames there: `data.decode: cuda` with `store: {type: video}`.

Workers then only choose frames and draw crops; what travels is which frames of which file, and the plan. What a GPU
does not decode as they would is decoded by PyAV in the training process, so that both ways read the same files and
refuse the same ones.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from datasets.places.place import Place
from datasets.videos.reader import decode_torchcodec, read_pyav
from datasets.videos.scan import VideoTimes
from datasets.videos.together import TogetherReader
from utils.errors import FrameError
from utils.transforms.cut_clip import CutClip
from utils.transforms.gpu_decode import EncodedBatch, EncodedClip, EncodedSample

_log = logging.getLogger(__name__)
_refused = threading.Event()  # a video was refused, and the log has named it


@dataclass(frozen=True)
class EncodedVideoSample(EncodedSample):
    """Holds what a device makes the clips of one sample of; empty if it cannot be read.

    asked: for each clip its file, the times of that, and the frames that it shows, int64 (T,).
    """

    asked: list[tuple[Place, VideoTimes, np.ndarray]] = field(default_factory=list)

    def show(
        self,
        path: Place,
        times: VideoTimes,
        indices: np.ndarray,
        transform: CutClip,
        rng: np.random.Generator | None,
    ) -> bool:
        """Plans the clips with these frames, int64 (clips, T), as `transform` would cut them.

        Returns whether they are mirrored.
        """
        flip = False
        for clip in indices:
            self.asked.append((path, times, clip))
            plan, flip = transform.draw(*times.size, rng)
            self.clips.append(EncodedClip([], plan, flip))
        return flip


class EncodedVideoBatch(EncodedBatch):
    """The clips of N samples of videos before they are decoded, each an EncodedVideoSample."""

    def _pictures(self, device: torch.device) -> Iterator[list[list[Tensor]] | str]:
        samples = [sample for sample in self.samples if isinstance(sample, EncodedVideoSample)]

        def decode(path: Place, times: VideoTimes, indices: np.ndarray) -> list[Tensor]:
            return _decode(path, times, indices, device)

        read = TogetherReader(decode, (asked for sample in samples for asked in sample.asked))
        for sample in samples:
            clips: list[list[Tensor]] = []
            try:
                for path, times, indices in sample.asked:
                    clips.append([picture.permute(2, 0, 1) for picture in read(path, times, indices)])
            except FrameError as error:
                yield f"{sample.name}: {error}"
                continue
            yield clips


def _decode(path: Place, times: VideoTimes, indices: np.ndarray, device: torch.device) -> list[Tensor]:
    """Returns frames, uint8 (H, W, 3) on the device. Raises: FrameError."""
    try:
        return list(decode_torchcodec(path, times, indices, device))
    except FrameError as error:
        found = [torch.from_numpy(picture).to(device) for picture in read_pyav(path, times, indices)]
        if not _refused.is_set():
            _refused.set()
            _log.warning("PyAV decodes in the training process, which takes longer, what the GPU refuses: %s", error)
        return found

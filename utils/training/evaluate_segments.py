"""Scores every moment of the videos of a list once, for validation during training and for --evaluate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from utils.errors import FrameError, UserError
from utils.processes import session
from utils.scoring.segment_evaluation import ScoredVideo, SegmentEvaluation
from utils.scoring.segments.moments import class_of_moments
from utils.scoring.segments.reading import HEIGHTS
from utils.scoring.task import POINTS
from utils.training.batch import Batch, on_device
from utils.training.evaluate import ScoredList
from utils.training.precision import Precision


@torch.no_grad()
def evaluate_segments(
    model: nn.Module,
    videos: ScoredList,
    batches: Iterable[Batch],
    *,
    precision: Precision,
    device: torch.device,
    name: str,
) -> SegmentEvaluation:
    """Scores this process's share of `videos` and returns the evaluation of the whole list, the same on all processes.

    batches: each video of this process's share once. name: what is scored, for messages.

    Raises: FrameError when more videos are unreadable than bad_frame_budget allows; UserError if all are.
    """
    model.eval()
    dataset: Any = videos.dataset  # type: ignore[attr-defined]
    task: Any = videos.protocol.task
    found: dict[int, ScoredVideo] = {}
    faults: list[str] = []
    with session.first_buffers(model):  # what is scored is what the checkpoint holds
        for loaded, batch in on_device(batches, device):
            faults.extend(filter(None, batch.faults))
            with precision.autocast():
                said = model(videos.protocol.augment.apply(batch.clips, None))
            for place, index in enumerate(loaded.indices.tolist()):
                if not batch.faults[place]:
                    video = dataset.video(index)
                    scores, segments = task.read(said[place], video)
                    labels = class_of_moments(loaded.labels[place : place + 1], len(scores))[0].numpy()
                    truth = dataset.truth(index, video.seconds)
                    found[index] = ScoredVideo(
                        videos.path(index), video.times, video.seconds, scores, labels, segments, truth
                    )
    gathered = session.gather_objects((found, faults))
    found = {index: video for part, _ in gathered for index, video in part.items()}
    faults = [fault for _, part in gathered for fault in part]
    if len(faults) > videos.common.bad_frame_budget:
        raise FrameError(
            f"{len(faults)} unreadable video(s), allowed are {videos.common.bad_frame_budget}: {'; '.join(faults)}"
        )
    if not found:
        raise UserError("no video could be evaluated")
    return SegmentEvaluation(
        name=name,
        videos=[found[index] for index in sorted(found)],
        class_names=videos.class_names,
        protocol=_protocol_text(videos, len(found), faults),
        faults=faults,
        task=task,
    )


def _protocol_text(videos: ScoredList, count: int, faults: list[str]) -> str:
    """Returns how the numbers came about: windows, what is cut into segments, how many videos."""
    clip = videos.protocol.clip
    height, width = videos.protocol.transform.size
    cut = (
        f"at heights {', '.join(f'{one:g}' for one in HEIGHTS)}" if videos.protocol.task is not POINTS else "of points"
    )
    text = (
        f"windows of {clip.window:g} s every {clip.step:g} s, {clip.num_frames} x {height} x {width}, {clip.sampling} "
        f"sampling; segments {cut} with soft-NMS, {count} videos"
    )
    return f"{text} of {len(videos)}, {len(faults)} unreadable" if faults else text

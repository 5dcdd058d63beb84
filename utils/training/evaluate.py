"""Scores every video of a list once: the one evaluation that validation during training and --evaluate share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from utils.config.schema import Common
from utils.errors import FrameError, UserError
from utils.processes import session
from utils.processes.launch import Rank
from utils.scoring.evaluation import Evaluation
from utils.training.batch import Batch, on_device
from utils.training.folding import fold_batch_norms
from utils.training.precision import Precision


class ScoredList(Protocol):
    """The list of videos that is scored; `datasets.split.Split` is one."""

    @property
    def common(self) -> Common:
        """The config, for its fault budget."""
        ...

    @property
    def protocol(self) -> Any:
        """The protocol by which it is scored, a `datasets.protocol.ClipProtocol`."""
        ...

    @property
    def class_names(self) -> list[str] | None:
        """Names by label."""
        ...

    def __len__(self) -> int: ...

    def eval_batches(self, rank: Rank, network: Any = None) -> Iterable[Batch]:
        """Returns the batches of one process, each video once. network: whose features a cache keeps."""
        ...

    def path(self, index: int) -> str:
        """Returns the path of a video and, behind it, the span of it that is scored."""
        ...


@torch.no_grad()
def evaluate(
    model: nn.Module,
    videos: ScoredList,
    batches: Iterable[Batch],
    *,
    precision: Precision,
    device: torch.device,
    name: str,
) -> Evaluation:
    """Scores this process's share of `videos` and returns the evaluation of the whole list, the same on all processes.

    batches: each video of this process's share once.
    name: what is scored, for messages.

    Raises: FrameError when more videos are unreadable than bad_frame_budget allows; AssertionError when a video was
    scored twice or never.
    """
    model.eval()
    network: nn.Module | None = None  # what scores, once the shape of a clip is known
    protocol, task = videos.protocol, videos.protocol.task
    # a compiled model sees one shape only: smaller batches are filled up
    pad_to = protocol.batch_size if videos.common.compile else 0
    rows: list[tuple[np.ndarray, ...]] = []  # index, label, scores, and hits of single views, of each batch
    faults: list[str] = []
    views = 1
    with session.first_buffers(model):  # what is scored is what the checkpoint holds
        for loaded, batch in on_device(batches, device):
            good = np.array([not fault for fault in batch.faults])
            faults.extend(filter(None, batch.faults))
            clips = protocol.augment.apply(batch.clips, None)
            views = len(clips) // len(batch)
            network = network or _for_scoring(model, clips, precision, compiled=videos.common.compile)
            # a network that trains on may keep what it computes here, such as a table of positions
            with precision.autocast(), torch.inference_mode(network is not model):
                logits = network(_padded(clips, pad_to * views))[: len(clips)]
            hits = task.hits(logits, batch.labels.repeat_interleave(views, 0)).unflatten(1, (len(batch), views))
            scores = protocol.average_views(logits.float().unflatten(0, (len(batch), views)))
            columns = loaded.indices, loaded.labels, scores.cpu(), hits.sum(-1).T.long().cpu()
            rows.append(tuple(column.numpy()[good] for column in columns))
    gathered = session.gather_objects((rows, faults, views))
    faults = [fault for _, part, _ in gathered for fault in part]
    budget = videos.common.bad_frame_budget
    if len(faults) > budget:
        raise FrameError(f"{len(faults)} unreadable video(s), allowed are {budget}: {'; '.join(faults)}")
    rows = [row for part, _, _ in gathered for row in part]
    if not rows:
        raise UserError("no video could be evaluated")
    index, labels, scored, view_hits = (np.concatenate(column) for column in zip(*rows, strict=True))
    assert len(np.unique(index)) == len(index) == len(videos) - len(faults), "each video must be scored exactly once"
    order = np.argsort(index)
    found = Evaluation(
        name=name,
        paths=[videos.path(int(row)) for row in index[order]],
        labels=labels[order],
        scores=scored[order],
        class_names=videos.class_names,
        protocol=_protocol_text(videos, labels, faults),
        view_numbers=_view_numbers(task, labels, view_hits, max(count for _, _, count in gathered)),
        faults=faults,
    )
    return found


def _for_scoring(model: nn.Module, clips: Tensor, precision: Precision, *, compiled: bool) -> nn.Module:
    """Returns the network with folded batch norms where that helps: on a CPU, in float32, uncompiled; else itself.

    A probe stays as it is: its features have the same bits when they come out of a cache.
    """
    if clips.device.type != "cpu" or precision.dtype is not None or compiled or getattr(model, "in_groups", False):
        return model
    return fold_batch_norms(model, clips[:1]).network


def _padded(clips: Tensor, size: int) -> Tensor:
    """Returns clips (B, C, T, H, W), filled up with zeros to `size` of them."""
    if len(clips) >= size:
        return clips
    rows = clips.permute(0, 2, 3, 4, 1)  # pad in memory order, because torch.compile also guards on strides
    rows = torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])])
    return rows.permute(0, 4, 1, 2, 3)


def _view_numbers(task: Any, labels: np.ndarray, hits: np.ndarray, num_views: int) -> dict[str, float]:
    """Returns how often single views are right, in percent; nothing where a video has one view."""
    if num_views == 1:
        return {}
    known = task.known(labels)
    with np.errstate(invalid="ignore"):  # nan where no video has a label
        shares = 100.0 * hits[known].sum(0) / np.float64(known.sum() * num_views)
    return dict(zip(task.view_numbers, shares.tolist(), strict=True))


def _protocol_text(videos: ScoredList, labels: np.ndarray, faults: list[str]) -> str:
    """Returns how the numbers came about: clips x crops, frames x size, what was averaged, how many videos."""
    known = videos.protocol.task.known(labels)
    text = f"{videos.protocol}, {len(labels)} videos"
    if faults:
        text += f" of {len(videos)}, {len(faults)} unreadable"
    if not known.all():
        text += f", {int(known.sum())} with a label"
    if note := videos.protocol.task.note(labels):
        text += f", {note}"
    return text

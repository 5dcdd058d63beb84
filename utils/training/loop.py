"""The two verbs of the framework: `train` and `evaluate`.

Both see a model, a augment that turns a Batch into normalised clips, and loaders; neither knows the config file, the
networks or where frames come from.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from utils.errors import FrameError, UserError
from utils.processes import session
from utils.scoring.task import SINGLE_LABEL, Task, task_for
from utils.training.batch import Batch, on_device
from utils.training.mixup import MixUp
from utils.training.optimizer import set_lr
from utils.training.precision import Precision
from utils.training.state import Listeners, TrainPlan, TrainState
from utils.training.step import Pipeline, Step


@dataclass
class Scores:
    """One row per video that was read, in the order of the list."""

    indices: np.ndarray  # int64 (N,)
    labels: np.ndarray  # int64 (N,), or multi-hot int8 (N, K); -1 where the list has none
    scores: np.ndarray  # float32 (N, K), 0..1: averaged over views, or those of averaged logits
    faults: list[str]  # videos that could not be read
    view_hits: np.ndarray  # int64 (N, 2): views that put the label first, and among the best five, each by itself
    num_views: int  # V, of each video

    @property
    def labelled(self) -> np.ndarray:
        """Which rows have a label, bool (N,)."""
        return task_for(self.labels).known(self.labels)

    @property
    def loss(self) -> float:
        """Mean loss of `scores` over the videos that have a label."""
        return task_for(self.labels).loss(self.scores, self.labels)


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    augment: Pipeline,
    mix_up: MixUp,
    precision: Precision,
    device: torch.device,
    plan: TrainPlan,
    state: TrainState,
    listeners: Listeners,
    task: Task = SINGLE_LABEL,
) -> bool:
    """Runs from `state.step` to the end of the plan; returns False when it was asked to stop before.

    batches: `plan.accumulate` for each remaining step, in order; their gradients add up to one update.
    Raises: FrameError when more videos are unreadable than the budget allows; UserError when the loss is not finite.
    """
    model.train()
    total = len(plan.learning_rates)
    pending: Step | None = None  # the step before, whose numbers have not been fetched from the device yet
    loader = on_device(batches, device)
    while state.step < total:
        began = time.perf_counter()
        step = state.step
        # every random draw on this process, dropout included, follows from (seed, step, rank): nothing to save
        torch.manual_seed(_step_seed(plan.seed, step, session.rank()))
        set_lr(optimizer, float(plan.learning_rates[step]))
        optimizer.zero_grad(set_to_none=True)
        current = Step(step, task)
        buffers = [buffer.clone() for buffer in model.buffers()] if plan.bad_loss_budget else []
        for part in range(plan.accumulate):
            batch = current.fetch(loader)
            _refuse_beyond_budget(batch, state, plan)
            rng = np.random.default_rng([plan.seed, step, session.rank(), part])
            loss = current.forward(model, batch, criterion, augment, mix_up, precision, rng, listeners)
            precision.backward(loss / plan.accumulate)
        # only a budget looks at the loss before the update: looking makes the host wait for the device
        if plan.bad_loss_budget and session.any_rank(not current.is_finite()):
            current.skip(model, buffers, state, plan, listeners)
        else:
            precision.update(optimizer, model, clip_gradient=plan.clip_gradient)
            for updated in listeners.updated:
                updated()
        state.step = step + 1

        if pending is not None:  # fetched now, while the device works on the current step
            pending.settle(state, listeners)
        stopping = session.any_rank(listeners.stop())
        validating = not stopping and _validation_due(step, total, state, plan)
        printing = step % plan.print_freq == 0 or state.step == total
        saving = validating or stopping or state.step == total or state.step % plan.checkpoint_every == 0
        current.seconds = time.perf_counter() - began
        pending = current
        if printing or saving:
            pending.settle(state, listeners)
            pending = None
        if printing:
            listeners.printed(_printed(state, float(plan.learning_rates[step])))
        best = False
        if validating:
            state.last_validation = state.step
            best = listeners.validate()
            model.train()
        if saving:
            listeners.save(best)
        if stopping:
            return state.step == total
    return True


def _validation_due(step: int, total: int, state: TrainState, plan: TrainPlan) -> bool:
    """After step i > 0 when val_freq divides i; at the end, when the last val_freq steps have not been validated."""
    if step > 0 and step % plan.val_freq == 0:
        return True
    return step + 1 == total and (state.last_validation == 0 or step + 1 - state.last_validation >= plan.val_freq - 1)


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _refuse_beyond_budget(batch: Batch, state: TrainState, plan: TrainPlan) -> None:
    """Raises: FrameError when more than bad_frame_budget videos in all are unreadable."""
    faults = [fault for fault in batch.faults if fault]
    if state.bad_videos + len(faults) > plan.bad_frame_budget:
        raise FrameError(
            f"step {state.step}: {state.bad_videos + len(faults)} unreadable video(s), bad_frame_budget is "
            f"{plan.bad_frame_budget}: {'; '.join(faults)}"
        )


def _printed(state: TrainState, lr: float) -> dict[str, float]:
    values = {name: meter.mean for name, meter in state.meters.items()}
    last = {f"{name}_last": meter.last for name, meter in state.meters.items()}
    return values | last | {"lr": lr}


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    augment: Pipeline,
    precision: Precision,
    device: torch.device,
    num_videos: int,
    average: str,
    fault_budget: int = 0,
    pad_to: int = 0,
    task: Task = SINGLE_LABEL,
) -> Scores:
    """Scores every video of this process's shard once and gathers them from all processes, in list order.

    average: "scores" averages the scores of the views of a video, "logits" scores the average of their logits.
    fault_budget: videos that may be unreadable; they get no row.
    pad_to: a smaller batch is filled up with zeros to so many videos, whose scores are dropped: a compiled model then
        sees one shape only.
    Raises: FrameError beyond the budget; AssertionError when a video was scored twice or never.
    """
    model.eval()
    indices: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    hits: list[np.ndarray] = []
    faults: list[str] = []
    views = 1
    for loaded, batch in on_device(batches, device):
        good = np.array([not fault for fault in batch.faults])
        faults.extend(fault for fault in batch.faults if fault)
        clips = augment.apply(batch.clips, None)
        views = len(clips) // len(batch)
        if len(batch) < pad_to:
            rows = clips.permute(0, 2, 3, 4, 1)  # as memory has them: a compiled model looks at strides as well
            rows = torch.cat([rows, rows.new_zeros(pad_to * views - len(rows), *rows.shape[1:])])
            clips = rows.permute(0, 4, 1, 2, 3)
        with precision.autocast():
            logits = model(clips)[: len(batch) * views]
        found = task.hits(logits, batch.labels.repeat_interleave(views, 0)).unflatten(1, (len(batch), views))
        logits = logits.float().unflatten(0, (len(batch), views))  # (N*V, K) -> (N, V, K)
        score = task.probabilities
        averaged = score(logits).mean(1) if average == "scores" else score(logits.mean(1))
        indices.append(loaded.indices.numpy()[good])
        labels.append(loaded.labels.numpy()[good])
        scores.append(averaged.cpu().numpy()[good])
        hits.append(found.sum(-1).T.long().cpu().numpy()[good])
    all_faults = [fault for part in session.gather_objects(faults) for fault in part]
    if len(all_faults) > fault_budget:
        raise FrameError(f"{len(all_faults)} unreadable video(s), allowed are {fault_budget}: {'; '.join(all_faults)}")
    return _ordered(indices, labels, scores, hits, all_faults, num_videos, views)


def _ordered(
    indices: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    hits: Sequence[np.ndarray],
    faults: list[str],
    num_videos: int,
    views: int,
) -> Scores:
    parts = session.gather_objects([*zip(indices, labels, scores, hits, strict=True)])
    rows = [row for part in parts for row in part]
    if not rows:
        raise UserError("no video could be evaluated")
    index, label, score, hit = (np.concatenate(column) for column in zip(*rows, strict=True))
    assert len(np.unique(index)) == len(index) == num_videos - len(faults), "each video must be scored exactly once"
    order = np.argsort(index)
    index, label, score, hit = index[order], label[order], score[order], hit[order]
    return Scores(index, label, score, faults, hit, max(session.gather_objects(views)))

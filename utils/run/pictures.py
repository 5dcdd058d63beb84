"""Pictures and histograms of a training run in events/: what the network sees, what it mixes up, how its weights move.

Nothing in here draws a random number or changes what it is shown, so a run that is watched is the same run.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from utils.config.schema import Common
from utils.run.folder import RunFolder
from utils.scoring.metrics import confusion_matrix
from utils.scoring.result_files import Evaluation
from utils.scoring.task import SINGLE_LABEL, in_words, task_for
from utils.training.batch import Batch
from utils.training.mixup import Mix
from utils.training.state import TrainState
from utils.transforms.augment import Augment

MOST_FRAMES = 8  # of a clip, spread over it
HIGHEST = 160  # pixels; larger frames are shown smaller
MOST_CLASSES = 40  # of a confusion matrix, those with the most errors
MOST_VALUES = 10_000  # of a histogram, evenly spread over the tensor


class Watch:
    """What a training run shows of itself besides numbers; `common.watch` says how much.

    augment: what normalised the clips. names: of the classes, None where nobody knows them.
    """

    def __init__(
        self,
        common: Common,
        folder: RunFolder,
        model: nn.Module,
        state: TrainState,
        *,
        augment: Augment,
        names: Sequence[str] | None,
    ) -> None:
        self._wanted, self._every = common.watch, common.val_freq
        self._folder, self._model, self._state = folder, model, state
        self._pipeline, self._names = augment, names or [str(label) for label in range(common.model.num_class)]
        self._shown: int | None = None  # the step whose batch was shown last

    def batch(self, clips: Tensor, batch: Batch, mix: Mix | None) -> None:
        """A contact sheet of the first clips of a batch, at the first step after a start and every val_freq steps."""
        step, count = self._state.step, min(self._wanted.clips, len(batch))
        due = self._shown is None or (step % self._every == 0 and step != self._shown)
        if not (self._folder.records and count and due):
            return
        from utils.plots.contact_sheet import (
            sheet,  # half a second of matplotlib, which only a run that draws has to spend
        )

        self._shown = step
        frames = np.unique(np.linspace(0, clips.shape[2] - 1, min(MOST_FRAMES, clips.shape[2])).round().astype(int))
        shrink = -(-clips.shape[3] // HIGHEST)
        chosen = clips[:count, :, frames.tolist(), ::shrink, ::shrink].detach()
        pictures = self._pipeline.pixels(chosen).cpu().numpy()
        rows = list(zip(self._captions(batch, mix), pictures, strict=False))  # pictures of the first clips only
        self._folder.picture(step, "pictures/batch", sheet(rows))

    def confusion(self, step: int, result: Evaluation) -> None:
        """The confusion matrix of a validation, if videos have one class each and any is known."""
        one_class = task_for(result.labels) is SINGLE_LABEL and SINGLE_LABEL.known(result.labels).any()
        if not (self._folder.records and self._wanted.confusion and one_class):
            return
        from utils.plots.confusion_plot import confusion_png, most_confused

        num_class = result.scores.shape[1]
        counts = confusion_matrix(result.scores.argmax(axis=1), result.labels, num_class=num_class)
        shown = most_confused(counts, MOST_CLASSES)
        title = f"step {step}: {np.trace(counts)} of {counts.sum()} videos right"
        if len(shown) < num_class:
            title += f"; the {len(shown)} of {num_class} classes with the most errors"
        png = confusion_png(counts, list(self._names), title=title, shown=shown)
        self._folder.picture(step, "pictures/confusion", Image.open(io.BytesIO(png)))

    def updated(self) -> None:
        """After a step's update: histograms, where they are asked for."""
        every, step = self._wanted.histograms, self._state.step
        if not (self._folder.records and every and step % every == 0):
            return
        for name, weight in self._model.named_parameters():
            for kind, tensor in (("weights", weight), ("gradients", weight.grad)):
                values = None if tensor is None else _sampled(tensor)
                if values is not None and len(values):
                    self._folder.histogram(step, f"{kind}/{name}", values)

    def _captions(self, batch: Batch, mix: Mix | None) -> list[str]:
        """For each clip its class; both classes with their shares where clips are mixed; or why it is unreadable."""
        own = [in_words(label, self._names) for label in batch.labels.cpu().numpy()]
        others = own
        if mix is not None:
            others = [in_words(label, self._names) for label in mix.partners(batch.labels).cpu().numpy()]
        captions = []
        for text, other, fault in zip(own, others, batch.faults, strict=True):
            if mix is not None:
                text = f"{mix.lam:.0%} {text}, {1 - mix.lam:.0%} {other}"
            captions.append(f"unreadable: {fault}" if fault else text)
        return captions


def _sampled(value: Tensor) -> np.ndarray:
    """float32 (at most MOST_VALUES,): evenly spread finite values of a tensor."""
    flat = value.detach().reshape(-1)
    flat = flat[:: -(-len(flat) // MOST_VALUES) or 1].to(torch.float32).cpu()
    return flat[flat.isfinite()].numpy()

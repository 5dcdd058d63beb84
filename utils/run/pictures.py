"""Draws pictures and histograms of a training run into events/: what the network sees, confuses, and how weights move.

Nothing in here draws a random number or changes what it is shown, so a run that is watched is the same run.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from utils.processes.sharded import gathered
from utils.run.folder import RunFolder
from utils.scoring.evaluation import Evaluation
from utils.scoring.metrics import confusion_matrix
from utils.scoring.task import SINGLE_LABEL, in_words
from utils.training.trainer import Step, Trainer

MOST_FRAMES = 8  # of a clip, evenly spread
HIGHEST = 160  # pixels; larger frames are drawn smaller
MOST_CLASSES = 40  # of a confusion matrix: those with the most errors
MOST_VALUES = 10_000  # of a histogram, evenly spread over the tensor


class EventPictures:
    """Draws what the config's `watch` asks for, on the first process of a training run; all processes must call it.

    names: the names of the classes; None if they are unknown.
    """

    def __init__(self, folder: RunFolder, trainer: Trainer, names: Sequence[str] | None) -> None:
        self._folder, self._trainer, self._wanted = folder, trainer, trainer.common.watch
        self._names = names or [str(label) for label in range(trainer.common.model.num_class)]

    def draw(self, step: Step) -> None:
        """Draws a contact sheet of the clips that the step kept, and histograms where they are due."""
        if self._folder.records and step.clips is not None:
            self._batch(step, step.clips)
        every = self._wanted.histograms
        if every and step.number % every == 0 and not step.skipped:
            self._histograms(step.number)

    def _batch(self, step: Step, clips: Tensor) -> None:
        from utils.plots.contact_sheet import sheet  # half a second of matplotlib, spent only by a run that draws

        frames = np.unique(np.linspace(0, clips.shape[2] - 1, min(MOST_FRAMES, clips.shape[2])).round().astype(int))
        shrink = -(-clips.shape[3] // HIGHEST)
        chosen = clips[: self._wanted.clips, :, frames.tolist(), ::shrink, ::shrink].detach()
        pictures = self._trainer.data.protocol.augment.pixels(chosen).cpu().numpy()
        rows = list(zip(self._captions(step), pictures, strict=False))  # there are captions for the whole batch
        self._folder.picture(step.number, "pictures/batch", sheet(rows))

    def confusion(self, step: Step, evaluation: Evaluation) -> None:
        """Draws the confusion matrix of a validation, if videos have one class each and any label is known."""
        one_class = evaluation.task is SINGLE_LABEL and evaluation.labelled.any()
        if not (self._folder.records and self._wanted.confusion and one_class):
            return
        from utils.plots.confusion_plot import confusion_png, most_confused

        num_class = len(self._names)
        counts = confusion_matrix(evaluation.predicted, evaluation.labels, num_class=num_class)
        shown = most_confused(counts, MOST_CLASSES)
        title = f"step {step.number}: {np.trace(counts)} of {counts.sum()} videos right"
        if len(shown) < num_class:
            title += f"; the {len(shown)} of {num_class} classes with the most errors"
        png = confusion_png(counts, list(self._names), title=title, shown=shown)
        self._folder.picture(step.number, "pictures/confusion", Image.open(io.BytesIO(png)))

    def _histograms(self, number: int) -> None:
        for name, weight in self._trainer.model.named_parameters():
            for kind, tensor in (("weights", weight), ("gradients", weight.grad)):
                drawn = gathered(tensor)  # by all processes
                values = None if drawn is None or not self._folder.records else _sampled(drawn)
                if values is not None and len(values):
                    self._folder.histogram(number, f"{kind}/{name}", values)

    def _captions(self, step: Step) -> list[str]:
        """Returns for each clip its class, or both classes with their shares, or why the clip is unreadable."""
        batch, mix = step.batch, step.mix
        assert batch is not None
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
    """Returns at most MOST_VALUES finite values of a tensor, evenly spread, float32."""
    flat = value.detach().reshape(-1)
    flat = flat[:: -(-len(flat) // MOST_VALUES) or 1].to(torch.float32).cpu()
    return flat[flat.isfinite()].numpy()

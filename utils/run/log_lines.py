"""Writes what a run says about itself: lines of log.txt, scalars of events/, records of metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from utils.run.folder import RunFolder
from utils.run.progress import duration
from utils.run.stop import StopEarly
from utils.scoring.evaluation import Evaluation
from utils.scoring.result_files import write_results
from utils.scoring.segment_evaluation import SegmentEvaluation
from utils.training.trainer import Step, Trainer

FIELDS = [("Time", "time", 3), ("Data", "data", 3), ("Loss", "loss", 4)]
FIVE = 5
AMONG_FIVE = {"acc5", "hit5"}  # whether one of the five best is right, which it always is among FIVE classes or fewer


def record_step(folder: RunFolder, trainer: Trainer, step: Step, store: Mapping[str, int]) -> None:
    """Records what a step left out and, every print_freq steps, the means since the last time.

    store: where the frames of a cache came from (hits, misses, ...) since the start, over the workers of this process;
    these counts and the share of hits get a line and scalars of their own.
    """
    for text in step.left_out:
        folder.warn(f"left out: {text}")
    for text in step.notes:
        folder.log(text)
    if not step.prints:
        return
    meters, counted = trainer.state.meters, trainer.task.train_numbers
    folder.write([train_line(trainer, step)])
    folder.show(train_row(trainer, step))
    means = {name: meters[name].mean for name in ("loss", *counted)}
    folder.scalars(step.number, {f"{name}_train": mean for name, mean in means.items()} | {"lr": step.lr})
    if store:
        rate = store.get("hits", 0) / max(1, sum(store.values()))
        folder.log(f"store: hit rate {rate:.1%}, " + ", ".join(f"{name} {count}" for name, count in store.items()))
        folder.scalars(
            step.number, {"store/hit_rate": rate} | {f"store/{name}": count for name, count in store.items()}
        )
    times = {name: meters[name].mean for name in ("time", "data")}
    record = {"kind": "train", "step": step.number} | means | {"lr": step.lr} | times
    folder.metrics(record | {"seconds": trainer.state.seconds})


def train_line(trainer: Trainer, step: Step) -> str:
    """Returns the original project's line: each meter's newest value and, in brackets, its mean."""
    meters = trainer.state.meters
    counted = [(title, name, 3) for name, title in trainer.task.train_numbers.items()]
    fields = [
        f"{title} {meters[name].last:.{digits}f} ({meters[name].mean:.{digits}f})"
        for title, name, digits in (*FIELDS, *counted)
    ]
    return "\t".join([f"Iter: [{step.number}/{len(trainer.rates)}]", *fields, f"LR {step.lr:.6f}"])


def train_row(trainer: Trainer, step: Step) -> str:
    """Returns what a terminal shows of a training line, the means, in one row of about 100 characters."""
    meters, titles = trainer.state.meters, trainer.task.train_numbers
    means = [f"{title} {meters[name].mean:.3f}" for title, name, _ in FIELDS]
    telling = _telling(titles, trainer.common.model.num_class)
    means += [f"{titles[name]} {meters[name].mean:.1f}" for name in telling]
    return " ".join([f"Iter: [{step.number}/{trainer.total}]", *means, f"LR {step.lr:.6f}"])


def record_validation(folder: RunFolder, step: Step, evaluation: Evaluation | SegmentEvaluation) -> None:
    """Records a validation that ran after a step."""
    number = step.number
    folder.write([f"step {number} {validation_line(evaluation)}"])
    folder.show(f"step {number} {validation_row(evaluation)}")
    charted = {f"{name}_val": evaluation.numbers[name] for name in evaluation.task.charted}
    folder.scalars(number, {"loss_val": evaluation.loss} | charted)
    counted = evaluation.numbers | dict(evaluation.view_numbers)
    record = {"kind": "val", "step": number, "loss": evaluation.loss} | counted
    folder.metrics(record | {"protocol": evaluation.protocol})


def record_evaluation(folder: RunFolder, evaluation: Evaluation | SegmentEvaluation) -> None:
    """Writes the results of an evaluation into the experiment's folder."""
    folder.log(validation_line(evaluation))
    if folder.is_writer:
        if isinstance(evaluation, SegmentEvaluation):
            written = evaluation.write(folder.path)
        else:
            written = write_results(
                folder.path,
                paths=evaluation.paths,
                labels=evaluation.labels,
                scores=evaluation.scores,
                class_names=evaluation.class_names,
                protocol=evaluation.protocol,
            )
        folder.log(f"written: {', '.join(map(str, written))}")


def end_line(trainer: Trainer, stop: StopEarly, *, validated: bool) -> str:
    """Returns how a training run ended."""
    state = trainer.state
    if not trainer.is_done and trainer.common.solves:
        return f"{stop} before its only step was done: the same command begins it again"
    if not trainer.is_done:
        return f"{stop} after {state.step} steps: checkpoint written, the same command continues from it"
    best = f", best {trainer.task.best_by} {state.best_prec1:.3f} at step {state.best_step - 1}"
    if not validated or not state.best_step:
        best = ""
    early = ""
    if state.step < trainer.total:
        early = f", ended early: no better validation in the last {state.since_best} (patience)"
    return f"done: {state.step} step{'s' * (state.step != 1)} in {duration(state.seconds)}{best}{early}"


def validation_line(evaluation: Evaluation | SegmentEvaluation) -> str:
    """Returns the line of an evaluation, the same for validation during training and --evaluate."""
    if math.isnan(evaluation.loss):
        return f"predictions only, no video has a label ({evaluation.protocol})"
    task = evaluation.task
    videos = _titled(evaluation.numbers, task.val_numbers)
    views = "".join(f"{text} " for text in _titled(evaluation.view_numbers, task.view_numbers))
    return f"validation: {' '.join(videos)} Loss {evaluation.loss:.4f} {views}({evaluation.protocol})"


def validation_row(evaluation: Evaluation | SegmentEvaluation) -> str:
    """Returns what a terminal shows of a validation during training, where the protocol stays the same."""
    assert evaluation.scores is not None  # a network has just scored the videos
    numbers = {name: evaluation.numbers[name] for name in _telling(evaluation.numbers, evaluation.scores.shape[1])}
    return f"validation: {' '.join(_titled(numbers, evaluation.task.val_numbers))} Loss {evaluation.loss:.4f}"


def _telling(names: Iterable[str], num_class: int) -> list[str]:
    return [name for name in names if num_class > FIVE or name not in AMONG_FIVE]


def _titled(numbers: Mapping[str, float], titles: Mapping[str, str]) -> list[str]:
    return [f"{titles[name]} {number:.3f}" for name, number in numbers.items()]

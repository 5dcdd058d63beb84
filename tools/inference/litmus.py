"""Scores a list under conditions that take something away from its clips, for tools/litmus.py."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.loader import EvalShard, make_loader
from datasets.split import Split, open_split
from networks.checkpoints.load import other_classes
from tools.inference import conditions
from tools.inference.recognizer import Recognizer, load_from_arguments
from utils.cli import Progress
from utils.errors import UserError
from utils.files import atomic_write, check_place
from utils.scoring.needs import (
    AS_IT_IS,
    BACKGROUND,
    NEEDS_ORDER,
    NOT_RECOGNISED,
    SINGLE,
    SWAPPED,
    UNCLEAR,
    VERDICTS,
    ClassNeeds,
    Range,
    needs_of_classes,
)
from utils.training.batch import Batch

LENDERS = 64  # classes that lend their backgrounds, at most
SEED = 0
NAMES = (AS_IT_IS, *conditions.CONDITIONS, SINGLE, BACKGROUND, SWAPPED)


def run(args: argparse.Namespace) -> int:
    """Scores the list, prints what its classes need, and writes it to --json."""
    if args.json:
        check_place(args.json)
    recognizer = load_from_arguments(args)
    _refuse_what_cannot_be_tested(recognizer)
    split = _opened(recognizer, args)
    labels = np.asarray(split.labels)
    rows = chosen(labels, args.per_class)
    predicted, lent, faults = _Trial(recognizer, split, labels, args.batch_size).answers(rows, workers=args.workers)
    found = needs_of_classes(labels[rows], predicted, lent, num_class=recognizer.num_class)
    about = {
        "checkpoint": str(args.checkpoint),
        **recognizer.saved,
        "list": str(args.list),
        "protocol": str(split.protocol),
        "videos": len(rows),
        "evaluations": evaluations(recognizer),
        "faults": faults,
        "right": {name: _share(answers, labels[rows]) for name, answers in predicted.items()},
        "classes": [asdict(one) | {"name": recognizer.name(one.label)} for one in found],
    }
    print("\n".join(lines(about, found, [recognizer.name(one.label) for one in found])))
    if args.json:
        with atomic_write(args.json) as file:
            file.write(json.dumps(about, indent=1).encode())
    return 0


def _refuse_what_cannot_be_tested(recognizer: Recognizer) -> None:
    recognizer.refuse_whole_videos()
    clip = recognizer.protocol.clip
    if recognizer.common.multi_label:
        raise UserError(f"{recognizer.path}: its videos show several classes; the test is for one class per video")
    if clip.modality != "rgb":
        raise UserError(f"{recognizer.path}: sees {clip.modality}, which is motion already; the test is for RGB frames")
    if clip.num_pictures == 1:
        raise UserError(f"{recognizer.path}: sees one frame, so it cannot see time")


def evaluations(recognizer: Recognizer) -> int:
    """Returns how often each view of a video goes through the network, if its background can be separated."""
    single = 0  # of a network that looks at frames one by one, the answers for the clip as it is
    if not recognizer.method.averages_frames:
        single = len(conditions.single_frames(recognizer.protocol.clip.num_pictures))
    return len(NAMES) - 1 + single


def _opened(recognizer: Recognizer, args: argparse.Namespace) -> Split:
    root = args.root or args.list.resolve().parent.parent
    common = recognizer.common
    given = {"val_source": str(args.list), "val_root": str(root), "workers": args.workers}
    data = common.data.model_copy(update={"feature_cache": None, "decode": "cpu"})
    split = open_split(common.model_copy(update=given | {"data": data}), "val", recognizer.protocol)
    if others := other_classes(recognizer.class_names, split.class_names):
        raise UserError(f"{args.list}: {recognizer.path} does not fit: {others}")
    return split


def chosen(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Returns the rows of the videos that are scored, at most `per_class` of each class, drawn but the same each time.

    Raises: UserError if no video has a label.
    """
    rng = np.random.default_rng(SEED)
    rows = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels[labels >= 0])]
    if not rows:
        raise UserError("no video of the list has a label")
    return np.sort(np.concatenate(rows))


class _Trial:
    """Runs a network over the videos of a list under each condition."""

    def __init__(self, recognizer: Recognizer, split: Split, labels: np.ndarray, batch_size: int) -> None:
        self.recognizer, self.split, self.labels, self.batch_size = recognizer, split, labels, batch_size
        self.lenders: dict[int, Tensor] = {}  # row of a video -> its background (C, 1, H, W)

    def answers(self, rows: np.ndarray, *, workers: int) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
        """Returns the answers by condition, the classes of the backgrounds that were lent, and what was unreadable.

        Answers are int64 (len(rows),), -1 where a condition was not possible or the video could not be read.
        """
        self._borrow(rows, workers)
        found = {name: np.full(len(rows), -1) for name in NAMES}
        lent, faults = np.full(len(rows), -1), list[str]()
        places = {int(row): place for place, row in enumerate(rows)}
        with Progress(len(rows), unit="videos") as progress:
            for batch in self._batches(rows, workers):
                at = [places[int(row)] for row in batch.indices]
                good = torch.tensor([not fault for fault in batch.faults])
                faults += filter(None, batch.faults)
                for name, answers in self._under_each(batch, lent, at):
                    known = (answers >= 0) & good.numpy()
                    found[name][np.array(at)[known]] = answers[known]
                progress.advance(len(batch))
        budget = self.split.common.bad_frame_budget
        if len(faults) > budget:
            raise UserError(f"{len(faults)} unreadable video(s), allowed are {budget}: {'; '.join(faults[:3])}")
        return found, lent, faults

    def _batches(self, rows: Sequence[int] | np.ndarray, workers: int) -> Iterator[Batch]:
        views = self.split.dataset.shape[0]
        shard = EvalShard(len(rows), max(1, self.batch_size // views))
        shard.indices = [int(row) for row in rows]
        yield from make_loader(self.split.dataset, shard, workers=workers)

    def _borrow(self, rows: np.ndarray, workers: int) -> None:
        """Notes the background of one video of each class, of some classes where there are many."""
        rng = np.random.default_rng(SEED)
        classes = np.unique(self.labels[rows])
        some = rng.permutation(classes)[:LENDERS]
        lenders = [int(rng.choice(rows[self.labels[rows] == label])) for label in some]
        for batch in self._batches(sorted(lenders), workers):
            behind = conditions.background(batch.clips)
            possible = conditions.separable(conditions.moving(batch.clips, behind))
            for row, fault, fits, video in zip(batch.indices.tolist(), batch.faults, possible, behind, strict=True):
                if fits and not fault:
                    self.lenders[row] = video[0].clone()  # of the first view

    def _under_each(self, batch: Batch, lent: np.ndarray, at: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
        """Yields each condition with the answers (N,), and notes in `lent` whose backgrounds were lent."""
        clips, rows = batch.clips, batch.indices.tolist()
        plain = self._logits(clips)
        yield AS_IT_IS, self._answer(plain)
        for name, change in conditions.CONDITIONS.items():
            yield name, self._answer(self._logits(change(clips, rows)))
        if self.recognizer.method.averages_frames:
            yield SINGLE, self._answer(plain)  # it looks at them one by one anyway
        else:
            frames = conditions.single_frames(clips.shape[conditions.TIME])
            each = [self._logits(conditions.still(clips, frame)) for frame in frames]
            yield SINGLE, self._answer(torch.stack(each).mean(0))
        behind = conditions.background(clips)
        mask = conditions.moving(clips, behind)
        possible = conditions.separable(mask).numpy()
        yield BACKGROUND, np.where(possible, self._answer(self._logits(behind.expand_as(clips))), -1)
        others = [self._lender(row) for row in rows]
        possible &= np.array([other is not None for other in others])
        if possible.any():
            stand_in = torch.stack([behind[0, 0] if other is None else self.lenders[other] for other in others])
            answers = self._answer(self._logits(conditions.in_front_of(clips, mask, stand_in[:, None])))
            for place, other, fits in zip(at, others, possible, strict=True):
                if fits and other is not None:
                    lent[place] = self.labels[other]
            yield SWAPPED, np.where(possible, answers, -1)

    def _lender(self, row: int) -> int | None:
        """Returns a video of another class whose background is known; None without such a class."""
        others = [other for other in self.lenders if self.labels[other] != self.labels[row]]
        return int(np.random.default_rng([SEED, row]).choice(others)) if others else None

    @torch.inference_mode()
    def _logits(self, clips: Tensor) -> Tensor:
        """Runs the network over clips (N, V, C, T, H, W) -> logits (N, V, K)."""
        ours = self.recognizer
        found = []
        for view in clips.flatten(0, 1).split(self.batch_size):
            ready = ours.protocol.augment.apply(view[None].to(ours.device), None)
            found.append(ours.folded.network(ready).float().cpu())
        return torch.cat(found).unflatten(0, clips.shape[:2])

    def _answer(self, logits: Tensor) -> np.ndarray:
        """Returns the best class of logits (N, V, K), averaged over views as in an evaluation."""
        scores = self.recognizer.finite(self.recognizer.protocol.average_views(logits), "scores")
        return scores.argmax(-1).numpy()


def _share(answers: np.ndarray, labels: np.ndarray) -> float | None:
    """Returns the percentage of right answers where there is an answer; None without any."""
    known = answers >= 0
    return 100.0 * float((answers[known] == labels[known]).mean()) if known.any() else None


def lines(about: dict[str, Any], found: Sequence[ClassNeeds], names: Sequence[str]) -> list[str]:
    """Returns the report as text."""
    right = about["right"]
    rows = [[name, "not possible" if share is None else f"{share:.1f} %"] for name, share in right.items()]
    shown = [
        [
            name,
            one.verdict,
            str(one.videos),
            _text(one.right),
            *(_text(one.lost.get(condition)) for condition in ("shuffled", "reversed", SINGLE)),
            "yes" if one.still else "",
        ]
        for one, name in zip(found, names, strict=True)
    ]
    titles = ["class", "verdict", "videos", "right", "lost: shuffled", "reversed", SINGLE, "known by what stands still"]
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in VERDICTS}
    return [
        f"{about['videos']} videos of {len(found)} classes, each evaluated {about['evaluations']} times",
        about["protocol"],
        *_aligned([["clips", "right"], *rows]),
        "",
        *_aligned([titles, *shown]),
        "",
        ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count),
        *_warnings(found, names, counts),
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns rows of a table as lines with columns of one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _text(share: Range | None) -> str:
    return "" if share is None else f"{share.value:.0f} ({share.low:.0f} to {share.high:.0f})"


def _warnings(found: Sequence[ClassNeeds], names: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Returns what a user should know: cues that stand still, and that no class needs order, where that is sure."""
    still = [name for one, name in zip(found, names, strict=True) if one.still]
    chance = 100 / max(len(found), 2)
    led = [n for one, n in zip(found, names, strict=True) if one.follows and one.follows.low > 2 * chance]
    open_or_ordered = counts[NEEDS_ORDER] + counts[UNCLEAR] + counts[NOT_RECOGNISED]
    said = [] if open_or_ordered else ["no class needs the order of its frames"]
    if still:
        said.append(f"recognised by what stands still alone: {_some(still)}")
    if led:
        said.append(f"taken for the class whose background they were put in front of: {_some(led)}")
    return said


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

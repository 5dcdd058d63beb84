"""Joins the motions of motion8 to films in which something happens at known times, for `make_motion8 --films`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datasets.spans.files import write_spans
from datasets.spans.span import LabeledVideo, Span, SpanTable
from tools.dumping.make_motion8 import CLASSES, FPS, NUM_FRAMES, PAIRS, Clip, encode, render
from utils.errors import UserError
from utils.files import whole_folder

SPANS = "spans.csv"  # written last, so a folder without it is not finished
MOST_CLIPS = 3  # of one action, each with a texture of its own
BACKGROUND = 20, 60  # fewest and most frames
SHARE = 0.75  # of the actions have background behind them
_FIRST_GROUP = 1_000_000  # textures of films are in no clip of motion8
_DRAWS = 0xF117


@dataclass(frozen=True)
class Film:
    """One film: `number` counts from 0 over both subsets, `frames` is its length."""

    number: int
    subset: str
    frames: int
    seed: int

    @property
    def name(self) -> str:
        """Path of the video, relative to the dataset."""
        return f"{self.subset}/film_{self.number:03d}.mp4"


@dataclass(frozen=True)
class Shot:
    """A stretch of a film.

    label: its class, "" for background. pair, member: the motion that its frames come from.
    shuffled: whether the frames of a background come in a random order, in place of one that stands still.
    """

    frames: int
    label: str
    pair: int
    member: int
    shuffled: bool = False


def shots(film: Film) -> list[Shot]:
    """Draws what a film shows: actions of one to MOST_CLIPS clips, and background behind most of them.

    Two actions without background between them are of different classes. The last shot is background to the end.
    """
    rng = np.random.default_rng([film.seed, film.number, _DRAWS])
    found: list[Shot] = [_background(rng)]
    while True:
        pair, member, clips = (int(rng.integers(most)) for most in (len(PAIRS), 2, MOST_CLIPS))
        label = PAIRS[pair][member]
        if label == found[-1].label:
            continue
        action = Shot((clips + 1) * NUM_FRAMES, label, pair, member)
        added = [action, _background(rng)] if rng.random() < SHARE else [action]
        rest = film.frames - sum(shot.frames for shot in found)
        if sum(shot.frames for shot in added) > rest:
            return [*found, Shot(rest, "", pair, member, bool(rng.integers(2)))] if rest else found
        found += added


def _background(rng: np.random.Generator) -> Shot:
    low, high = BACKGROUND
    pair, member = int(rng.integers(len(PAIRS))), int(rng.integers(2))
    return Shot(int(rng.integers(low, high + 1)), "", pair, member, bool(rng.integers(2)))


def spans(film: Film) -> Iterator[tuple[str, float, float]]:
    """Yields label, start and end in seconds of the actions of a film."""
    first = 0
    for shot in shots(film):
        if shot.label:
            yield shot.label, first / FPS, (first + shot.frames) / FPS
        first += shot.frames


def draw(film: Film) -> np.ndarray:
    """Draws the frames of a film, uint8 (T, H, W, 3), RGB.

    Background is made of the frames of motions, too: one of them stands still, or they come in a random order. So no
    single frame tells whether something happens.
    """
    rng = np.random.default_rng([film.seed, film.number, _DRAWS, 1])
    group, parts = _FIRST_GROUP + 1000 * film.number, []
    for shot in shots(film):
        motions = []
        for _ in range(-(-shot.frames // NUM_FRAMES)):
            group += 1
            motion = render(Clip(shot.pair, group, film.seed))
            motions.append(motion[::-1] if shot.member else motion)
        frames = np.concatenate(motions)[: shot.frames]
        if not shot.label:
            frames = rng.permutation(frames) if shot.shuffled else np.repeat(frames[:1], len(frames), axis=0)
        parts.append(frames)
    return np.concatenate(parts)


def make_film(root: Path, film: Film) -> None:
    """Writes one film."""
    cv2.setNumThreads(0)
    encode(draw(film), root / film.name)


def run(args: argparse.Namespace) -> int:
    """Makes the films and the table of their spans; does nothing where they are already. Returns the exit code."""
    out: Path = args.out
    if (out / SPANS).is_file():
        print(f"{out} already exists; remove it to make it again")
        return 0
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not finished; give another folder or remove it")
    subsets = ["train"] * args.train + ["val"] * args.val
    films = [Film(number, subset, round(args.seconds * FPS), args.seed) for number, subset in enumerate(subsets)]
    with whole_folder(out) as building:
        for subset in dict.fromkeys(subsets):
            (building / subset).mkdir()
        with ProcessPoolExecutor(args.workers) as pool:
            for _ in pool.map(make_film, [building] * len(films), films):
                pass
        labelled = [
            LabeledVideo(
                film.name, tuple(Span(start, end, label) for label, start, end in spans(film)), subset=film.subset
            )
            for film in films
        ]
        write_spans(SpanTable(tuple(labelled), tuple(sorted(CLASSES))), building / SPANS, "csv")
    print(
        f"wrote {args.train} training and {args.val} validation films of {args.seconds:g} s to {out}\n"
        f"next: python -m tools.spans {out / SPANS} --videos {out} --lists {out / 'lists'}"
    )
    return 0

"""Loads a trained network and recognises what a video shows.

A checkpoint is enough: the config in it names the network and its test protocol (datasets/protocol.py), which decides
how a video is cut into views and how their scores are averaged. Every command for trained networks works through here.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from datasets.protocol import clip_protocol
from datasets.videos.video import Counted, TimedFrame
from datasets.windows import LONG, WindowClips, check_no_gaps, cut_video, sliding, window_and_step
from methods.build import build_for_file
from methods.weights import fill_for_scoring
from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.checkpoints.layouts.ours import LAYOUT
from tools.importing.convert_checkpoint import class_names_for
from tools.importing.own_config import config_of
from tools.inference.arguments import BATCH_SIZE, DEFAULT_FPS, TOPK
from tools.inference.features import Features, Layer, Pool
from tools.inference.inputs import FlowInput, Input, Source, open_input
from tools.inference.network import TrainedNetwork
from tools.inference.prediction import FramePrediction, Prediction, Timeline, WindowPrediction, collected
from tools.inference.shared_frames import ScoredWindow, shared_frames, shares_frames
from tools.inference.streaming import stream_frames, streaming_network
from tools.inference.whole_timeline import whole_timeline
from utils.config.file import load_config, stored_config
from utils.errors import ConfigError, FrameError, UserError
from utils.run.checkpoint import saved_as


class Recognizer(TrainedNetwork):
    """Recognises what videos show with a trained network, by the protocol of its evaluation."""

    def predict(
        self,
        video: Source,
        *,
        topk: int = TOPK,
        batch_size: int = BATCH_SIZE,
        window: float | None = None,
        step: float | None = None,
        fps: float = DEFAULT_FPS,
    ) -> Prediction:
        """Scores a video.

        A short video gets the scores that `main.py --evaluate` gives it. If it lasts a minute or longer, or if `window`
        or `step` is given, windows slide over it, and its scores are their mean.

        video: path of a video or of a folder of numbered frames, or frames in memory: uint8 RGB (T, H, W, 3).
        topk: number of classes in `top`.
        batch_size: clips in one forward pass.
        window, step: seconds of a window, and from one window to the next; see `windows`.
        fps: frame rate of a folder of frames and of frames in memory.
        Raises: FrameError when nothing in it can be decoded; CheckpointError when the scores are not numbers.
        """
        _check_positive(topk=topk, batch_size=batch_size, window=window, step=step, fps=fps)
        source = self._open(video, fps, ends=True)
        if window is None and step is None and (source.num_frames or 0) / source.fps < LONG:
            counted, scores = self._whole(source, batch_size)
            timeline: list[WindowPrediction] = []
            windows = ""
        else:
            counted, ends, rows = self._all_windows(source, batch_size, window, step)
            pairs = zip(ends.tolist(), rows, strict=True)
            timeline = [WindowPrediction(start, end, self.top(row, topk), row) for (start, end), row in pairs]
            windows = self.describe_windows(source.fps, window)
            scores = rows.mean(axis=0, dtype=np.float64)
        return Prediction(
            path=source.name,
            seconds=counted.time + 1 / source.fps,
            num_frames=counted.number,
            top=self.top(scores, topk),
            scores=scores.astype(np.float32),
            timeline=timeline,
            windows=windows,
            warnings=list(source.warnings),
        )

    def scores(self, frames: Source, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Returns the scores of a video whose decoded frames are in memory, float32 (K,), by the test protocol.

        frames: uint8 RGB (T, H, W, 3), all frames of the video.
        Raises: FrameError for other frames, or none.
        """
        _check_positive(batch_size=batch_size)
        return self._whole(self._open(frames, DEFAULT_FPS, ends=True), batch_size)[1]

    def windows(
        self,
        source: Source,
        *,
        topk: int = TOPK,
        batch_size: int = BATCH_SIZE,
        window: float | None = None,
        step: float | None = None,
        fps: float = DEFAULT_FPS,
    ) -> Iterator[WindowPrediction]:
        """Yields the prediction for each window that slides over a video, a camera or any iterable of frames.

        A window is cut like a video of its own and comes as soon as there are `batch_size` clips to score. A network
        that averages frames, as TSN does, computes each frame once, and windows share its logits.

        window: seconds; by default what the network was trained to look at, see `usual_window`.
        step: seconds from one window to the next; by default half a window. The last one ends with the video.
        Raises: FrameError when nothing can be decoded; CheckpointError when the scores are not numbers.
        """
        _check_positive(topk=topk, batch_size=batch_size, window=window, step=step, fps=fps)
        video = self._open(source, fps)
        return self._predictions(video, video.frames(), topk, batch_size, window, step)

    def timeline(
        self,
        video: Source,
        *,
        window: float | None = None,
        step: float | None = None,
        batch_size: int = BATCH_SIZE,
        fps: float = DEFAULT_FPS,
    ) -> Timeline:
        """Returns the scores of the windows that slide over a whole video, in one pass; see `windows`.

        A network that averages frames, as TSN does, computes each frame once, and windows share its logits. One of
        `type: segment` sees all windows at once, and they are those of its training.

        Raises: FrameError when nothing can be decoded; CheckpointError when the scores are not numbers; UserError for
        a step longer than a window, and for other windows than those that the network has to have.
        """
        _check_positive(batch_size=batch_size, window=window, step=step, fps=fps)
        source = self._open(video, fps, ends=True)
        if self.protocol.clip.whole_videos:
            return whole_timeline(self, source, window=window, step=step)
        check_no_gaps(*window_and_step(self.protocol, self.trained_on, source.fps, window, step), source.fps)
        counted, ends, scores = self._all_windows(source, batch_size, window, step)
        return Timeline(
            times=(ends.sum(1) + 1 / source.fps) / 2,  # the last frame is shown until the next one would come
            scores=scores,
            seconds=counted.time + 1 / source.fps,
            num_frames=counted.number,
            fps=source.fps,
            windows=self.describe_windows(source.fps, window),
            warnings=list(source.warnings),
        )

    def stream(
        self, source: Source, *, every: int = 1, over: int | None = None, topk: int = TOPK, fps: float = DEFAULT_FPS
    ) -> Iterator[FramePrediction]:
        """Yields a prediction after each frame of a video, a camera or any iterable of frames, computing it only once.

        The network has to have `shift: uni`, which looks only into the past. `windows` takes any network.

        every: use every n-th frame. over: frames whose logits are averaged, by default as many as in training.
        Raises: ConfigError for another network; FrameError when nothing can be decoded.
        """
        _check_positive(every=every, over=over, topk=topk, fps=fps)
        network = streaming_network(self, self.folded.network)
        return stream_frames(self, network, open_input(source, fps=fps), every=every, over=over, topk=topk)

    def features(
        self,
        video: Source,
        *,
        layer: str = "",
        pool: Pool = "space",
        window: float | None = None,
        step: float | None = None,
        batch_size: int = BATCH_SIZE,
        fps: float = DEFAULT_FPS,
    ) -> Features:
        """Returns what a layer answers: one row for the video by the test protocol, or one per window if it is given.

        layer: dotted name, one of `layers`; by default the network's logits.
        pool: what is averaged besides the views: "space", "all" (time too) or "none".
        Raises: UserError for an unknown layer; FrameError when nothing can be decoded.
        """
        _check_positive(batch_size=batch_size, window=window, step=step, fps=fps)
        chosen = Layer(self, layer, pool)
        source = self._open(video, fps, ends=True)
        found = self.cut(source, source.frames(), window=window, step=step)
        times, rows = collected((item.start, item.end, chosen.row(item.views, batch_size)) for item in found)
        if not len(rows):
            raise source.nothing_decoded()
        return Features(rows, times, list(source.warnings))

    def with_test(self, **changes: Any) -> Recognizer:
        """Returns the same network with another test protocol, for example `num_clips=1, num_crops=1` for one view.

        changes: keys of the config's `test` section.
        Raises: UserError for an unknown key or a value that cannot be.
        """
        # what the config does not set stays unset: some keys may only be set together with others
        given, test = (part.model_dump(exclude_unset=True) for part in (self.common, self.common.test))
        values = given | {"test": test | changes}
        if "num_crops" in changes:
            values["val_dense"] = False  # another way to ask for ten crops
        common = stored_config({"common": values}, self.path)
        return dataclasses.replace(self, common=common, protocol=clip_protocol(common, self.method.clip, train=False))

    def cut(
        self,
        video: Input,
        frames: Iterable[TimedFrame],
        *,
        num_frames: int | None = None,
        slide: bool | None = None,
        window: float | None = None,
        step: float | None = None,
    ) -> Iterator[WindowClips]:
        """Yields the windows of a video with their pixels, as this network wants to see them.

        frames: all of its frames, or a part of them. num_frames: how many they are; default: as many as the video has.
        slide: whether windows slide over it; default: if `window` or `step`, both in seconds, is given.
        """
        return cut_video(
            self.protocol,
            frames,
            num_frames=video.longest if num_frames is None else num_frames,
            fps=video.fps,
            slide=(window is not None or step is not None) if slide is None else slide,
            window=window,
            step=step,
            trained_on=self.trained_on,
            times=video.times,
        )

    def _open(self, source: Source, fps: float, *, ends: bool = False) -> Input:
        """Opens what is looked at; a network for optical flow gets the fields between the frames."""
        video = open_input(source, fps=fps)
        if ends and video.num_frames is None:
            raise FrameError(f"{video.name}: has no known end; take windows() or stream(), or put the frames in a list")
        return FlowInput(video, self.protocol.transform.rule) if self.protocol.clip.modality == "flow" else video

    def _whole(self, video: Input, batch_size: int) -> tuple[Counted, np.ndarray]:
        """Scores a video by the test protocol."""
        self.refuse_whole_videos()
        expected = video.num_frames
        while True:
            counted = Counted(video.frames())
            clips = self.cut(video, counted, num_frames=expected)
            found = [scores for _, scores in self._scored(clips, batch_size)]
            if not counted.number:
                raise video.nothing_decoded()
            if counted.number == expected or expected != video.num_frames:
                return counted, found[0]
            expected = counted.number  # some frames cannot be decoded: the clips of what is left lie elsewhere

    def _predictions(
        self,
        video: Input,
        frames: Iterable[TimedFrame],
        topk: int,
        batch_size: int,
        window: float | None,
        step: float | None,
    ) -> Iterator[WindowPrediction]:
        """Yields the prediction of each sliding window."""
        for start, end, scores in self._slide(video, frames, batch_size, window, step):
            yield WindowPrediction(start, end, self.top(scores, topk), scores)

    def _all_windows(
        self, video: Input, batch_size: int, window: float | None, step: float | None
    ) -> tuple[Counted, np.ndarray, np.ndarray]:
        """Returns the counted frames, and float64 (n, 2), float32 (n, K): ends and scores of all sliding windows."""
        counted = Counted(video.frames())
        return counted, *collected(self._slide(video, counted, batch_size, window, step))

    def _slide(
        self, video: Input, frames: Iterable[TimedFrame], batch_size: int, window: float | None, step: float | None
    ) -> Iterator[ScoredWindow]:
        """Yields the sliding windows, and warns of those that a stream has not filled.

        Raises: FrameError if nothing can be decoded.
        """
        self.refuse_whole_videos()
        counted = Counted(frames)
        if shares_frames(self):
            found = shared_frames(self, video, counted, batch_size=batch_size, window=window, step=step)
        else:
            clips = self.cut(video, counted, slide=True, window=window, step=step)
            found = ((item.start, item.end, scores) for item, scores in self._scored(clips, batch_size))
        rows = 0
        for row in found:
            rows += 1
            yield row
        length, distance = window_and_step(self.protocol, self.trained_on, video.fps, window, step)
        if not rows and counted.number:
            raise FrameError(
                f"{video.name}: ended after {counted.number} frames, before the first of those that a window of "
                f"{length} frames shows; give it a shorter window"
            )
        if not rows:
            raise video.nothing_decoded()
        if video.longest is None:
            usual = next(sliding(self.protocol, length=length, step=distance, num_frames=None, fps=video.fps))
            filled = max(0, (counted.number - 1 - int(usual.indices.max())) // distance + 1)
            if (cut := rows - filled) > 0:
                which = "window, which repeats" if cut == 1 else f"{cut} windows, which repeat"
                video.warnings.append(f"it ended inside the last {which} its last picture")

    def _scored(self, windows: Iterator[WindowClips], batch_size: int) -> Iterator[tuple[WindowClips, np.ndarray]]:
        """Yields each window with its scores (K,), as soon as there are `batch_size` clips to score."""
        batch: list[WindowClips] = []
        for item in windows:
            batch.append(item)
            if sum(len(one.views) for one in batch) >= batch_size:
                yield from self._score_batch(batch, batch_size)
                batch = []
        if batch:
            yield from self._score_batch(batch, batch_size)

    def _score_batch(self, batch: list[WindowClips], batch_size: int) -> Iterator[tuple[WindowClips, np.ndarray]]:
        scores = self.score_views([item.views for item in batch], batch_size=batch_size)
        yield from zip(batch, scores, strict=True)


def load(
    checkpoint: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    device: str = "auto",
    trust_pickle: bool = False,
) -> Recognizer:
    """Builds the network that a checkpoint describes and loads its weights.

    checkpoint: a file of this or of another project, or the name of published weights, which are fetched if needed.
    config: a config.yaml that describes the network; default: the one in the file, or for weights of other projects
        that of their recipe here, or what the file shows.
    device: "auto" (a GPU if there is one), "cpu", "cuda" or any other device that PyTorch knows.
    trust_pickle: also read a file that contains more than weights; loading it may run code in it.
    Raises: CheckpointError for a file that is missing or damaged or does not say what it is; ConfigError for a wrong
    config or device.
    """
    chosen = _device(device)
    file = load_checkpoint_file(checkpoint, trust_pickle=trust_pickle)
    path = file.path
    if config is None:
        raw, notes = config_of(file)
        common = stored_config(raw, path)
    else:
        common, notes = load_config(config).common, []
    try:
        method = build_for_file(common.model, file)
        protocol = clip_protocol(common, method.clip, train=False)
        report = fill_for_scoring(method, file, protocol.as_dict(), common.test)
    except ConfigError as error:
        raise ConfigError(f"{config or path}: {error}") from None
    method = method.eval().requires_grad_(False).to(chosen)
    method.in_groups = protocol.clip.whole_videos  # the features have the bits of the training's
    names = file.class_names
    if names is None and file.layout != LAYOUT.name:
        names, origin = class_names_for(file, common.model.num_class, None)
        notes.append(f"class names: {origin}" if names else "class names: unknown, so classes have numbers only")
    notes = [*notes, *report.warnings]
    return Recognizer(path, method, common, protocol, names, chosen, _trained_on(file), notes, saved_as(file.others))


def load_from_arguments(args: argparse.Namespace) -> Recognizer:
    """Loads the network that the options of tools/inference/arguments.py name."""
    recognizer = load(args.checkpoint, config=args.config, device=args.device, trust_pickle=args.trust_pickle)
    for note in recognizer.notes:
        sys.stderr.write(f"note: {note}\n")
    return recognizer


def _trained_on(file: RawCheckpoint) -> dict[str, float]:
    """Returns the usual length of the training videos, as Split.about has it; {} in files of other projects."""
    found: Any = file.others.get("lists")
    for name in ("train", "length"):
        found = found.get(name) if isinstance(found, Mapping) else None
    known = found if isinstance(found, Mapping) else {}
    return {key: value for key, value in known.items() if isinstance(value, float) and 0 < value < math.inf}


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r}: not known to PyTorch; use auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name}: PyTorch finds no GPU here; use auto or cpu")
    return device


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not value > 0:
            raise UserError(f"{name}: should be above 0, but is {value}")

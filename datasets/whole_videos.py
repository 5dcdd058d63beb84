"""Shows whole videos to a method that finds segments: the features of the windows that slide over each, and its spans.

A frozen network computes the features of a video once, in one pass over it, and a file keeps them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.cached_features import Frozen, origin
from datasets.frame_dataset import Key
from datasets.listed_videos import ListedVideos, first_rows
from datasets.lists.records import RecordList
from datasets.lists.spans import not_there, seconds_beyond, warn_of_ends
from datasets.protocol import ClipProtocol
from datasets.videos.video import Counted, TimedFrame
from datasets.windows import WindowClips, cut_video
from utils.errors import ConfigError, FrameError, ListError
from utils.flat_file import open_arrays, save_arrays
from utils.processes import session
from utils.segments.table import Segments
from utils.training.batch import Batch

SUFFIX = ".video"
CLIPS_AT_ONCE = 16
SECONDS_BETWEEN_LINES = 30.0
_VERSION = 2  # of what the files hold: those of version 1 may be of damaged videos


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """Holds the features that a frozen network computes of a whole video.

    features: float32 (T, D), a row for each window.
    times: float64 (T,), the middle of each window in seconds, rising.
    seconds: length of the video. fps: frames per second, on average.
    """

    features: np.ndarray
    times: np.ndarray
    seconds: float
    fps: float

    def places(self, seconds: np.ndarray) -> np.ndarray:
        """Returns where seconds lie among the windows, float64: k is the middle of window k, and 0 need not be 0 s."""
        return np.interp(seconds, self._clock[0], self._clock[1])

    def seconds_at(self, places: np.ndarray) -> np.ndarray:
        """Returns the seconds of places among the windows, from 0 to the length of the video."""
        return np.interp(places, self._clock[1], self._clock[0])

    @cached_property
    def _clock(self) -> tuple[np.ndarray, np.ndarray]:
        """The seconds and the places of the start of the video, of the windows, and of its end."""
        step = float(np.median(np.diff(self.times))) if len(self.times) > 1 else max(self.seconds, 1e-3)
        before, behind = self.times[0] / step, (self.seconds - self.times[-1]) / step
        places = np.arange(len(self.times), dtype=np.float64)
        return (
            np.concatenate([[0.0], self.times, [self.seconds]]),
            np.concatenate([[-before], places, [places[-1] + behind]]),
        )


@torch.no_grad()
def features_of(
    network: Any,
    protocol: ClipProtocol,
    frames: Iterable[TimedFrame],
    *,
    name: str,
    num_frames: int,
    fps: float,
    device: torch.device,
) -> VideoFeatures:
    """Computes the features of the windows of a video in one pass, with memory for the windows that are open.

    network: whose `features` are taken, on `device`. name: of the video, for messages. num_frames, fps: of all of it.
    Raises: FrameError if there is no frame, or if the times of the windows do not rise.
    """
    clip, counted = protocol.clip, Counted(frames)
    windows = cut_video(
        protocol, counted, num_frames=num_frames, fps=fps, slide=True, window=clip.window, step=clip.step
    )
    rows, ends = [], []
    for batch in _batched(windows, CLIPS_AT_ONCE):
        views = torch.from_numpy(np.concatenate([window.views for window in batch]))
        clips = protocol.augment.apply(views.permute(0, 4, 1, 2, 3)[None].to(device))  # (n, C, T, H, W)
        rows.append(network.features(clips).float().mean(1).cpu().numpy())
        ends += [(window.start, window.end) for window in batch]
    if not rows:
        raise FrameError(f"{name}: no frame of it can be decoded")
    middles = (np.array(ends).sum(1) + 1 / fps) / 2  # the last frame is shown until the next one would come
    if (np.diff(middles) <= 0).any():
        raise FrameError(f"{name}: the times of its windows do not rise; it is damaged: repair it or encode it again")
    return VideoFeatures(np.concatenate(rows), middles, counted.time + 1 / fps, fps)


class WholeVideos:
    """Holds the videos of a list with spans. A sample is a whole video: its features, and where its spans lie in them.

    videos: the same videos, to be opened.
    folder: where the features of videos are kept.
    num_class: K; the background is class K.
    faults: why videos cannot be used, by their number.

    Raises: ListError for a list without spans, or with a span that has no label.
    """

    def __init__(
        self, records: RecordList, videos: ListedVideos, protocol: ClipProtocol, folder: str, *, num_class: int
    ) -> None:
        if records.spans is None:
            what = "its lines have no start and end" if records.labelled.any() else "none of its videos has a span"
            raise ListError(
                f"{records.source}: {what}, which a method for segments learns from; tools.spans --lists writes such "
                "lists"
            )
        whole = ~(records.spans[:, 0] >= 0)
        if (unknown := ~records.labelled & ~whole).any():
            row = int(np.argmax(unknown))
            raise ListError(
                f"{records.where(row)}: {records.path(row)} has no label; type: segment learns from, and is scored by, "
                "all that happens in a video: give it a label, or remove the line"
            )
        self.protocol, self.folder, self.num_class = protocol, Path(folder), num_class
        self._records, self._videos = records, videos
        first = first_rows(records)
        self._paths, self._first = list(first), list(first.values())
        self._files: dict[int, Path] = {}
        self.faults: dict[int, str] = {}
        place = {path: number for number, path in enumerate(self._paths)}
        rows = np.flatnonzero(records.labelled)  # a line without label and span says that nothing happens in its video
        ends = np.where(whole[:, None], [0.0, np.inf], records.spans)  # inf: the end of the video, whenever that is
        numbers = np.array([place[path] for path in map(records.path, rows.tolist())])
        self._spans = _Spans(rows, numbers, ends[rows], np.asarray(records.labels)[rows])
        if records.in_frames:
            self._to_seconds()

    def _to_seconds(self) -> None:
        """Turns spans in frames into seconds; a video that lacks a frame of one is a fault."""
        for number in np.unique(self._spans.video).tolist():
            chosen = np.flatnonzero(self._spans.video == number)
            row = int(self._spans.row[chosen[0]])
            try:
                moments = self._videos.moments(number)
                last = len(moments) - 1
                ends = self._spans.ends[chosen]
                if (beyond := np.isfinite(ends[:, 1]) & (ends[:, 1] > last)).any():
                    row = int(self._spans.row[chosen[np.argmax(beyond)]])
                    raise FrameError(f"{self._videos.name(number)}: {not_there(frames=True)}; it has {last} frames")
                there = np.isfinite(ends)
                ends[there] = moments[ends[there].astype(np.int64)]
                self._spans.ends[chosen] = ends
            except FrameError as error:
                self.faults[number] = f"{self._records.where(row)}: {error}"

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def labels(self) -> np.ndarray:
        """A number for each video, all of which have labels: its spans."""
        return np.zeros(len(self), np.int64)

    @property
    def description(self) -> str:
        """Returns what the list holds, for the log, and which of its spans the labels of moments cannot show."""
        text = f"{len(self)} videos, {len(self._spans.label)} spans"
        if empty := len(self) - len(np.unique(self._spans.video)):
            text += f", {empty} of the videos without one"
        if short := int((self._spans.ends[:, 1] - self._spans.ends[:, 0] < self.protocol.clip.step).sum()):
            text += f", {short} of them shorter than the {self.protocol.clip.step:g} s from one window to the next"
        if hidden := self._spans.overlapping():
            text += f", {hidden} of them overlap one of another class, and at each moment the shorter one is taken"
        return text

    @property
    def usual_length(self) -> dict[str, float]:
        """Returns no lengths: windows have one of their own."""
        return {}

    def facts(self) -> dict[str, str]:
        """Returns what tells the videos from others of the same names, as SampleDataset.facts has it."""
        return self._videos.facts()

    def path(self, index: int) -> str:
        """Returns the path of one video as the list has it."""
        return self._paths[index]

    name = path

    def store_counts(self) -> dict[str, int]:
        """Returns no counts."""
        return {}

    def compute(self, network: Frozen, device: torch.device, log: Callable[[str], None]) -> None:
        """Computes the features of the videos that the folder does not have, each in one of the processes.

        The network stays as it is, so this happens once. A video that is damaged, or ends before a span of it, is a
        fault. log: takes lines that say how far it is.

        Raises: ConfigError for a folder that cannot be written, or loses what is written.
        """
        if self._files:
            return
        about = origin(network, self.protocol, device) + _of_windows(self.protocol)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"common.data.feature_cache: {self.folder} cannot be made a folder: {error}") from None
        versions = self._each(range(len(self)), self._videos.version, log, "looked at")
        names = {row: hashlib.blake2b(about + version, digest_size=20).hexdigest() for row, version in versions.items()}
        self._files = {row: self.folder / f"{name}{SUFFIX}" for row, name in names.items()}
        missing = _of_any([index for index, file in self._files.items() if not _is_whole(file, log)])
        if missing:
            log(f"computing the features of {len(missing)} of {len(self)} videos, once")
        self._each(missing, lambda index: self._compute(index, network, device), log, "with features")

        for _ in range(session.world_size() + 1):  # where videos are few, one machine may wait for each other one
            if not _of_any(lacking := [index for index in missing if self._lacks(index, log)]):
                break
            log("not all machines share the folder of features; each computes those that it lacks")
            self._each(lacking, lambda index: self._compute(index, network, device), log, "with features")
        else:
            raise ConfigError(f"common.data.feature_cache: {self.folder} does not keep what is written there")
        self._check_ends()

    def _lacks(self, index: int, log: Callable[[str], None]) -> bool:
        return index not in self.faults and not _is_whole(self._files[index], log)

    def _each(
        self, numbers: Sequence[int], work: Callable[[int], Any], log: Callable[[str], None], done: str
    ) -> dict[int, Any]:
        """Returns what `work` returns for videos without a fault. A FrameError is a fault.

        Processes with the same videos share them: those that lack the same features look into one folder, whatever
        their machines are called. Processes meet after each round of one video each, so none waits for longer than a
        video takes.
        """
        numbers = [number for number in numbers if number not in self.faults]
        given, rank = session.gather_objects((len(numbers), hash(tuple(numbers)))), session.rank()
        sharing, mine = given.count(given[rank]), given[:rank].count(given[rank])
        rounds, found = max(-(-one[0] // given.count(one)) for one in given), dict[int, Any]()
        began = said = time.monotonic()
        for turn in range(rounds):
            if turn and time.monotonic() - said > SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                left = (said - began) / turn * (rounds - turn)
                log(f"{turn * len(numbers) // rounds} of {len(numbers)} videos {done}, {left / 60:.0f} minutes to go")
            answer, fault = None, ""
            own = numbers[place] if (place := turn * sharing + mine) < len(numbers) else None
            if own is not None:
                try:
                    answer = work(own)
                except FrameError as error:
                    fault = f"{self._records.source}:{self._records.line(self._first[own])}: {error}"
            for number, value, wrong in session.gather_objects((own, answer, fault)):
                if wrong:
                    self.faults[number] = wrong
                elif number is not None:
                    found[number] = value
        return found

    def _compute(self, index: int, network: Frozen, device: torch.device) -> None:
        video = self._videos.open(index)
        given: dict[str, Any] = {"name": video.name, "num_frames": video.num_frames, "fps": video.fps, "device": device}
        found = features_of(network, self.protocol, video.frames, **given)
        if video.errors:  # windows behind a lost frame would not show what they seem to
            raise FrameError(f"{video.name}: {'; '.join(video.errors)}")
        if not np.isfinite(found.features).all():
            raise FrameError(
                f"{video.name}: its features are not numbers (NaN); what are the weights of the frozen network?"
            )
        about = {"seconds": found.seconds, "fps": video.fps, "video": self._paths[index]}
        save_arrays(self._files[index], about, {"features": found.features, "times": found.times})

    def _check_ends(self) -> None:
        """Warns of spans that go beyond the end of their video; a video without anything of a span is a fault."""
        beyond = np.zeros(len(self._spans.label))
        known = (index for index in range(len(self)) if index not in self.faults)
        lengths = {index: (video.seconds, video.fps) for index in known for video in [self.video(index)]}
        for place, index in enumerate(self._spans.video.tolist()):
            start, end = self._spans.ends[place].tolist()
            if index not in lengths or end == np.inf:
                continue
            seconds, fps = lengths[index]
            if start >= seconds:
                what = f"{not_there(frames=False)}; it ends at {seconds:.2f} s"
                where = self._records.where(int(self._spans.row[place]))
                self.faults.setdefault(index, f"{where}: {self._videos.name(index)}: {what}")
            else:
                beyond[place] = seconds_beyond(end, seconds, fps)
        warn_of_ends(self._records.source, beyond)

    def video(self, index: int) -> VideoFeatures:
        """Returns the features of one video, which `compute` has made sure of."""
        about, arrays = open_arrays(self._files[index], check=False)
        return VideoFeatures(arrays["features"], arrays["times"], about["seconds"], about["fps"])

    def truth(self, index: int, seconds: float) -> Segments:
        """Returns the true segments of a video of this length in seconds, cut at its end."""
        ends, label = self._spans.of(index)
        start, end = np.clip(ends, 0, seconds).T
        return Segments(np.full(len(label), index), start, end, label)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        rows = [key[1] if isinstance(key, tuple) else key for key in keys]
        samples = [self._sample(row) for row in rows]
        longest = max(len(features) for features, _ in samples)
        most = max(len(labels) for _, labels in samples)
        clips = np.full((len(rows), 1, longest, samples[0][0].shape[1]), np.nan, np.float32)
        labels = np.full((len(rows), most, 3), -1.0, np.float32)
        for place, (features, spans) in enumerate(samples):
            clips[place, 0, : len(features)], labels[place, : len(spans)] = features, spans
        return Batch(
            clips=torch.from_numpy(clips),
            labels=torch.from_numpy(labels),
            indices=torch.tensor(rows, dtype=torch.int64),
            faults=[self.faults.get(row, "") for row in rows],
        )

    def _sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features (T, D) of a video, and its labels as utils.scoring.segments.moments has them."""
        if index in self.faults:
            width = next((self.video(row).features.shape[1] for row in range(len(self)) if row not in self.faults), 1)
            return np.zeros((1, width), np.float32), np.array([[0.0, 1.0, self.num_class]])
        video = self.video(index)
        ends, label = self._spans.of(index)
        spans = np.concatenate([video.places(ends), label[:, None]], 1)
        return video.features, np.concatenate([[[0.0, len(video.times), self.num_class]], spans])


@dataclass(frozen=True, eq=False)
class _Spans:
    """The n spans of a list: int64 (n,), int64 (n,), float64 (n, 2) in seconds, int (n,). row: of the list."""

    row: np.ndarray
    video: np.ndarray
    ends: np.ndarray
    label: np.ndarray

    def of(self, video: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the spans of one video and their labels, the longest first."""
        rows = np.flatnonzero(self.video == video)
        rows = rows[np.argsort(self.ends[rows, 0] - self.ends[rows, 1], kind="stable")]
        return self.ends[rows], self.label[rows]

    def overlapping(self) -> int:
        """Returns how many spans overlap a shorter one of another class."""
        found = 0
        for video in np.unique(self.video).tolist():
            ends, label = self.of(video)
            for row in range(len(label)):
                later = (ends[row + 1 :, 0] < ends[row, 1]) & (ends[row + 1 :, 1] > ends[row, 0])
                found += bool((later & (label[row + 1 :] != label[row])).any())
        return found


def _of_any(numbers: list[int]) -> list[int]:
    """Returns all numbers that at least one of the processes gives, sorted, each once."""
    return sorted(set().union(*session.gather_objects(numbers)))


def _batched(windows: Iterator[WindowClips], size: int) -> Iterator[list[WindowClips]]:
    while batch := list(itertools.islice(windows, size)):
        yield batch


def _of_windows(protocol: ClipProtocol) -> bytes:
    """Returns the settings that decide which pixels a window has, without those that `origin` knows."""
    clip = protocol.clip
    about = [_VERSION, clip.window, clip.step, clip.num_frames, clip.frame_stride, clip.sampling]
    return json.dumps([*about, *([clip.segments] if clip.segments > 1 else [])]).encode()


def _is_whole(file: Path, log: Callable[[str], None]) -> bool:
    try:
        open_arrays(file)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        log(f"{error}; its features are computed again")
        return False
    return True

"""Opens data sets of pictures under PyTorchVideo's names: Something-Something V2 and Charades."""

from __future__ import annotations

import csv
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt
from torch.utils.data import RandomSampler
from typing_extensions import override

from datasets.labeled_videos.clip_dataset import ClipDataset, Transform, VideoSampler
from datasets.labeled_videos.clip_samplers import ClipSampler
from datasets.labeled_videos.videos import PictureVideo
from datasets.lists.json_objects import each_once
from datasets.sampling.draws import from_torch
from datasets.sampling.published import pyslowfast_segments, temporal_subsample
from datasets.videos.clip_times import Span
from utils.config.build import checked
from utils.errors import ListError

PathLike = str | os.PathLike[str]
_COLUMNS = ("original_vido_id", "video_id", "frame_id", "path", "labels")  # the first is spelled so in the files


class SSv2(ClipDataset):
    """Clips of Something-Something V2 from pictures; every clip is taken from the whole of its video.

    label_name_file: JSON, class -> number.
    video_label_file: JSON, a list of {"id", "template"}.
    video_path_label_file: a table with a line for each picture, see Charades; the videos that it has are taken.
    frames_per_clip: number of segments, from each of which a clip has one picture, in the middle or, with
        rand_sample_frames, at random; None takes all.
    The other arguments, the samples and the errors are ClipDataset's; `video_name` is the place in the list.

    Raises: ListError.
    """

    @checked
    def __init__(
        self,
        label_name_file: PathLike,
        video_label_file: PathLike,
        video_path_label_file: PathLike,
        clip_sampler: ClipSampler,
        video_sampler: VideoSampler = RandomSampler,
        transform: Transform | None = None,
        video_path_prefix: PathLike = "",
        frames_per_clip: PositiveInt | None = None,
        rand_sample_frames: bool = False,
    ) -> None:
        pictures = _pictures(video_path_label_file, video_path_prefix)
        numbers = {name: _number(label, name, label_name_file) for name, label in _json(label_name_file, dict).items()}
        pick = None
        if frames_per_clip is not None:
            pick = functools.partial(_segments, count=frames_per_clip, random=rand_sample_frames)
        videos: list[PictureVideo] = []
        for place, entry in enumerate(_json(video_label_file, list)):
            if not isinstance(entry, dict) or "id" not in entry or not isinstance(entry.get("template"), str):
                raise ListError(f"{video_label_file}: entry {place} lacks id or template: {entry!r:.99}")
            template = entry["template"].replace("[", "").replace("]", "")
            if template not in numbers:
                raise ListError(f"{video_label_file}: {template!r} of video {entry['id']} is not in {label_name_file}")
            if rows := pictures.get(str(entry["id"])):
                paths = [path for path, _ in rows]
                videos.append(_WholeVideo(str(len(videos)), paths, {"label": numbers[template]}, pick))
        if not videos:
            raise ListError(f"{video_label_file}: none of its videos has pictures in {video_path_label_file}")
        super().__init__(videos, clip_sampler, video_sampler, transform)


class Charades(ClipDataset):
    """Clips of Charades from pictures.

    data_path: a table with a line for each picture, columns separated by spaces: original_vido_id video_id frame_id
        path labels; labels are numbers with commas between them, or "".
    frames_per_clip: number of pictures that are taken, evenly from the first to the last of a clip; None takes all.
    The other arguments, the samples and the errors are ClipDataset's. `label` of a sample has a list of labels for each
    picture from the first to the last of the clip, `video_label` has all labels of the video, and `video_name` is its
    place in the table.

    Raises: ListError.
    """

    NUM_CLASSES = 157

    @checked
    def __init__(
        self,
        data_path: PathLike,
        clip_sampler: ClipSampler,
        video_sampler: VideoSampler = RandomSampler,
        transform: Transform | None = None,
        video_path_prefix: PathLike = "",
        frames_per_clip: PositiveInt | None = None,
    ) -> None:
        pick = functools.partial(_evenly, count=frames_per_clip) if frames_per_clip else None
        videos = [
            _LabeledPictures(
                str(place), [path for path, _ in rows], [_labels(text, data_path) for _, text in rows], pick
            )
            for place, rows in enumerate(_pictures(data_path, video_path_prefix).values())
        ]
        super().__init__(videos, clip_sampler, video_sampler, transform)


class _WholeVideo(PictureVideo):
    """Shows all of the video in every clip."""

    @override
    def shown(self, span: Span) -> np.ndarray:
        return super().shown((0.0, float(self.duration)))


class _LabeledPictures(PictureVideo):
    """Knows the labels of each picture."""

    def __init__(self, name: str, paths: Sequence[str], labels: Sequence[list[int]], pick: Any) -> None:
        self._labels = labels
        whole = sorted({label for one in labels for label in one})
        super().__init__(name, paths, {"video_label": whole}, pick)

    @override
    def about(self, frames: np.ndarray) -> dict[str, Any]:
        return {"label": self._labels[int(frames.min()) : int(frames.max()) + 1]}


def _segments(frames: np.ndarray, count: int, random: bool) -> np.ndarray:
    return pyslowfast_segments(len(frames), count, from_torch() if random else None)


def _evenly(frames: np.ndarray, count: int) -> np.ndarray:
    return temporal_subsample(len(frames), count)


def _labels(text: str, file: PathLike) -> list[int]:
    """Reads the labels of one picture. Raises: ListError."""
    try:
        return [int(label) for label in text.replace('"', "").split(",") if label]
    except ValueError:
        raise ListError(f"{file}: labels {text!r} are not numbers with commas between them") from None


def _pictures(file: PathLike, prefix: PathLike) -> dict[str, list[tuple[str, str]]]:
    """Returns the path and the labels of each picture, by video, in the order of the table. Raises: ListError."""
    found: dict[str, list[tuple[str, str]]] = {}
    try:
        with Path(file).open(encoding="utf-8", newline="") as rows:
            for number, row in enumerate(csv.DictReader(rows, delimiter=" "), 2):
                if set(row) != set(_COLUMNS) or None in row.values():
                    raise ListError(f"{file}:{number}: has not the columns {' '.join(_COLUMNS)}")
                entry = str(Path(prefix) / row["path"]), row["labels"]
                found.setdefault(row["original_vido_id"], []).append(entry)
    except (OSError, ValueError, csv.Error) as error:
        raise ListError(f"{file}: cannot be read as a table of pictures: {error}") from error
    if not found:
        raise ListError(f"{file}: has no picture")
    return found


def _json(file: PathLike, kind: type) -> Any:
    try:
        found = json.loads(Path(file).read_text("utf-8"), object_pairs_hook=each_once(file))
    except (OSError, ValueError, RecursionError) as error:
        raise ListError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(found, kind):
        raise ListError(f"{file}: has a {type(found).__name__} where a {kind.__name__} is expected")
    return found


def _number(label: Any, name: str, file: PathLike) -> int:
    try:
        return int(label)
    except (ValueError, TypeError):
        raise ListError(f"{file}: the number of {name!r} is {label!r}") from None

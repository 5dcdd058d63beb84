"""Writes the features and labels of videos as other projects read them, for tools/extract_features.py --for."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.spans.files import read_spans
from datasets.spans.span import LabeledVideo, SpanTable
from datasets.spans.video_files import VideoFiles
from datasets.windows import window_and_step
from tools.inference.arguments import frame_rate
from tools.inference.features import check_origin, version_of
from tools.inference.inputs import Input, name_inputs, open_input
from tools.inference.recognizer import Recognizer
from utils.cli import Progress
from utils.errors import FrameError, UserError
from utils.files import atomic_write

BACKGROUND = "background"  # of MS-TCN's moments in no span
SUBSETS = {"": "training", "train": "training", "val": "validation", "test": "validation", "testing": "validation"}
ORIGIN = "origin.json"
VERSIONS = "versions"  # folder that says of which file of a video the features are


@dataclass(frozen=True)
class Grid:
    """Says where rows of features lie: row k is of the frames from k * stride to before k * stride + length."""

    length: int
    stride: int

    def rows(self, num_frames: int) -> int:
        """Returns how many windows lie in a video; a video that is shorter than a window has one."""
        return 1 + max(0, num_frames - self.length) // self.stride


@dataclass(frozen=True)
class VideoRows:
    """Describes a video whose features are written. name: without folders and dots. shape: (N, C), of its rows."""

    name: str
    labels: LabeledVideo
    shape: tuple[int, int]
    fps: float
    num_frames: int

    @property
    def duration(self) -> float:
        """Returns the seconds that the video lasts."""
        return self.num_frames / self.fps

    @property
    def subset(self) -> str:
        """Returns `training`, `validation`, or another subset of the labels in small letters."""
        subset = self.labels.subset.lower()
        return SUBSETS.get(subset, subset)

    def annotation(self, labels: Mapping[str, int]) -> dict[str, Any]:
        """Returns what annotations say of the video; labels: the number of each class."""
        spans = [
            {"segment": [span.start, span.end], "label": span.label, "label_id": labels[span.label]}
            for span in self.labels.spans
        ]
        about = {"subset": self.subset, "duration": self.duration, "fps": self.fps, "frame": self.num_frames}
        return about | {"annotations": spans}


def extract_for(recognizer: Recognizer, origin: Mapping[str, str], args: argparse.Namespace) -> int:
    """Extracts what is missing below args.out, and writes labels and settings; returns 1 if a video could not be read.

    Raises: UserError for labels that do not fit the videos, and for videos whose windows would not be alike.
    """
    (folder,) = map(Path, args.input)
    table = _labels(args.labels, folder)
    named = {place.as_posix(): path for path, place in name_inputs([str(folder)]).items()}
    videos = [(video, named[video.name]) for video in table.videos if video.name in named]
    if not videos:
        raise UserError(f"{args.labels}: none of its videos is in {folder}")
    names = _names([video.name for video, _ in videos])
    _check_names(args.project, table.classes)
    _keep_origin(args.out, {**origin, "for": args.project})
    fps = frame_rate(args.fps, [path for _, path in videos])
    grid: Grid | None = None
    found: list[VideoRows] = []
    failed = 0
    with Progress(len(videos), unit="videos") as progress:
        for (video, path), name in zip(videos, names, strict=True):
            try:
                source = open_input(path, fps=fps)
                grid = _same_grid(grid, recognizer, source, args)
                rows = _rows(recognizer, path, source, grid, args, name)
                found.append(VideoRows(name, video, (len(rows), rows.shape[1]), source.fps, source.num_frames or 1))
            except FrameError as error:
                progress.note(f"error: {error}")
                failed += 1
            progress.advance(1)
    if grid is None or not found:
        raise UserError(f"{folder}: none of its videos could be read")
    for line in WRITERS[args.project].write(args.out, found, table.classes, grid):
        print(line)
    print(f"{args.out}: {len(found)} of {len(videos)} videos")
    return 1 if failed else 0


def _labels(path: Path, folder: Path) -> SpanTable:
    if not folder.is_dir():
        raise UserError(f"{folder}: --for takes a folder of videos")
    return read_spans([path], videos=VideoFiles(folder))


def _names(videos: Sequence[str]) -> list[str]:
    """Returns names of files without folders, spaces and dots, which some readers cut names at."""
    names = [re.sub(r"[^\w-]+", "_", video.rpartition(".")[0] or video) for video in videos]
    taken: dict[str, str] = {}
    for video, name in zip(videos, names, strict=True):
        if taken.setdefault(name, video) != video:
            raise UserError(f"{taken[name]} and {video} would both be called {name}: rename one")
    return names


def _check_names(project: str, classes: Sequence[str]) -> None:
    """Raises: UserError for classes that MS-TCN's mapping could not tell apart."""
    if project != "mstcn":
        return
    written = [_word(name) for name in (BACKGROUND, *classes)]
    if wrong := next((name for name in written if written.count(name) > 1), None):
        raise UserError(f"two classes would be called {wrong} in mapping.txt: rename one")


def _keep_origin(out: Path, origin: Mapping[str, str]) -> None:
    """Writes how the rows are made. Raises: UserError where others have been made in another way."""
    file = out / ORIGIN
    if file.is_file():
        check_origin(out, json.loads(file.read_text(encoding="utf-8")), dict(origin))
    _write(file, json.dumps(dict(origin), indent=1) + "\n")


def _same_grid(grid: Grid | None, recognizer: Recognizer, source: Input, args: argparse.Namespace) -> Grid:
    found = Grid(*window_and_step(recognizer.protocol, recognizer.trained_on, source.fps, args.window, args.step))
    if grid is not None and found != grid:
        raise UserError(
            f"{source.name}: has {source.fps:g} frames per second, so its windows have {found.length} frames every "
            f"{found.stride}, and those of other videos {grid.length} every {grid.stride}; these files know one number "
            "for all, so bring the videos to one rate first"
        )
    return found


def _rows(
    recognizer: Recognizer, path: Path, source: Input, grid: Grid, args: argparse.Namespace, name: str
) -> np.ndarray:
    """Returns the rows (N, C) of a video, which its file of features has afterwards.

    They are computed again if the video has changed since. Raises: FrameError for a damaged video.
    """
    writer = WRITERS[args.project]
    file, mark = writer.place(args.out, name), args.out / VERSIONS / f"{name}.json"
    version = version_of(path, source.fps) + "\n"
    if file.is_file() and mark.is_file() and mark.read_text(encoding="utf-8") == version:
        return writer.load(file)
    given: dict[str, Any] = {"layer": args.layer, "pool": "all", "batch_size": args.batch_size}
    step = grid.stride / source.fps
    found = recognizer.features(source, window=grid.length / source.fps, step=step, fps=source.fps, **given)
    # a last window that ends with the video stands at no multiple of the stride; flow has a field less than pictures
    fields = (source.num_frames or 1) - (recognizer.protocol.clip.modality == "flow")
    rows = found.features[: grid.rows(fields)]
    if source.errors or len(rows) != grid.rows(fields):
        faults = source.errors or [f"{len(rows)} windows can be decoded, and it should have {grid.rows(fields)}"]
        raise FrameError(f"{path}: {'; '.join(faults)}")
    if rows.ndim != 2:
        raise UserError(f"layer {args.layer}: gives {rows.shape[1:]} for a window, and one vector is needed")
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as opened:
        writer.save(opened, rows)
    _write(mark, version)  # after the features, so that it is never that of newer ones
    return rows


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file, "w", newline="\n") as opened:
        opened.write(text)


@dataclass(frozen=True)
class Writer:
    """Says how a project wants its files.

    suffix: of a file of features. load, save: read and write its rows (N, C).
    write: writes labels and settings, and returns lines about them.
    """

    suffix: str
    load: Callable[[Path], np.ndarray]
    save: Callable[[Any, np.ndarray], None]
    write: Callable[[Path, Sequence[VideoRows], Sequence[str], Grid], list[str]]

    def place(self, out: Path, name: str) -> Path:
        """Returns the file of a video's features."""
        return out / "features" / f"{name}{self.suffix}"


def _annotations(out: Path, videos: Sequence[VideoRows], classes: Sequence[str]) -> Path:
    labels = {name: number for number, name in enumerate(classes)}
    database = {video.name: video.annotation(labels) for video in videos}
    file = out / "annotations.json"
    _write(file, json.dumps({"database": database}, indent=1, ensure_ascii=False) + "\n")
    return file


def _for_actionformer(out: Path, videos: Sequence[VideoRows], classes: Sequence[str], grid: Grid) -> list[str]:
    settings = {
        "json_file": str(_annotations(out, videos, classes)),
        "feat_folder": str(out / "features"),
        "file_prefix": None,
        "file_ext": ".npz",
        "num_classes": len(classes),
        "input_dim": videos[0].shape[1],
        "feat_stride": grid.stride,
        "num_frames": grid.length,
        "default_fps": None,
    }
    head = "dataset_name: epic\ntrain_split: ['training']\nval_split: ['validation']\ndataset:\n"
    lines = [f"    {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings.items()]
    _write(out / "config.yaml", head + "".join(lines))
    return [f"feat_stride {grid.stride}, num_frames {grid.length}: {out / 'config.yaml'} has these keys of a config"]


def _for_opentad(out: Path, videos: Sequence[VideoRows], classes: Sequence[str], grid: Grid) -> list[str]:
    _write(out / "category_idx.txt", "".join(f"{name}\n" for name in classes))
    settings = {
        "type": "ThumosPaddingDataset",
        "ann_file": str(_annotations(out, videos, classes)),
        "class_map": str(out / "category_idx.txt"),
        "data_path": str(out / "features"),
        "block_list": None,
        "feature_stride": grid.stride,
        "sample_stride": 1,
        "offset_frames": grid.length // 2,
    }
    head = f"# in_channels of the model: {videos[0].shape[1]}\n"
    _write(
        out / "dataset.py",
        head + "settings = dict(\n" + "".join(f"    {k}={v!r},\n" for k, v in settings.items()) + ")\n",
    )
    half = [f"windows have {grid.length} frames, so offset_frames is half a frame too small"] * (grid.length % 2)
    return [
        f"feature_stride {grid.stride}, offset_frames {grid.length // 2}: {out / 'dataset.py'} has these settings",
        *half,
    ]


def _for_mstcn(out: Path, videos: Sequence[VideoRows], classes: Sequence[str], grid: Grid) -> list[str]:
    _write(out / "mapping.txt", "".join(f"{row} {_word(name)}\n" for row, name in enumerate((BACKGROUND, *classes))))
    for video in videos:
        middles = (np.arange(video.shape[0]) * grid.stride + grid.length / 2) / video.fps
        labels = np.array([BACKGROUND] * len(middles), object)
        for span in sorted(video.labels.spans, key=lambda span: -span.seconds):  # the shortest one counts
            labels[(middles >= span.start) & (middles < span.end)] = _word(span.label)
        _write(out / "groundTruth" / f"{video.name}.txt", "".join(f"{label}\n" for label in labels))
    for part, chosen in (("train", True), ("test", False)):
        names = [f"{video.name}.txt\n" for video in videos if (video.subset == "training") == chosen]
        _write(out / "splits" / f"{part}.split1.bundle", "".join(names))
    rate = videos[0].fps / grid.stride
    return [
        f"{rate:g} rows per second, the first of second {grid.length / 2 / videos[0].fps:g}: take sample_rate = 1",
        f"features_dim = {videos[0].shape[1]} in main.py",
    ]


def _word(name: str) -> str:
    """Returns the name of a class as one word, which a line of mapping.txt needs."""
    return re.sub(r"\s+", "_", name)


def _load_npz(file: Path) -> np.ndarray:
    with np.load(file) as content:
        rows: np.ndarray = content["feats"]
    return rows


WRITERS = {
    "actionformer": Writer(".npz", _load_npz, lambda file, rows: np.savez(file, feats=rows), _for_actionformer),
    "opentad": Writer(".npy", np.load, np.save, _for_opentad),
    "mstcn": Writer(
        ".npy", lambda file: np.load(file).T, lambda file, rows: np.save(file, np.ascontiguousarray(rows.T)), _for_mstcn
    ),
}

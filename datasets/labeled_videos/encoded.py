"""Opens lists of encoded videos under PyTorchVideo's names: Kinetics, Ucf101, Hmdb51 and any other list."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import RandomSampler

from datasets.labeled_videos.clip_dataset import ClipDataset, Transform, VideoSampler
from datasets.labeled_videos.clip_samplers import ClipSampler
from datasets.labeled_videos.videos import EncodedVideo, PictureVideo, Video, pictures_of
from datasets.lists.spelling import as_on_disk
from datasets.lists.tables import VIDEO_SUFFIXES, number_classes, read_videos
from datasets.videos.index import index_videos
from datasets.videos.reader import find_reader
from utils.errors import ConfigError, ListError

_log = logging.getLogger(__name__)
PathLike = str | os.PathLike[str]
Labeled = tuple[str, Mapping[str, Any]]
_OTHER_DECODERS = ("torchvision", "decord", "frame")
_USES = {"train": "1", "test": "2", "unused": "0"}


class LabeledVideoPaths(Sequence[Labeled]):
    """Holds paths of videos with their labels: `paths[0]` is (path, {"label": 3}).

    path_prefix: a folder in front of every path.
    """

    def __init__(self, paths_and_labels: Sequence[tuple[str, Any]], path_prefix: PathLike = "") -> None:
        self._paths_and_labels, self.path_prefix = paths_and_labels, path_prefix

    @classmethod
    def from_path(cls, data_path: PathLike) -> LabeledVideoPaths:
        """Reads what `labeled_video_dataset` reads. Raises: ListError."""
        return cls(_read_list(data_path, "."))

    from_csv = from_directory = from_path

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LabeledVideoPaths(self._paths_and_labels[index], self.path_prefix)
        path, label = self._paths_and_labels[index]
        return str(Path(self.path_prefix) / path), label if isinstance(label, Mapping) else {"label": label}

    def __len__(self) -> int:
        return len(self._paths_and_labels)


class LabeledVideoDataset(ClipDataset):
    """Clips of encoded videos, or of folders of pictures, which are shown at 30 per second.

    labeled_video_paths: pairs (path, entries); the entries, such as {"label": 3}, become those of a sample. decoder:
    pyav, torchcodec or auto. cache: folder of the index of frame times, default the user's. The other arguments, the
    samples and the errors are ClipDataset's.

    Raises: ConfigError for decode_audio=True or decode_video=False; ListError without videos.
    """

    def __init__(
        self,
        labeled_video_paths: Sequence[Labeled],
        clip_sampler: ClipSampler,
        video_sampler: VideoSampler = RandomSampler,
        transform: Transform | None = None,
        decode_audio: bool = False,
        decode_video: bool = True,
        decoder: str = "pyav",
        *,
        cache: PathLike | None = None,
    ) -> None:
        if decode_audio:
            raise ConfigError("decode_audio: no sound is read here; leave it out, samples then have no key `audio`")
        if not decode_video:
            raise ConfigError("decode_video: nothing but pictures is read here; leave it out")
        if not len(labeled_video_paths):
            raise ListError("labeled_video_paths: has no videos")
        pairs = [labeled_video_paths[place] for place in range(len(labeled_video_paths))]
        videos = _opened([(os.fspath(path), entries) for path, entries in pairs], decoder, cache)
        super().__init__(videos, clip_sampler, video_sampler, transform)


def _opened(pairs: Sequence[Labeled], decoder: str, cache: PathLike | None) -> list[Video]:
    if decoder in _OTHER_DECODERS:
        if decoder != "frame":
            _log.warning("decoder: %s is not used here; PyAV reads the same frames", decoder)
        decoder = "pyav"
    folders = [Path(path).is_dir() for path, _ in pairs]
    files = iter(_encoded([pair for pair, folder in zip(pairs, folders, strict=True) if not folder], decoder, cache))
    return [
        PictureVideo(Path(path).name, pictures_of(path), entries) if folder else next(files)
        for (path, entries), folder in zip(pairs, folders, strict=True)
    ]


def _encoded(pairs: Sequence[Labeled], decoder: str, cache: PathLike | None) -> list[Video]:
    reader = find_reader(decoder)
    if not pairs:
        return []
    index = index_videos([path for path, _ in pairs], cache=cache)
    return [EncodedVideo(path, index, place, reader, entries) for place, (path, entries) in enumerate(pairs)]


def labeled_video_dataset(
    data_path: PathLike,
    clip_sampler: ClipSampler,
    video_sampler: VideoSampler = RandomSampler,
    transform: Transform | None = None,
    video_path_prefix: PathLike = "",
    decode_audio: bool = False,
    decoder: str = "pyav",
) -> LabeledVideoDataset:
    """Opens the videos of `data_path`: a list of `path label` lines, a folder of class folders, or Kinetics' CSV.

    A label may be -1 for unknown, as it is where a line is a path alone. video_path_prefix: folder in front of the
    paths of a list. The rest is LabeledVideoDataset's.
    Raises: ListError for a wrong list; ConfigError for decode_audio=True.
    """
    paths = LabeledVideoPaths(_read_list(data_path, video_path_prefix or "."))
    return LabeledVideoDataset(paths, clip_sampler, video_sampler, transform, decode_audio, decoder=decoder)


Kinetics = Ucf101 = labeled_video_dataset


def Hmdb51(  # noqa: N802 - PyTorchVideo's name
    data_path: PathLike,
    clip_sampler: ClipSampler,
    video_sampler: VideoSampler = RandomSampler,
    transform: Transform | None = None,
    video_path_prefix: PathLike = "",
    split_id: Literal[1, 2, 3] = 1,
    split_type: Literal["train", "test", "unused"] = "train",
    decode_audio: bool = False,
    decoder: str = "pyav",
) -> LabeledVideoDataset:
    """Opens HMDB-51 by the files of its authors, `data_path`/CLASS_test_split1.txt, below `video_path_prefix`/CLASS.

    As in PyTorchVideo, `label` is the name of the class, and `meta_tags` are the five tags in the name of the video.
    The rest is LabeledVideoDataset's.
    Raises: ListError.
    """
    if split_type not in _USES:
        raise ConfigError(f"split_type: {split_type!r} must be one of {', '.join(_USES)}")
    ending = f"_test_split{split_id}.txt"
    pairs = []
    for file in sorted(Path(data_path).glob(f"*{ending}")):
        name = file.name.removesuffix(ending)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            video, _, use = line.strip().rpartition(" ")
            if line.strip() and use not in _USES.values():
                raise ListError(f"{file}:{number}: {line!r} is not `video 0|1|2`")
            if use == _USES[split_type]:
                entries = {"label": name, "meta_tags": video.strip().split("_")[-6:-1]}
                pairs.append((f"{name}/{video.strip()}", entries))
    if not pairs:
        raise ListError(f"{data_path}: no file *{ending} has a video for {split_type!r}")
    paths = LabeledVideoPaths(pairs, video_path_prefix)
    return LabeledVideoDataset(paths, clip_sampler, video_sampler, transform, decode_audio, decoder=decoder)


def _read_list(data_path: PathLike, root: PathLike) -> list[tuple[str, int]]:
    """Returns the full paths of a list's videos and their labels."""
    if (partly := _partly_labelled(Path(data_path), Path(root))) is not None:
        return [(str(Path(root) / path), label) for path, label in partly]
    classes = number_classes([(data_path, root)])
    if classes is not None and classes.from_list:
        _log.warning(
            "%s: there is no classInd.txt, so its %d class names are numbered in alphabetical order; a list with other "
            "classes is numbered otherwise",
            data_path,
            len(classes.names),
        )
    records, _ = read_videos(data_path, root=root, classes=classes, unlabelled=True)
    if records.spans is not None:
        raise ListError(
            f"{data_path}: gives a start and an end in seconds, but whole videos are read here; cut the videos, leave "
            "out these columns, or train with main.py, which reads parts"
        )
    records = as_on_disk(records)
    return [(records.full_path(video), int(records.labels[video])) for video in range(len(records))]


def _partly_labelled(source: Path, root: Path) -> list[tuple[str, int]] | None:
    """Returns the paths and labels, or -1, of a list with lines that are a path alone; None for any other list."""
    if not source.is_file():
        return None
    found, alone = [], 0
    for line in filter(None, map(str.strip, source.read_text("utf-8-sig", errors="replace").splitlines())):
        if Path(line).suffix.lower() in VIDEO_SUFFIXES or (root / line).is_dir():
            found.append((line, -1))
            alone += 1
        elif len(words := line.rsplit(None, 1)) == 2 and (words[1] == "-1" or words[1].isdecimal()):
            found.append((words[0], int(words[1])))
        else:
            return None
    return found if alone else None

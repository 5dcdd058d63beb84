"""Describes the official archives of public data sets: where their parts are, and how they become lists.

The numbers of videos are those that the authors state in papers and on web pages, not counted here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError


@dataclass(frozen=True)
class Archive:
    """Describes the archive of one data set.

    Files and folders are patterns that are looked for in SOURCE and one folder below; the first match counts.

    title: name of the data set.
    page: its page in docs/datasets.
    folder: the folder in data/ that the recipes in exps/ use.
    videos: published number of videos, or of parts of videos.
    media: folder of the videos, or of one folder of frames per video if `has_frames`.
    splits: a file in the folder of split files.
    train, val, test: annotation files.
    classes: file of class names, if the annotations do not give their order; the names are sorted if `sort_classes`.
    mirrored: whether some classes differ only by left and right.
    """

    title: str
    page: str
    folder: str
    videos: int
    media: tuple[str, ...] = (".",)
    has_frames: bool = False
    splits: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    sort_classes: bool = False
    mirrored: bool = False


def _kinetics(number: int, folder: str, videos: int) -> Archive:
    return Archive(
        f"Kinetics-{number}",
        "kinetics",
        folder,
        videos,
        train=("train.csv", "*train.csv", "*train.json"),
        val=("val.csv", "validate.csv", "*val.csv", "*validate.csv", "*val*.json"),
        test=("test.csv", "*test.csv", "*test.json"),
    )


ARCHIVES = {
    "activitynet": Archive(
        "ActivityNet 1.3", "activitynet", "activitynet", 23_064, train=("activity_net*.json", "*activitynet*.json")
    ),
    "kinetics400": _kinetics(400, "kin400", 306_245),
    "kinetics600": _kinetics(600, "kin600", 495_547),
    "kinetics700": _kinetics(700, "kin700", 650_317),
    "ucf101": Archive("UCF-101", "ucf101", "ucf101", 13_320, media=("UCF-101", "UCF101"), splits=("trainlist01.txt",)),
    "hmdb51": Archive(
        "HMDB-51", "hmdb51", "hmdb51", 6_766, media=("hmdb51_org", "hmdb51", "videos"), splits=("*_test_split1.txt",)
    ),
    "something_v1": Archive(
        "Something-Something V1",
        "something_something_v1",
        "something_v1",
        108_499,
        media=("20bn-something-something-v1",),
        has_frames=True,
        train=("something-something-v1-train.csv",),
        val=("something-something-v1-validation.csv",),
        test=("something-something-v1-test.csv",),
        classes=("something-something-v1-labels.csv",),
        sort_classes=True,
        mirrored=True,
    ),
    "something_v2": Archive(
        "Something-Something V2",
        "something_something_v2",
        "something_v2",
        220_847,
        media=("20bn-something-something-v2",),
        train=("something-something-v2-train.json", "train.json"),
        val=("something-something-v2-validation.json", "validation.json"),
        test=("something-something-v2-test.json", "test.json"),
        classes=("something-something-v2-labels.json", "labels.json"),
        mirrored=True,
    ),
    "jester": Archive(
        "Jester",
        "jester",
        "jester",
        148_092,
        media=("20bn-jester-v1",),
        has_frames=True,
        train=("jester-v1-train.csv",),
        val=("jester-v1-validation.csv",),
        test=("jester-v1-test.csv",),
        classes=("jester-v1-labels.csv",),
        sort_classes=True,
        mirrored=True,
    ),
}


@dataclass(frozen=True)
class Layout:
    """Holds where the parts of an archive are.

    media: folder of the videos or of the folders of frames.
    splits: folder of split files; None if the annotations give the split.
    annotations: annotation files.
    classes: file of class names; None if the annotations give their order.
    """

    media: Path
    splits: Path | None
    annotations: list[Path]
    classes: Path | None


def find_layout(archive: Archive, source: Path, *, unlabelled: bool) -> Layout:
    """Finds the parts of `archive` below `source`. Raises UserError that names the part that is missing."""
    if not source.is_dir():
        raise UserError(f"{source}: no such folder" if not source.exists() else f"{source} is not a folder")
    wanted = [archive.train, archive.val, *([archive.test] if unlabelled else [])]
    return Layout(
        media=_find(archive, source, archive.media, folder=True),
        splits=_find(archive, source, archive.splits).parent if archive.splits else None,
        annotations=[_find(archive, source, patterns) for patterns in wanted if patterns],
        classes=_find(archive, source, archive.classes) if archive.classes else None,
    )


def _find(archive: Archive, source: Path, patterns: Sequence[str], *, folder: bool = False) -> Path:
    if patterns == (".",):
        return source
    for pattern in patterns:
        for place in (pattern, f"*/{pattern}"):
            found = [path for path in sorted(source.glob(place)) if path.is_dir() == folder]
            if found:
                return found[0]
    raise UserError(
        f"{source}: {archive.title} needs {' or '.join(patterns)}, which is neither in this folder nor in one below "
        f"it; docs/datasets/{archive.page}.md shows what its archive contains"
    )


_MIRROR = {"left": "right", "clockwise": "counterclockwise"}
_MIRROR |= {other: one for one, other in _MIRROR.items()}
_SIDES = re.compile(rf"\b({'|'.join(_MIRROR)})\b", re.IGNORECASE)


def mirror_pairs(classes: Sequence[str]) -> dict[str, str]:
    """Returns the class that each class becomes when mirrored, if it is another one, for augmentation.flip_labels.

    The words left and right, clockwise and counterclockwise in the names of classes decide.
    """
    mirrored = {name: _SIDES.sub(_other_side, name) for name in classes}
    return {name: other for name, other in mirrored.items() if other != name and other in mirrored}


def _other_side(match: re.Match[str]) -> str:
    other = _MIRROR[match[1].lower()]
    return other.capitalize() if match[1][0].isupper() else other

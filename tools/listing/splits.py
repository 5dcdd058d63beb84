"""Splits videos into training and validation: by the split files of UCF-101 and HMDB-51, or by a seeded ratio."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from datasets.lists.class_names import find_class_file, read_class_file
from datasets.lists.columns import composed
from utils.errors import ListError, UserError
from utils.files import no_pipe

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLITS |= {"validate": "val", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class SplitRow:
    """Holds one video of a split.

    label: its class as the split file writes it.
    stem: its file name without suffix.
    split: "train" or "val".
    """

    label: str
    stem: str
    split: str


@dataclass(frozen=True)
class SplitFiles:
    """Holds the videos and the classes of a folder of split files; classes are in the order of their index."""

    rows: tuple[SplitRow, ...]
    classes: tuple[str, ...]


def read_split(path: Path, *, number: int) -> SplitFiles:
    """Reads split `number` (1 to 3) from the split files of UCF-101 or HMDB-51.

    path: their folder, or one of the files.

    Raises ListError with file and line for anything that is not such a split, and UserError if there are no such files.
    """
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise UserError(f"{path}: no such split file or folder")
    if (folder / f"trainlist{number:02d}.txt").is_file():
        return _read_ucf(folder, number=number)
    if hmdb := sorted(folder.glob(f"*_test_split{number}.txt")):
        return _read_hmdb(hmdb, number=number)
    raise UserError(
        f"{folder}: contains neither trainlist{number:02d}.txt (UCF-101) nor *_test_split{number}.txt (HMDB-51); give "
        "the folder with these files, and the number with --split-number"
    )


def _lines(path: Path) -> Iterable[tuple[str, str]]:
    try:
        text = no_pipe(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{path}:{number}", composed(line.strip())


def _read_ucf(folder: Path, *, number: int) -> SplitFiles:
    class_file = find_class_file(folder / "trainlist01.txt", folder)
    if class_file is None:
        raise ListError(f"{folder}: classInd.txt is missing; it comes with the split files")
    classes = tuple(read_class_file(class_file))
    rows: list[SplitRow] = []
    for split, file in (("train", f"trainlist{number:02d}.txt"), ("val", f"testlist{number:02d}.txt")):
        for where, line in _lines(folder / file):
            name, _, index = line.rpartition(" ")
            if not (index.isascii() and index.isdecimal()):  # the test lists have no label
                name, index = line, ""
            video = PurePosixPath(name.strip())
            label = video.parent.name
            known = label in classes and len(index) < 10
            if not known or (index and not 1 <= int(index) <= len(classes)):
                raise ListError(f"{where}: the class of {line!r} is not in {class_file}")
            if index and classes[int(index) - 1] != label:  # the labels of UCF-101's lists count from 1
                raise ListError(f"{where}: label {index} is {classes[int(index) - 1]!r} in {class_file}, not {label!r}")
            rows.append(SplitRow(label, video.stem, split))
    return SplitFiles(tuple(rows), classes)


def _read_hmdb(files: Sequence[Path], *, number: int) -> SplitFiles:
    rows: list[SplitRow] = []
    classes = tuple(composed(file.name.removesuffix(f"_test_split{number}.txt")) for file in files)
    for label, file in zip(classes, files, strict=True):
        for where, line in _lines(file):
            name, _, use = line.rpartition(" ")
            if use not in ("0", "1", "2") or not name:
                raise ListError(f"{where}: {line!r} is not `video 0|1|2`")
            if use != "0":  # 0: in neither set of this split
                rows.append(SplitRow(label, PurePosixPath(name.strip()).stem, "train" if use == "1" else "val"))
    return SplitFiles(tuple(rows), classes)


def ratio_split(labels: Sequence[Sequence[str]], groups: Sequence[str], *, ratio: float, seed: int) -> list[str]:
    """Returns "train" or "val" for each video: about `ratio` of each class validates, and no group is in both.

    The same seed gives the same split. Every class keeps a video to train on. A class with at least two groups has
    videos in both splits, unless its groups are tied to those of other classes.

    labels: classes of each video; videos without any are split like one more class.
    """
    sets = [tuple(row) or ("",) for row in labels]
    members: dict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    total = Counter(label for row in sets for label in row)
    target = {label: min(max(ratio * count, 1.0), count - 1.0) for label, count in total.items()}
    counts = {group: Counter(label for n in numbers for label in sets[n]) for group, numbers in members.items()}
    order = [sorted(members)[n] for n in np.random.default_rng(seed).permutation(len(members))]
    val: Counter[str] = Counter()
    chosen: set[str] = set()

    def take(group: str) -> None:
        chosen.add(group)
        val.update(counts[group])

    def leaves_some(group: str) -> bool:
        return all(val[c] + k < total[c] for c, k in counts[group].items())

    for group in order:
        change = sum(abs(val[c] + k - target[c]) - abs(val[c] - target[c]) for c, k in counts[group].items())
        if change < 0 and leaves_some(group):
            take(group)
    for label in sorted(total):  # a class whose groups are all large compared with the ratio
        left = [group for group in order if label in counts[group] and group not in chosen and leaves_some(group)]
        if not val[label] and left:
            take(min(left, key=lambda group: counts[group].total()))
    return ["val" if group in chosen else "train" for group in groups]

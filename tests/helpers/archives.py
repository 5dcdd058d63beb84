"""The official archives in miniature: names and files as their authors lay them out, videos of a second or less.

`python -m tests.helpers.archives NAME FOLDER` makes one, for the pages in docs/datasets/.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from tests.helpers.make_video import make_video, picture

SURFING, KNITTING = "Surfing", "Knitting"


def ucf101(folder: Path) -> None:
    """UCF-101/<class>/v_<class>_gNN_cNN.avi and ucfTrainTestlist/, whose labels count from 1."""
    lists: dict[str, list[str]] = {}
    for index, label in enumerate(("ApplyEyeMakeup", "Archery"), 1):
        for group in range(1, 5):
            name = f"v_{label}_g{group:02d}_c01.avi"
            _copy(folder / "UCF-101" / label / name, "mpeg4")
            for number in (1, 2, 3):
                side = "test" if group == number else "train"
                line = f"{label}/{name}" + (f" {index}" if side == "train" else "")
                lists.setdefault(f"{side}list{number:02d}.txt", []).append(line)
    for name, lines in lists.items():
        _write(folder / "ucfTrainTestlist" / name, *lines)
    _write(folder / "ucfTrainTestlist" / "classInd.txt", "1 ApplyEyeMakeup", "2 Archery")


def hmdb51(folder: Path) -> None:
    """hmdb51_org/<class>/*.avi, and split files with 1 for training, 2 for testing and 0 for neither."""
    for label in ("brush_hair", "wave"):
        names = [f"{label}_clip_{number}_{label}_h_nm_np1_ba_goo_0.avi" for number in range(4)]
        for name in names:
            _copy(folder / "hmdb51_org" / label / name, "mpeg4")
        for number in (1, 2, 3):
            codes = [1, 1, 2, 0] if number == 1 else [2, 0, 1, 1]
            lines = [f"{name} {code} " for name, code in zip(names, codes, strict=True)]
            _write(folder / "testTrainMulti_7030_splits" / f"{label}_test_split{number}.txt", *lines)


def kinetics400(folder: Path) -> None:
    """annotations/{train,val,test}.csv and videos with the seconds in their names; one has vanished, one is whole."""
    header = "label,youtube_id,time_start,time_end,split"
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for side, per_class in (("train", 3), ("val", 1)):
        for label in ("abseiling", "zumba"):
            for number in range(per_class):
                video = f"{label[:4]}-{side}{number}".ljust(11, "_")
                rows[side].append(f"{label},{video},{10 * number},{10 * number + 10},{side}")
                _copy(folder / side / f"{video}_{10 * number:06d}_{10 * number + 10:06d}.mp4")
    rows["train"].append("zumba,vanished___,3,13,train")
    rows["train"].append('"abseiling",uncut______,0,1,train')
    _copy(folder / "train" / "uncut______.mp4", frames=48)
    rows["test"].append("unknown____,20,30,test")
    _copy(folder / "test" / "unknown_____000020_000030.mp4")
    for side, lines in rows.items():
        _write(folder / "annotations" / f"{side}.csv", header.removeprefix("label," * (side == "test")), *lines)


def activitynet(folder: Path) -> None:
    """activity_net.v1-3.min.json and untrimmed v_<id>.mp4, two seconds of them; one annotation is past the end."""
    database: dict[str, Any] = {}
    for subset, count in (("training", 3), ("validation", 2), ("testing", 1)):
        for number in range(count):
            video = f"{subset[:5]}{number}".ljust(11, "-")
            label = (SURFING, KNITTING)[number % 2]
            segments = [[0.25, 0.75], [1.0, 1.5]] if number == 0 else [[0.5, 2.0]]
            annotations = [{"segment": segment, "label": label} for segment in segments]
            if subset == "training" and number == 1:
                annotations.append({"segment": [5.0, 6.0], "label": label})
            database[video] = {
                "duration": 2.0,
                "subset": subset,
                "resolution": "96x64",
                "url": f"https://www.youtube.com/watch?v={video}",
                "annotations": [] if subset == "testing" else annotations,
            }
            _copy(folder / "videos" / f"v_{video}.mp4", frames=48)
    text = json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": database})
    _write(folder / "activity_net.v1-3.min.json", text)


V2_CLASSES = [
    "Holding something",
    "Pushing something from left to right",
    "Pushing something from right to left",
    "Opening something",
]


def something_v2(folder: Path) -> None:
    """20bn-something-something-v2/<id>.webm and labels/{train,validation,test,labels}.json."""
    sides = {"train": [0, 1, 2, 3, 1], "validation": [0, 1, 2, 3], "test": [0]}
    video = 1000
    for side, labels in sides.items():
        entries: list[dict[str, Any]] = []
        for label in labels:
            video += 1
            template = V2_CLASSES[label].replace("something", "[something]", 1)
            text = V2_CLASSES[label].replace("something", "a cup", 1).lower()
            full = {"id": str(video), "label": text, "template": template, "placeholders": ["a cup"]}
            entries.append({"id": str(video)} if side == "test" else full)
            _copy(folder / "20bn-something-something-v2" / f"{video}.webm", "libvpx-vp9", frames=12)
        _write(folder / "labels" / f"{side}.json", json.dumps(entries))
    numbers = {name: str(index) for index, name in enumerate(V2_CLASSES)}
    _write(folder / "labels" / "labels.json", json.dumps(numbers))


V1_CLASSES = ["Turning the camera right while filming something", "Holding something, [part]"]
V1_CLASSES += ["Turning the camera left while filming something"]
JESTER_CLASSES = [
    "Swiping Left",
    "Swiping Right",
    "Turning Hand Clockwise",
    "Turning Hand Counterclockwise",
    "Stop Sign",
]


def something_v1(folder: Path) -> None:
    """20bn-something-something-v1/<id>/00001.jpg and something-something-v1-*.csv."""
    _frames(folder, "something-something-v1", V1_CLASSES)


def jester(folder: Path) -> None:
    """20bn-jester-v1/<id>/00001.jpg and jester-v1-*.csv."""
    _frames(folder, "jester-v1", JESTER_CLASSES)


def _frames(folder: Path, name: str, classes: list[str]) -> None:
    video = 0
    for side, rounds in (("train", 2), ("validation", 1), ("test", 1)):
        lines = []
        for label in classes * rounds if side != "test" else classes[:1]:
            video += 1
            for number in range(1, 6 + video % 3):
                path = folder / f"20bn-{name}" / str(video) / f"{number:05d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture(number, width=48, height=32))
            lines.append(str(video) if side == "test" else f"{video};{label}")
        _write(folder / f"{name}-{side}.csv", *lines)
    _write(folder / f"{name}-labels.csv", *classes)


def _write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))


_made: dict[tuple[str, str, int], Path] = {}


def _copy(path: Path, codec: str = "libx264", *, frames: int = 24) -> None:
    """A video at `path`; one of a kind is encoded and then copied."""
    made = _made.get((codec, path.suffix, frames))
    if made is not None and made.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, path)
    else:
        _made[codec, path.suffix, frames] = make_video(path, codec, frames=frames)


MAKERS: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker for maker in (ucf101, hmdb51, kinetics400, activitynet, something_v1, something_v2, jester)
}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](Path(sys.argv[2]))

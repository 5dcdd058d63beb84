"""A small data set as users of mmaction2, PySlowFast and MIT's TSM have it: frames, videos and their annotation files.

`python -m tests.helpers.peer_lists FOLDER` makes it, for the pages docs/from_*.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2

from tests.helpers.make_video import make_video, picture

CLASSES = ("jump", "run")


def make_peer_lists(folder: Path) -> None:
    """rawframes/<class>/<video>/img_00001.jpg, videos/<class>/<video>.mp4, and who trains in every dialect."""
    video = make_video(folder / "videos" / "jump" / "v0.mp4", frames=12)
    lists: dict[str, list[str]] = {}
    entries: dict[str, list[dict[str, object]]] = {"train": [], "val": []}
    for label, name in enumerate(CLASSES):
        for number in range(3):
            side, path = "val" if number == 2 else "train", f"{name}/v{number}"
            file = folder / "videos" / f"{path}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            if file != video:
                shutil.copyfile(video, file)
            for frame in range(1, 9):
                image = folder / "rawframes" / path / f"img_{frame:05d}.jpg"
                image.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(image), picture(frame, width=48, height=32))
            lists.setdefault(f"{side}_rawframes.txt", []).append(f"{path} 8 {label}")  # mmaction2
            lists.setdefault(f"{side}_videos.txt", []).append(f"{path}.mp4 {label}")
            lists.setdefault(f"{side}_videofolder.txt", []).append(f"{path} 8 {label}")  # MIT's TSM
            lists.setdefault(f"{side}.csv", []).append(f"{path}.mp4 {label}")  # PySlowFast, with DATA.PATH_PREFIX
            entries[side].append({"frame_dir": path, "total_frames": 8, "label": label})
    lists["category.txt"] = lists["label_map.txt"] = list(CLASSES)
    for name, lines in lists.items():
        (folder / name).write_text("".join(line + "\n" for line in lines))
    for side, content in entries.items():
        (folder / f"{side}_anno.json").write_text(json.dumps(content))


if __name__ == "__main__":
    make_peer_lists(Path(sys.argv[1]))

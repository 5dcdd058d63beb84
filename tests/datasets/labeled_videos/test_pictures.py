"""Something-Something V2 and Charades from pictures: the frames and labels of PyTorchVideo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import SequentialSampler

from datasets.labeled_videos import Charades, SSv2, make_clip_sampler
from utils.errors import ListError

HEADER = "original_vido_id video_id frame_id path labels\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 12 pictures, each as bright as its number; class 3, and 7 too from the sixth picture on."""
    root = tmp_path_factory.mktemp("pictures")
    lines = [HEADER]
    for video in range(2):
        for frame in range(12):
            name = f"{video}_{frame}.png"
            cv2.imwrite(str(root / name), np.full((6, 6, 3), 100 * video + frame, np.uint8))
            lines.append(f'v{video} {video} {frame} {name} "{"3" if frame < 6 else "3,7"}"\n')
    (root / "table.csv").write_text("".join(lines))
    (root / "labels.json").write_text(json.dumps({"Moving something": "5", "Holding something": "2"}))
    entries = [
        {"id": "v1", "template": "Moving [something]"},
        {"id": "v0", "template": "Holding [something]"},
        {"id": "v9", "template": "Holding [something]"},
    ]
    (root / "videos.json").write_text(json.dumps(entries))
    return root


def shown(clip: dict[str, Any]) -> list[int]:
    return clip["video"][0, :, 0, 0].int().tolist()


def something(folder: Path, **arguments: Any) -> SSv2:
    files = [folder / name for name in ("labels.json", "videos.json", "table.csv")]
    sampler = make_clip_sampler("constant_clips_per_video", 0.2, 1)
    return SSv2(*files, sampler, SequentialSampler, video_path_prefix=folder, **arguments)


def test_something_takes_one_picture_of_each_segment(folder: Path) -> None:
    first, second = something(folder, frames_per_clip=4)
    assert (first["label"], first["video_name"], second["label"]) == (5, "0", 2)
    assert shown(second) == [1, 4, 7, 9] and shown(first) == [101, 104, 107, 109]
    assert shown(next(something(folder))) == [*range(100, 112)]
    drawn = {
        tuple(shown(clip)) for _ in range(6) for clip in something(folder, frames_per_clip=4, rand_sample_frames=True)
    }
    assert len(drawn) > 4 and all(list(frames) == sorted(frames) for frames in drawn)


def test_charades_has_the_labels_of_each_picture(folder: Path) -> None:
    sampler = make_clip_sampler("uniform", 0.2)
    clips = [*Charades(folder / "table.csv", sampler, SequentialSampler, video_path_prefix=folder, frames_per_clip=2)]
    assert [shown(clip) for clip in clips] == [[0, 5], [6, 11], [100, 105], [106, 111]]
    assert clips[0]["label"] == [[3]] * 6 and clips[1]["label"] == [[3, 7]] * 6
    assert clips[0]["video_label"] == [3, 7] and clips[2]["video_name"] == "1"
    several = next(Charades(folder / "table.csv", make_clip_sampler("random_multi", 0.1, 2), video_path_prefix=folder))
    assert len(several["label"]) == len(several["video"]) == 2 and isinstance(several["video"][0], torch.Tensor)


def test_what_is_wrong_with_a_table_is_named(folder: Path, tmp_path: Path) -> None:
    sampler = make_clip_sampler("uniform", 0.2)
    for text, message in (
        ("a b\n1 2\n", r":2: has not the columns original_vido_id video_id"),
        (HEADER, "has no picture"),
        (HEADER + "x" * 200_000 + " 0 0 x.png 1\n", "cannot be read as a table of pictures: field larger than"),
        (HEADER + "v 0 0 x.png a\n", "labels 'a' are not numbers with commas between them"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ListError, match=message):
            Charades(tmp_path / "t.csv", sampler)
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(ListError, match=r"'Moving something' of video v1 is not in .*labels\.json"):
        SSv2(tmp_path / "labels.json", folder / "videos.json", folder / "table.csv", sampler)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.json", {"Moving something": "zero"}, r"labels\.json: the number of 'Moving something' is 'zero'"),
        ("labels.json", ["Moving something"], r"labels\.json: has a list where a dict is expected"),
        ("videos.json", {"v0": "Holding [something]"}, r"videos\.json: has a dict where a list is expected"),
        ("videos.json", [{"id": "v0"}], r"videos\.json: entry 0 lacks id or template: \{'id': 'v0'\}"),
        ("videos.json", ["v0"], r"videos\.json: entry 0 lacks id"),
        ("labels.json", '{"Moving something": 0, "Moving something": 1}', r"labels\.json: 'Moving something' .* twice"),
        ("videos.json", "[" * 100_000, r"videos\.json: cannot be read as JSON"),
    ],
)
def test_what_is_wrong_with_a_json_file_is_named(
    name: str, content: Any, message: str, folder: Path, tmp_path: Path
) -> None:
    files = {one: folder / one for one in ("labels.json", "videos.json", "table.csv")} | {name: tmp_path / name}
    files[name].write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ListError, match=message):
        SSv2(*files.values(), make_clip_sampler("uniform", 0.2))


def test_numbers_of_videos_may_be_numbers_or_text(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text((folder / "table.csv").read_text().replace("\nv", "\n"))
    (tmp_path / "videos.json").write_text(json.dumps([{"id": 1, "template": "Moving [something]"}]))
    files = (folder / "labels.json", tmp_path / "videos.json", tmp_path / "table.csv")
    assert SSv2(*files, make_clip_sampler("uniform", 0.2), video_path_prefix=folder).num_videos == 1

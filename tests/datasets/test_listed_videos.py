"""Lists of type: segment: the same spans and features, whatever keeps the frames and whatever the spans count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from datasets.protocol import clip_protocol
from datasets.split import missing, open_split
from datasets.whole_videos import WholeVideos
from tests.datasets.conftest import write_dump, write_video
from tests.datasets.test_whole_videos import CPU, Bright
from tests.helpers.make_video import make_video
from tools import pack_frames
from utils.clip_spec import ClipSpec
from utils.config.file import load_config
from utils.errors import ListError

FRAMES, FPS = 24, 12
LISTS = {
    "seconds.csv": "path,label,start,end\nv,x,0.25,1\nv,y,0.5,1.5\nw,x,,\nu,,,\n",
    "frames.csv": "path,label,start_frame,end_frame\nv,x,3,12\nv,y,6,18\nw,x,,\nu,,,\n",
    "offset.txt": "v 3 9 0\nv 6 12 1\nw 0 24 0\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three videos as frames, with a manifest, and their lists."""
    write_dump(tmp_path, "vwu", FRAMES, FPS, LISTS)
    (tmp_path / "classInd.txt").write_text("0 x\n1 y\n")
    return tmp_path


def opened(folder: Path, source: str, *, dry: bool = False, **data: Any) -> Any:
    """The list of a config, with features; dry: what a dry run says of it."""
    root = folder / ("videos" if data.get("store", {}).get("type") == "video" else "frames")
    config = {
        "model": {"type": "segment", "backbone": "resnet18", "num_segments": 2, "num_class": 2},
        "augmentation": {"input_size": 16, "crop": "test", "flip": False},
        "lr_scheduler": {"base_lr": 0.01, "max_iter": 3},
        "data": {"with_offset": source == "offset.txt", "feature_cache": str(folder / "features")} | data,
        **{f"{name}_source": str(folder / source) for name in ("train", "val")},
        **{f"{name}_root": str(root) for name in ("train", "val")},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"common": config}))
    common = load_config(folder / "config.yaml").common
    protocol = clip_protocol(common, ClipSpec(2, window=0.5, step=0.25), train=True)
    if dry:
        return missing(common, "train", protocol)
    split = open_split(common, "train", protocol)
    split.prepare(Bright(), CPU, print, decided={})
    return split


def truth(videos: WholeVideos, index: int) -> list[tuple[float, float, int]]:
    found = videos.truth(index, videos.video(index).seconds)
    rows = zip(found.start.tolist(), found.end.tolist(), found.label.tolist(), strict=True)
    return [(round(start, 3), round(end, 3), label) for start, end, label in rows]


@pytest.mark.parametrize("kind", ["disk", "packed", pytest.param("video", marks=pytest.mark.whole)])
def test_every_store_and_unit_gives_the_same_spans(kind: str, folder: Path) -> None:
    store: dict[str, Any] = {"type": kind}
    if kind == "packed":
        store["folder"] = str(folder / "pack")
        assert pack_frames.main([store["folder"], str(folder / "seconds.csv"), "--root", str(folder / "frames")]) == 0
    elif kind == "video":
        store["cache"] = str(folder / "cache")
        for name in "vwu":
            make_video(folder / f"videos/{name}.mp4", frames=FRAMES, fps=FPS).rename(folder / "videos" / name)
    for source in LISTS:
        videos: Any = opened(folder, source, store=store).dataset
        assert not videos.faults and videos.video(0).seconds == pytest.approx(FRAMES / FPS)
        assert truth(videos, 0) == [(0.5, 1.5, 1), (0.25, 1.0, 0)]
        assert truth(videos, 1) == [(0.0, 2.0, 0)]
        if source != "offset.txt":
            assert truth(videos, 2) == [] and "3 videos, 3 spans, 1 of the videos without one" in videos.description
            assert videos.__getitems__([2]).labels.tolist() == [[[0.0, 7.0, 2.0]]]


def test_features_of_frames_are_computed_again_when_a_frame_changes(folder: Path) -> None:
    before = opened(folder, "seconds.csv").dataset.video(0).features
    write_video(folder / "frames/v", 7, FRAMES)
    after = opened(folder, "seconds.csv").dataset.video(0).features
    assert not np.array_equal(before, after)
    assert len([*(folder / "features").iterdir()]) == 4


@pytest.mark.parametrize("dry", [True, False])
def test_frames_of_an_unknown_rate_are_refused_and_data_fps_gives_it(folder: Path, dry: bool) -> None:
    (folder / "manifest.jsonl").unlink()
    if dry:
        said, count = opened(folder, "frames.csv", dry=True)
        assert "frames.csv:2 (frames 3 to 11): nothing says how many frames a second 'v' has" in said and count == 4
    else:
        with pytest.raises(ListError, match=r"set data\.fps"):
            opened(folder, "frames.csv")
    assert opened(folder, "frames.csv", dry=dry, fps=6) is not None
    if not dry:
        assert truth(opened(folder, "frames.csv", fps=6).dataset, 0) == [(1.0, 3.0, 1), (0.5, 2.0, 0)]


def test_a_broken_frame_or_one_behind_the_end_makes_the_video_a_fault(folder: Path) -> None:
    (folder / "frames/w/img_00005.jpg").write_bytes(b"no picture")
    (folder / "bad.csv").write_text("path,label,start_frame,end_frame\nv,x,3,25\nw,x,1,2\nu,y,0,9\n")
    with pytest.raises(ListError, match=r"bad\.csv:2 \(frames 3 to 24\): v: ends before this span does; it has 24"):
        opened(folder, "bad.csv")
    (folder / "bad.csv").write_text("path,label,start_frame,end_frame\nw,x,1,2\nu,y,0,9\n")
    with pytest.raises(ListError, match=r"bad\.csv:2: .*frames/w/img_00005\.jpg: .*bad_frame_budget is 0"):
        opened(folder, "bad.csv")


def test_only_a_row_without_label_and_span_is_a_video_in_which_nothing_happens(folder: Path) -> None:
    for row in ("u,,1,2", "u,-1,,", "u,nan,,"):
        (folder / "bad.csv").write_text(f"path,label,start,end\nv,x,0.5,1\n{row}\n")
        with pytest.raises(ListError, match=r"bad\.csv:3: 'u' has no class; give it one, or leave label, start and"):
            opened(folder, "bad.csv")

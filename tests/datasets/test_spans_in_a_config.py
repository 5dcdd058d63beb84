"""Lists of spans in a config: every store shows the same frames of the same spans, and results name them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from anal_tools.strips import make_strips
from datasets import STORES
from datasets.open import open_list
from datasets.protocol import clip_protocol
from datasets.split import Split, missing, open_split
from tests.datasets.conftest import Memcached, write_dump
from tests.helpers.make_video import make_video
from tests.helpers.requirements import needs_program
from tools import browse_data, check_data, pack_frames
from utils.clip_spec import ClipSpec
from utils.config.file import load_config
from utils.config.schema import Common
from utils.errors import ConfigError, ListError
from utils.scoring.result_files import read_results, write_results

FRAMES, FPS = 48, 24
LISTS = {
    "seconds.csv": "path,label,start,end\nv,x,0.25,1\nv,y,0.5,1.5\nw,x,,\n",
    "frames.csv": "path,label,start_frame,end_frame\nv,x,6,24\nv,y,12,36\nw,x,,\n",
    "offset.txt": "v 6 18 0\nv 12 24 1\nw 0 48 0\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos as frames, with a manifest, and their lists."""
    return write_dump(tmp_path, "vw", FRAMES, FPS, LISTS)


def config(folder: Path, source: str, store: dict[str, Any] | None = None, **data: Any) -> Path:
    root = folder / ("videos" if store and store["type"] == "video" else "frames")
    common = {
        "model": {"type": "tsn", "backbone": "resnet18", "num_segments": 4, "num_class": 2, "pretrained": False},
        "augmentation": {"input_size": 32, "test_resize": 36},
        "lr_scheduler": {"type": "COSINE", "base_lr": 0.01, "max_iter": 3},
        "data": {"with_offset": source == "offset.txt", "store": store or {}} | data,
        **{f"{name}_source": str(folder / source) for name in ("train", "val")},
        **{f"{name}_root": str(root) for name in ("train", "val")},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"common": common}))
    return folder / "config.yaml"


def opened(folder: Path, source: str, store: dict[str, Any] | None = None, **data: Any) -> Split:
    common = load_config(config(folder, source, store, **data)).common
    return open_split(common, "val", clip_protocol(common, ClipSpec(4), train=False))


def shown(split: Split) -> list[tuple[list[int], int]]:
    """Frames and label of each record, read from the store."""
    found = []
    for index in range(len(split)):
        sample, frames = split.dataset[0, index], split.dataset.shown((0, index))
        assert not sample["fault"] and frames is not None
        found.append((frames.ravel().tolist(), int(sample["label"])))
    return found


@pytest.mark.whole
@needs_program("memcached", install="apt-get install memcached")
@pytest.mark.parametrize("kind", [*STORES, "video"])
def test_every_store_shows_the_same_frames_of_a_span(
    kind: str, folder: Path, memcached: Callable[..., Memcached]
) -> None:
    store: dict[str, Any] = {"type": kind}
    if kind == "memcached":
        store["servers"] = [memcached().address]
    elif kind == "packed":
        store["folder"] = str(folder / "pack")
    elif kind == "video":
        store["cache"] = str(folder / "cache")
        for name in "vw":
            make_video(folder / f"videos/{name}.mp4", frames=FRAMES, fps=FPS).rename(folder / "videos" / name)
    whole = ([6, 18, 30, 42], 0)
    for source in LISTS:
        if kind == "packed":
            shutil.rmtree(folder / "pack", ignore_errors=True)
            offset = ["--with-offset"] if source == "offset.txt" else []
            given = [store["folder"], str(folder / source), "--root", str(folder / "frames"), *offset]
            assert pack_frames.main(given) == 0
        assert shown(opened(folder, source, store)) == [([8, 12, 17, 21], 0), ([15, 21, 27, 33], 1), whole]
        # with half of 18 and of 24 frames more on each side: frames 0 to 32, not beginning before the video, and all
        assert shown(opened(folder, source, store, context=0.5)) == [([4, 12, 20, 28], 0), ([6, 18, 30, 42], 1), whole]


def test_a_span_that_a_video_does_not_have_is_named_whatever_its_unit(folder: Path) -> None:
    make_video(folder / "videos/v.mp4", frames=20, fps=FPS).rename(folder / "videos/v")
    store = {"type": "video", "cache": str(folder / "cache")}
    for header, row, what in (
        ("start_frame,end_frame", "v,x,10,21", r"\(frames 10 to 20\): .*videos/v: ends before this span does"),
        ("start,end", "v,x,2,3", r"\(2 to 3 s\): .*videos/v: has no frame in this span"),
    ):
        (folder / "bad.csv").write_text(f"path,label,{header}\n{row}\nv,y,0,1\n")
        with pytest.raises(ListError, match=rf"bad.csv:2 {what}; it has 20 frames, the last one at 0.79 s"):
            opened(folder, "bad.csv", store)


@pytest.mark.whole
def test_spans_that_are_cut_at_the_end_of_their_video_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_video(folder / "videos/v.mp4", frames=FRAMES, fps=FPS).rename(folder / "videos/v")
    rows = "path,label,start,end\nv,x,1,2.05\nv,y,1,2.5\nv,y,1.5,3\n"
    (folder / "late.csv").write_text(rows)
    said = (
        "late.csv: 2 of 3 spans end behind the end of their video, by up to 1.00 s, and are cut there; tools/check_data"
    )
    for store in ({"type": "disk"}, {"type": "video", "cache": str(folder / "cache")}):
        caplog.clear()
        opened(folder, "late.csv", store)
        assert said in caplog.text
        (folder / "fine.csv").write_text(rows.replace("2.5", "2").replace("3", "2"))
        caplog.clear()
        opened(folder, "fine.csv", store)
        assert caplog.text == ""


@pytest.mark.whole
def test_results_strips_and_pages_name_the_span(folder: Path) -> None:
    split = opened(folder, "seconds.csv")
    names = ["v#t=0.25,1", "v#t=0.5,1.5", "w"]
    assert [split.path(index) for index in range(3)] == names == split.videos().paths
    scores = np.full((3, 2), 0.5, np.float32)
    write_results(folder, paths=names, labels=split.labels, scores=scores, class_names=split.class_names, protocol="p")
    assert read_results(folder).paths == names
    strips = make_strips(split.common, names, budget=10**6)
    assert list(strips.pictures) == names and len(set(strips.pictures.values())) == 3 and strips.problem is None
    frames = opened(folder, "frames.csv").videos().paths
    assert frames == ["v#frames=6,24", "v#frames=12,36", "w"]
    assert browse_data.main([str(folder / "config.yaml"), "--out", str(folder / "sheet.png"), "--val"]) == 0


def test_the_spans_of_a_video_are_held_out_together_whatever_their_classes(folder: Path) -> None:
    (folder / "four.csv").write_text("path,label,start,end\nv,x,0,1\nv,y,1,2\nw,y,0,1\nw,x,1,2\n")
    groups = opened(folder, "four.csv").held_out(range(4), 2)
    assert groups is not None and groups[0] == groups[1] != groups[2] == groups[3]


@pytest.mark.whole
@pytest.mark.parametrize("source", LISTS)
def test_background_is_the_same_from_every_store(source: str, folder: Path) -> None:
    make_video(folder / "videos/v.mp4", frames=FRAMES, fps=FPS).rename(folder / "videos/v")
    (folder / "videos/w").symlink_to(folder / "videos/v")
    (folder / "classInd.txt").write_text("0 x\n1 y\n2 none of them\n")
    found = []
    for store in ({"type": "disk"}, {"type": "video", "cache": str(folder / "cache")}):
        for place in ("random", "hard"):
            background = {"per_span": 2, "place": place, "label": "none of them"}
            path = config(folder, source, store, context=0.5, background=background)
            path.write_text(path.read_text().replace("num_class: 2", "num_class: 3"))
            common = load_config(path).common
            split = open_split(common, "train", clip_protocol(common, ClipSpec(4), train=True))
            frames = [split.dataset.shown((1, index)).ravel() for index in range(3, len(split))]  # type: ignore[union-attr]
            assert all(((one < 6) | (one >= 36)).all() for one in frames)
            assert split.labels.tolist()[:3] == [0, 1, 0] and set(split.labels.tolist()[3:]) == {2}
            names = [split.path(index) for index in range(len(split))]
            assert len(set(names)) == len(names) and f"{len(names) - 3} of " in str(split)
            found.append((names, [one.tolist() for one in frames]))
    assert found[:2] == found[2:] and len(found[0][0]) == 4 and len(found[1][0]) == 5  # only one gap is used at random


def test_background_without_a_class_is_the_empty_set(folder: Path) -> None:
    path = config(folder, "seconds.csv", background={"per_span": 1})
    with pytest.raises(ConfigError, match=r"data.background: with one class per video it needs a label"):
        load_config(path)
    common = load_config(path, ["common.multi_label=True"]).common
    split = open_split(common, "val", clip_protocol(common, ClipSpec(4), train=False))
    assert [split.labels[index].tolist() for index in range(len(split))] == [[1, 0], [0, 1], [1, 0], [0, 0]]
    assert split.labelled.all() and not split.dataset[0, 3]["fault"] and split.path(3) == "v#t=1.5,2"
    with pytest.raises(ConfigError, match=r"background.label: 'z' is not a class; add it to the class file"):
        opened(folder, "seconds.csv", background={"per_span": 1, "label": "z"})
    with pytest.raises(ConfigError, match="needs per_span"):
        opened(folder, "seconds.csv", background={"place": "hard"})


def test_a_frame_that_cannot_be_read_is_a_fault_that_names_the_span(folder: Path) -> None:
    (folder / "frames/v/img_00016.jpg").write_bytes(b"")
    fault = opened(folder, "seconds.csv").dataset[0, 1]["fault"]
    assert "seconds.csv:3 (0.5 to 1.5 s): " in fault and "img_00016.jpg: the file is empty" in fault


def test_settings_that_cannot_be_are_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"common\.data\.fps: is for folders of frames"):
        opened(folder, "seconds.csv", {"type": "video"}, fps=24.0)
    (folder / "manifest.jsonl").unlink()
    with pytest.raises(ListError, match=r"seconds.csv:2 \(0.25 to 1 s\): .* set data.fps"):
        opened(folder, "seconds.csv")
    common: Common = load_config(config(folder, "seconds.csv")).common
    message, count = missing(common, "val", clip_protocol(common, ClipSpec(4), train=False))
    assert "set data.fps" in str(message) and count == 3
    assert shown(opened(folder, "seconds.csv", fps=24.0))[1] == ([15, 21, 27, 33], 1)
    (folder / "images.txt").write_text("v/img_00001.jpg 0\n")
    (folder / "config.yaml").write_text(config(folder, "images.txt").read_text().replace("type: tsn", "type: img"))
    with pytest.raises(ConfigError, match=r"with_offset: .* names image files"):
        open_list(load_config(folder / "config.yaml", ["common.data.with_offset=True"]).common, "val")


@pytest.mark.whole
@pytest.mark.parametrize("source", LISTS)
def test_check_data_knows_spans(source: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def faults(*options: str) -> list[str]:
        check_data.main([str(config(folder, source)), "--json", "--workers", "1", *options])
        said = json.loads(capsys.readouterr().out)
        return [f"{one['kind']} {one['line']}" for one in said["remaining" if "--fix" in options else "faults"]]

    same, lines = "same_list 0", LISTS[source].splitlines()
    assert faults() == [same]
    first = len(lines) - 3  # the header is no span
    outside = {"seconds.csv": "v,x,2.5,3", "frames.csv": "v,x,40,49", "offset.txt": "v 40 9 0"}[source]
    (folder / source).write_text("\n".join([*lines, outside, lines[first + 1], ""]))
    (folder / "frames/v/img_00009.jpg").write_bytes(b"no picture")  # of the first span alone
    last = len(lines)
    assert faults() == [same, f"duplicate {last + 2}", f"undecodable_frame {first + 1}", f"span {last + 1}"]
    assert faults("--fix") == [same]
    cut_off = {"seconds.csv": [], "frames.csv": ["v,x,40,48"], "offset.txt": ["v 40 8 0"]}[source]
    assert (folder / source).read_text().splitlines() == [*lines[:first], *lines[first + 1 :], *cut_off]


def test_spans_with_offsets_share_their_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "offset.txt").write_text("v 0 40 0\nv 10 20 1\nv 0 40 2\n")
    path = config(folder, "offset.txt")
    path.write_text(path.read_text().replace("num_class: 2", "num_class: 3"))
    records, _ = open_list(load_config(path, ["common.multi_label=True"]).common, "val")
    assert [records.labels[index].tolist() for index in range(len(records))] == [[1, 0, 1], [1, 1, 1]]
    check_data.main([str(path), "--multi-label", "--json", "--workers", "1", "--quick"])
    assert [one["kind"] for one in json.loads(capsys.readouterr().out)["faults"]] == ["same_list"]


def test_check_data_counts_seconds_from_the_start_of_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = folder / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"source_fps"', '"begins": 0.5, "source_fps"'))
    (folder / "late.csv").write_text("path,label,start,end\nv,x,2.2,2.4\nv,y,0.2,0.4\n")
    check_data.main([str(config(folder, "late.csv")), "--json", "--workers", "1", "--quick"])
    faults = [f"{one['kind']} {one['line']}" for one in json.loads(capsys.readouterr().out)["faults"]]
    assert faults[:2] == ["same_list 0", "empty_part 3"] and "empty_part 2" not in faults

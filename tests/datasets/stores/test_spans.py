"""Spans of videos that are stored as frames: which frames they are, from seconds, frames and offsets."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import DATASETS, DiskStore
from datasets.lists.background import Background
from datasets.lists.parser import OFFSET_COLUMNS, label_columns
from datasets.lists.records import RecordList, read_list
from datasets.lists.shared_classes import with_shared_classes
from datasets.lists.tables import read_videos
from datasets.stores.check import check_on_disk
from datasets.stores.spans import find_frames
from datasets.videos.segments import SegmentIndex
from tests.datasets.conftest import write_video
from tests.datasets.test_datasets import CLIPS, Noise
from tests.helpers.dumping import make_job
from tests.helpers.make_video import make_video
from tests.helpers.numbered import write_late_numbers
from tests.helpers.protocol import for_testing, for_training
from tools.dumping.video import dump_video
from utils.errors import ListError, UserError
from utils.transforms.crops import MultiScale, TestCrops
from utils.transforms.cut_clip import CutClip

Frames = Callable[..., Path]


def manifest(root: Path, **videos: dict[str, Any]) -> None:
    lines = [{"kind": "header", "format": 1}]
    lines += [{"kind": "video", "video": video, "status": "ok"} | more for video, more in videos.items()]
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def table(root: Path, header: str, *rows: str, **given: Any) -> RecordList:
    (root / "spans.csv").write_text("\n".join([f"path,label,{header}", *rows]) + "\n")
    return read_videos(root / "spans.csv", root=root, encoded=False, **given)[0]


def found(records: RecordList, **given: Any) -> list[tuple[int, int]]:
    """First frame and number of frames of each record."""
    records = find_frames(records, DiskStore(records.root), **given)
    first = np.zeros(len(records)) if records.first is None else records.first
    return [(int(one), int(count)) for one, count in zip(first, records.num_frames, strict=True)]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kind", sorted(CLIPS))
def test_a_span_has_the_bits_of_a_folder_with_only_its_frames(kind: str, train: bool, tiny_frames: Frames) -> None:
    root = tiny_frames(25).parent.parent / "frames"
    for frame, file in enumerate(sorted((root / "v0").iterdir())[7:18], 1):
        (root / "cut").mkdir(exist_ok=True)
        (root / "cut" / f"img_{frame:05d}.jpg").write_bytes(file.read_bytes())
    (root / "cut.txt").write_text("cut 11 1\n")
    (root / "offset.txt").write_text("v0 7 11 1\n")
    manifest(root, v0={"frames": 25, "source_fps": 30, "settings": {"fps": 0, "every": 3}})
    lists = [
        read_list(root / "cut.txt", root=root),
        read_list(root / "offset.txt", root=root, columns=OFFSET_COLUMNS),
        table(root, "start_frame,end_frame", "v0,1,7,18"),
        table(root, "start,end", "v0,1,0.7,1.8"),
    ]
    clip = CLIPS[kind]
    if train:
        protocol = for_training(clip, CutClip(MultiScale(), 32, flip=0.5), Noise())
    else:
        protocol = for_testing(clip, CutClip(TestCrops(48), 40), num_clips=2)
    data = [DATASETS[kind](find_frames(one, DiskStore(root)), DiskStore(root), protocol, seed=4) for one in lists]
    for epoch in range(3):
        whole, *spans = [one[epoch, 0] for one in data]
        assert whole["clips"].any()
        for span, of_span in zip(spans, data[1:], strict=True):
            assert (span["clips"] == whole["clips"]).all() and span["label"] == whole["label"] and not span["fault"]
            assert all((span["augment"][key] == whole["augment"][key]).all() for key in whole["augment"])
            assert (of_span.shown((epoch, 0)) == data[0].shown((epoch, 0)) + 7).all()
            assert of_span.fingerprints((epoch, 0)) == data[0].fingerprints((epoch, 0))


def test_seconds_become_frames_by_the_manifest_else_by_the_config(tmp_path: Path) -> None:
    for video, count in (("a", 60), ("b", 30)):
        write_video(tmp_path / "frames" / video, 0, count)
    # the manifest lies above the root; of two lines the last one holds
    dump = {"frames": 60, "source_fps": 29.97, "settings": {"fps": 15, "every": 1}}
    manifest(tmp_path, **{"frames/a": {"frames": 9, "source_fps": 3}, "frames/c": {"frames": 4}})
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "video", "video": "frames/a", "status": "ok"} | dump) + "\n")
    rows = "a,1,1,2", "b,0,1,2", "a,0,,", "a,0,3.5,9", "a,1,0:00:02,2.2"
    records = table(tmp_path / "frames", "start,end", *rows)
    assert found(records, fps=10) == [(15, 15), (10, 10), (0, 60), (53, 7), (30, 3)]
    assert [records.name(index) for index in range(4)] == ["a#t=1,2", "b#t=1,2", "a", "a#t=3.5,9"]
    with pytest.raises(ListError, match=r"spans.csv:3 \(1 to 2 s\): .*'b' is in seconds.*; set data.fps, or"):
        found(records)


def test_seconds_count_from_the_start_of_the_file_that_was_dumped(tmp_path: Path) -> None:
    manifest(tmp_path, v={"frames": 40, "source_fps": 10, "begins": 0.5})
    rows = "v,0,0,1", "v,0,1,2", "v,0,,"
    records = table(tmp_path, "start,end", *rows)
    assert found(records) == [(0, 5), (5, 10), (0, 40)]
    assert found(records, context=0.2)[:2] == [(0, 6), (3, 14)]  # a share of what is shown of the span
    with pytest.raises(ListError, match=r"\(0 to 0.5 s\): 'v' has no frame in this span"):
        found(table(tmp_path, "start,end", "v,0,0,0.5", "v,0,1,2"))
    assert found(table(tmp_path, "start_frame,end_frame", "v,0,5,15")) == [(5, 10)]
    records = table(tmp_path, "start,end", "v,0,0,4")
    more = find_frames(records, DiskStore(tmp_path), background=Background(1, True, 1, 0))
    assert more.span(1) == (4, 4.5) and (more.first is not None and more.first[1] == 35)


@pytest.mark.whole
def test_a_dump_and_its_file_have_the_same_frames_of_a_span(tmp_path: Path) -> None:
    job = make_job(write_late_numbers(tmp_path / "late.mp4"), tmp_path, size=(0, 0))
    manifest(tmp_path, **{job.video: dump_video(job)})
    job.source.rename(tmp_path / "frames/late.mp4")
    spans = "1.4,1.6", "0,1.5", "1.2,9", "2.3,2.6"
    in_file = table(tmp_path / "frames", "start,end", *(f"late.mp4,0,{span}" for span in spans))
    dumped = table(tmp_path / "frames", "start,end", *(f"late,0,{span}" for span in spans))
    for context in (0.0, 0.2):
        index = SegmentIndex(in_file, cache=tmp_path / "cache", context=context)
        assert found(dumped, context=context) == [(index.first(one), len(index[one])) for one in range(len(spans))]


@pytest.mark.whole
def test_a_part_that_was_dumped_begins_at_its_own_start(tmp_path: Path) -> None:
    job = make_job(make_video(tmp_path / "v.mp4", frames=12, fps=8), tmp_path, size=(0, 0))
    part = replace(job, start=0.3, end=0.9)  # frames at 0.375, 0.5, ...
    assert dump_video(part)["begins"] == pytest.approx(0.075)
    at_rate = replace(part, settings=replace(job.settings, fps=16.0))
    assert dump_video(at_rate)["begins"] == dump_video(job)["begins"] == 0  # the first frame fills the time before it


def test_context_of_an_encoded_video_is_a_share_of_what_it_shows(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", frames=24, fps=8)
    make_video(tmp_path / "one.mp4", frames=1)
    records = table(tmp_path, "start,end", "v.mp4,0,1.5,9", "one.mp4,0,0,3")
    index = SegmentIndex(records, cache=tmp_path / "cache", context=0.2)
    assert (index.first(0), len(index[0])) == (10, 14)  # from 0.3 s before frame 12
    assert len(index[1]) == 1


@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97, 30.0, 59.94])
def test_every_frame_of_a_video_is_in_one_of_the_spans_that_share_it_out(
    fps: float, tmp_path: Path, rng: np.random.Generator
) -> None:
    manifest(tmp_path, v={"frames": 600, "source_fps": fps})
    borders = np.round(np.cumsum(rng.uniform(0.1, 0.4, 20)), 2).tolist()
    rows = [f"v,0,{start},{end}" for start, end in zip([0, *borders], [*borders, 99], strict=True)]
    frames = [(first, first + count) for first, count in found(table(tmp_path, "start,end", *rows))]
    assert frames[0][0] == 0 and frames[-1][1] == 600
    assert all(one[1] == other[0] for one, other in itertools.pairwise(frames))


@pytest.mark.parametrize(
    ("header", "row", "context", "expected"),
    [
        ("start,end", "v,0,2,4", 0.0, (20, 20)),
        ("start,end", "v,0,2,4", 0.2, (16, 28)),
        ("start,end", "v,0,1,9", 0.5, (0, 100)),  # not beyond the video
        ("start,end", "v,0,8,30", 0.2, (76, 24)),  # a share of the two seconds that the video shows
        ("start_frame,end_frame", "v,0,20,40", 0.2, (16, 28)),
        ("start_frame,end_frame", "v,0,90,100", 1.0, (80, 20)),
        ("start_frame,end_frame", "v,0,,", 1.0, (0, 100)),  # there is nothing outside of a whole video
    ],
)
def test_context_makes_a_span_longer_on_both_sides(
    header: str, row: str, context: float, expected: tuple[int, int], tmp_path: Path
) -> None:
    manifest(tmp_path, v={"frames": 100, "source_fps": 10})
    assert found(table(tmp_path, header, row), context=context) == [expected]


def test_a_span_that_is_not_in_its_video_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "v", 0, 20)
    seconds = table(tmp_path, "start,end", "v,0,0,1", "v,1,2,3")
    with pytest.raises(ListError, match=r"spans.csv:3 \(2 to 3 s\): 'v' has no frame in this span; it has 20 frames;"):
        find_frames(seconds, DiskStore(tmp_path), fps=10)
    assert found(seconds, fps=10, allowed=1) == [(0, 10), (20, 10)]  # reading the second one is a fault
    data = DATASETS["tsn"](
        find_frames(seconds, DiskStore(tmp_path), fps=10, allowed=1),
        DiskStore(tmp_path),
        for_testing(CLIPS["tsn"], CutClip(TestCrops(48), 40)),
    )
    assert not data[0]["fault"] and "spans.csv:3 (2 to 3 s): " in data[1]["fault"]
    assert "img_00022.jpg: frame not found" in data[1]["fault"]
    (tmp_path / "with_offset.txt").write_text("v 5 15 0\nv 5 16 0\n")
    offsets = read_list(tmp_path / "with_offset.txt", root=tmp_path, columns=OFFSET_COLUMNS)
    with pytest.raises(ListError, match=r"txt:2 \(frames 5 to 20\): img_00021.jpg is missing, which this span shows"):
        check_on_disk(offsets, DiskStore(tmp_path))
    with pytest.raises(ListError, match=r"spans.csv:2: 'w' has no frames that could be counted"):
        find_frames(table(tmp_path, "start,end", "w,0,,"), DiskStore(tmp_path))


def test_a_damaged_line_of_a_manifest_is_named(tmp_path: Path) -> None:
    damaged: list[dict[str, Any]] = [{"frames": "many"}, {"frames": 10**12}, {"frames": 3, "source_fps": float("inf")}]
    damaged += [{"frames": 3, "settings": 7}, {"frames": 3, "settings": {"every": "x"}}]
    damaged += [{"frames": 3, "begins": -1}, {"frames": 3, "begins": "soon"}]
    for line in damaged:
        manifest(tmp_path, v=line)
        with pytest.raises(UserError, match=r"manifest.jsonl: its line of 'v' is damaged"):
            found(table(tmp_path, "start,end", "v,0,0,1"))
    manifest(tmp_path, v={"frames": 3, "source_fps": 10})
    assert found(table(tmp_path, "start,end", "v,0,0.1,1e300")) == [(1, 2)]


def test_a_list_of_offsets_is_flat_and_travels_to_a_spawned_worker(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"video {i % 3} {i} {i % 7 + 1} {i % 5}\n" for i in range(3000)))
    for _ in range(2):  # the second time from the cache
        records = read_list(tmp_path / "list.txt", columns=OFFSET_COLUMNS, cache_folder=tmp_path / "cache")
        assert records.first is not None and records.first.dtype == np.int32 and records.first[2999] == 2999
        again = pickle.loads(pickle.dumps(records))
        assert again.name(2999) == "video 2#frames=2999,3003" and again.digest() == records.digest()
        assert records.path(2999) == "video 2" and records.span(4) == (4, 9)
    assert len(pickle.dumps(records)) < 1000
    with pytest.raises(ListError, match=r"bad.txt:1.*'a' has the offset -1"):
        (tmp_path / "bad.txt").write_text("a -1 3 0\n")
        read_list(tmp_path / "bad.txt", columns=OFFSET_COLUMNS)
    with pytest.raises(ListError, match="expected `path offset num_frames label`, found only 3 columns"):
        (tmp_path / "bad.txt").write_text("a 3 0\n")
        read_list(tmp_path / "bad.txt", columns=OFFSET_COLUMNS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("v,0,5,5", r"spans.csv:2: start_frame 5 and end_frame 5 hold no frame.*first one after the span"),
        ("v,0,-1,5", "spans.csv:2: start_frame and end_frame must be whole numbers from 0 on, found '-1' and '5'"),
        ("v,0,1.5,5", "must be whole numbers from 0 on, found '1.5' and '5'"),
        ("v,0,,5", "must be whole numbers from 0 on, found '' and '5'"),
        ("v,0,1,99999999999", "must be whole numbers"),
    ],
)
def test_wrong_frames_of_a_span_are_named(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ListError, match=message):
        table(tmp_path, "start_frame,end_frame", row)


def test_a_span_has_the_classes_of_the_spans_that_cover_it(tmp_path: Path) -> None:
    rows = "v,run,0,10", "v,jump,2,4", "v,wave,3,12", "w,sit,2,3", "v,sit,2,4"
    records = table(tmp_path, "start,end", *rows, multi_label=True, num_class=4)
    sets = [np.flatnonzero(records.labels[index]).tolist() for index in range(len(records))]
    jump, run, sit, wave = range(4)  # sorted by name
    assert sets == [[run], [jump, run, sit], [wave], [sit]]
    assert [records.line(index) for index in range(len(records))] == [2, 3, 4, 5]


def test_a_span_in_frames_has_the_same_classes_from_every_list(tmp_path: Path, rng: np.random.Generator) -> None:
    starts = rng.integers(0, 12, 60)
    lines = [
        (f"v{n % 3}", start, start + more, n % 5)
        for n, start, more in zip(range(60), starts.tolist(), rng.integers(1, 12, 60).tolist(), strict=True)
    ]
    (tmp_path / "offsets.txt").write_text(
        "".join(f"{v} {start} {end - start} {label}\n" for v, start, end, label in lines)
    )
    offsets = read_list(
        tmp_path / "offsets.txt", root=tmp_path, columns=label_columns(OFFSET_COLUMNS, multi_label=True), num_class=5
    )
    rows = table(
        tmp_path,
        "start_frame,end_frame",
        *(f"{v},{label},{start},{end}" for v, start, end, label in lines),
        multi_label=True,
        num_class=5,
    )
    joined = with_shared_classes(offsets)
    for records in (rows, joined):
        names = [records.name(index) for index in range(len(records))]
        assert names == list(dict.fromkeys(f"{v}#frames={start},{end}" for v, start, end, _ in lines))
        for index in range(len(records)):
            start, end = records.span(index) or (0, 0)
            over = {one[3] for one in lines if one[0] == records.path(index) and one[1] <= start and end <= one[2]}
            assert set(np.flatnonzero(records.labels[index]).tolist()) == over
    assert joined.line(0) == 1 and joined.line(len(joined) - 1) > len(joined)
    assert joined.num_frames.tolist() == np.diff(joined.spans).ravel().tolist()  # type: ignore[call-overload]
    assert joined.first is not None and joined.spans is not None and (joined.first == joined.spans[:, 0]).all()
    assert with_shared_classes(joined.with_paths({})).digest() == joined.digest()


def test_spans_that_do_not_overlap_stay_in_the_cache_of_their_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("v 0 5 0;1\nw 0 9 -\nv 5 5 1\nw 9 1 -1\n")
    columns = label_columns(OFFSET_COLUMNS, multi_label=True)
    records = read_list(tmp_path / "list.txt", columns=columns, num_class=2, unlabelled=True)
    assert with_shared_classes(records) is records
    (tmp_path / "list.txt").write_text("v 2 2 -1\nv 2 2 1\nv 0 5 0\nv 1 3 -1\n")
    joined = with_shared_classes(read_list(tmp_path / "list.txt", columns=columns, num_class=2, unlabelled=True))
    assert [joined.labels[index].tolist() for index in range(3)] == [[1, 1], [1, 0], [-1, -1]]

"""Tests optical flow and frame differences from the list to a sample: file names, stacks and stores."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datasets import STORES, DiskStore, FakeDataset, TSNDataset, VideoDataset
from datasets.lists.manifest import Manifest
from datasets.lists.parser import OFFSET_COLUMNS
from datasets.lists.records import read_list
from datasets.lists.tables import read_videos
from datasets.open import open_frames
from datasets.sampling.rules import SAMPLING, get_rule
from datasets.stores.check import can_look, check_on_disk
from datasets.stores.disk import facts_of_store
from datasets.stores.flow import FlowStore, detect_flow, y_template
from datasets.videos.clip_times import VideoSampling
from tests.datasets.conftest import Memcached
from tests.datasets.sampling.test_published import Replay, golden
from tests.helpers.make_video import block_position, make_video
from tests.helpers.protocol import for_testing, for_training
from tests.helpers.requirements import needs_program
from tests.helpers.stores import fill
from tools import pack_frames
from utils.clip_spec import ClipSpec
from utils.config.schema import Common
from utils.errors import ConfigError, ListError
from utils.transforms.crops import FixedResize, TestCrops
from utils.transforms.cut_clip import CutClip

FIELDS = (9, 4)
FLOW = ClipSpec(2, sampling="tsn", modality="flow", stack=3)


def write_flow(
    folder: Path, video: int, count: int, names: tuple[str, str] = ("flow_x_{:05d}", "flow_y_{:05d}")
) -> None:
    """Writes fields whose grey level is 20 i + video in x, and 10 i + video + 1 in y, for field i."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        for name, level in zip(names, (20 * index + video, 10 * index + video + 1), strict=True):
            cv2.imwrite(str(folder / f"{name.format(index + 1)}.jpg"), np.full((24, 32), level, np.uint8))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Writes a list that counts frames, which are one more than the fields."""
    for video, count in enumerate(FIELDS):
        write_flow(tmp_path / "frames" / f"v{video}", video, count)
    (tmp_path / "list.txt").write_text("".join(f"v{video} {count + 1} 0\n" for video, count in enumerate(FIELDS)))
    return tmp_path / "list.txt"


def common(source: Path, **data: Any) -> Common:
    return Common.model_validate(
        {
            "model": {"type": "tsn", "backbone": "resnet18", "num_class": 1, "modality": "flow"},
            "lr_scheduler": {"base_lr": 0.1, "max_iter": 1},
            "data": data,
        }
    )


def opened(source: Path, **data: Any) -> tuple[Any, FlowStore, str]:
    records, store, about = open_frames(common(source, **data), read_list(source, root=source.parent / "frames"))
    assert isinstance(store, FlowStore)
    return records, store, about


# --- stacks


@pytest.mark.parametrize("source", ["mit_tsm", "tsn_pytorch"])
@pytest.mark.parametrize(("side", "rule"), [("train", "tsn"), ("val", "tsn_val"), ("test", "tsn")])
def test_stacks_begin_where_the_authors_code_begins_them(source: str, side: str, rule: str) -> None:
    cases = [case for case in golden(source, side) if case["new_length"] > 1]
    assert cases or source == "mit_tsm"
    for case in cases:
        clip = ClipSpec(case["num_segments"], modality="flow", stack=case["new_length"])
        if side == "train":
            got = get_rule(rule).draw(case["num_frames"], clip, Replay(case["rng_calls"]))  # type: ignore[arg-type]
        else:
            (got,) = get_rule(rule).pick(case["num_frames"], clip, 1)
        stacks = got.reshape(-1, clip.stack)
        assert (stacks[:, 0] + 1).tolist() == case["indices"], case
        assert (np.diff(stacks) == 1).all() or case["num_frames"] < stacks.max() + 2


@pytest.mark.parametrize("name", SAMPLING)
@pytest.mark.parametrize(("modality", "length"), [("flow", 3), ("rgbdiff", 4), ("rgb", 3)])
def test_every_rule_gives_stacks_of_neighbours_inside_the_video(name: str, modality: str, length: int) -> None:
    rule, clip = get_rule(name), ClipSpec(4, modality=modality, stack=3)
    for num_frames in (1, 3, 4, 5, 12, 100):
        drawn = rule.draw(num_frames, clip, np.random.default_rng(num_frames))
        picked = rule.pick(num_frames, clip, rule.num_clips)
        assert drawn.shape == (4 * length,) and picked.shape == (rule.num_clips, 4 * length)
        for indices in (drawn, *picked):
            stacks = indices.reshape(4, length)
            assert (stacks == np.minimum(stacks[:, :1] + np.arange(length), num_frames - 1)).all() and stacks.min() >= 0
            assert num_frames < 12 or (np.diff(stacks) == 1).all()


# --- names


@pytest.mark.parametrize(
    ("names", "template"),
    [
        (("flow_x_{:05d}", "flow_y_{:05d}"), None),
        (("u_{:03d}", "v_{:03d}"), None),
        (("x_{:05d}", "y_{:05d}"), "x_%05d.jpg"),
    ],
)
@pytest.mark.parametrize("fewer", [0, 1, 3])
def test_fields_are_found_by_their_names_whatever_the_list_counts(
    names: tuple[str, str], template: str | None, fewer: int, tmp_path: Path
) -> None:
    write_flow(tmp_path / "v0", 0, 5, names)
    (tmp_path / "list.txt").write_text(f"v0 {5 + fewer} 0\n")
    found = detect_flow(read_list(tmp_path / "list.txt", root=tmp_path), template=template)
    assert (found.x, found.y) == tuple(f"{name}.jpg" for name in names)
    assert (found.first, found.fewer) == (1, fewer)


def test_a_span_shows_the_fields_between_its_frames(source: Path) -> None:
    root = source.parent / "frames"
    (source.parent / "offset.txt").write_text("v0 2 5 0\nv0 0 3 0\n")
    (source.parent / "spans.csv").write_text("path,label,start,end\nv0,0,0.2,0.7\nv0,0,0,0.3\nv0,0,,\n")
    offset = read_list(source.parent / "offset.txt", root=root, columns=OFFSET_COLUMNS)
    seconds, _ = read_videos(source.parent / "spans.csv", root=root, encoded=False)
    for records, whole in ((offset, []), (seconds, [FIELDS[0]])):
        records, store, about = open_frames(common(source, fps=10.0), records)
        assert "1 fewer than the list's frames" in about and check_on_disk(records, store) == len(records)  # type: ignore[arg-type]
        assert records.num_frames.tolist() == [4, 2, *whole]
        transform = CutClip(TestCrops((24, 32)), (24, 32), modality="flow")
        dataset = TSNDataset(records, store, for_testing(FLOW, transform))
        (fields,) = dataset.shown(0)
        assert (fields == 2 + dataset.indices(0, None)[0]).all()
        assert dataset[0]["clips"][0, :, 0, 0, 0].tolist() == (20 * fields).tolist()


def test_without_fields_there_is_a_line_that_says_how_to_get_them(tmp_path: Path, source: Path) -> None:
    (tmp_path / "frames" / "v1" / "flow_y_00004.jpg").unlink()
    records, store, about = opened(source)
    assert "optical flow flow_x_{:05d}.jpg and flow_y_{:05d}.jpg from 1, 1 fewer than the list's frames" in about
    with pytest.raises(
        ListError, match=r"list.txt:2: flow_y_00004.jpg is missing in .*v1, which should have 4 fields.*dump_flow.py"
    ):
        check_on_disk(records, store)
    for file in source.parent.rglob("flow_*"):
        file.unlink()
    (tmp_path / "frames" / "v0" / "img_00001.jpg").write_bytes(b"a frame")
    with pytest.raises(
        ListError, match=r"no optical flow in this folder or the others that were looked at; tools/dump_flow.py"
    ):
        opened(source)
    with pytest.raises(ConfigError, match=r"data.frame_template: 'img_\{:05d\}.jpg' does not name the x pictures"):
        y_template("img_{:05d}.jpg")


# --- stores and samples


@needs_program("memcached", install="apt-get install memcached")
@pytest.mark.parametrize("kind", STORES)
def test_every_store_gives_the_same_stacks(kind: str, source: Path, memcached: Callable[..., Memcached]) -> None:
    more = fill(kind, source, source.parent / "frames", memcached, flow=True)
    records, store, about = opened(source, store={"type": kind, **more})
    assert records.num_frames.tolist() == [*FIELDS]
    assert not can_look(store) or check_on_disk(records, store) == 2
    transform = CutClip(TestCrops((24, 32)), (24, 32), modality="flow")
    dataset = pickle.loads(pickle.dumps(TSNDataset(records, store, for_testing(FLOW, transform))))
    for video in range(2):
        sample, (fields,) = dataset[video], dataset.indices(video, None)
        assert sample["fault"] == "" and sample["clips"].shape == (1, 6, 24, 32, 2)
        levels = sample["clips"][0, :, 0, 0].tolist()
        assert levels == [[20 * field + video, 10 * field + video + 1] for field in fields]
    assert "fewer than the list's frames" in about and all(isinstance(n, int) for n in store.stats().values())


def test_a_broken_field_is_a_fault_that_names_its_file(source: Path) -> None:
    (source.parent / "frames/v1/flow_y_00002.jpg").write_bytes(b"no picture")
    records, store, _ = opened(source)
    transform = CutClip(FixedResize((24, 32)), 24, modality="flow")
    sample = TSNDataset(records, store, for_training(FLOW, transform))[(0, 1)]
    assert "flow_y_00002.jpg: frame" in sample["fault"] and sample["clips"].shape == (1, 6, 24, 24, 2)


def test_frames_of_differences_are_those_of_rgb(source: Path) -> None:
    folder = source.parent / "frames" / "v0"
    for index in range(10):
        cv2.imwrite(str(folder / f"img_{index + 1:05d}.jpg"), np.full((24, 32, 3), 20 * index, np.uint8))
    clip = ClipSpec(2, sampling="tsn", modality="rgbdiff", stack=3)
    records = read_list(source, root=source.parent / "frames")
    dataset = TSNDataset(records, DiskStore(records.root), for_testing(clip, CutClip(TestCrops(24), 24)))
    clips, (indices,) = dataset[0]["clips"], dataset.indices(0, None)
    assert clips.shape == (1, 8, 24, 24, 3) and clips[0, :, 0, 0, 0].tolist() == (20 * indices).tolist()


def test_frames_of_differences_come_from_videos_too(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=20)
    (tmp_path / "list.txt").write_text("a.mp4 0\n")
    records = read_list(tmp_path / "list.txt", root=tmp_path, columns=("label",))
    transform = CutClip(TestCrops((64, 96)), (64, 96), modality="rgbdiff")
    for sampling in (VideoSampling(), VideoSampling("constant_clips_per_video", clip_seconds=0.5)):
        clip = ClipSpec(2, sampling="segments", dataset="video", modality="rgbdiff", stack=2)
        dataset = VideoDataset(records, for_testing(clip, transform, video_sampling=sampling), cache=tmp_path)
        (indices,) = dataset.indices(0, None)
        assert (np.diff(indices.reshape(2, 3)) == 1).all()
        assert [block_position(frame) // 2 for frame in dataset[0]["clips"][0]] == indices.tolist()


def test_noise_has_the_shape_of_the_modality_and_videos_hold_no_flow(source: Path) -> None:
    for modality, shape in (("flow", (1, 6, 8, 8, 2)), ("rgbdiff", (1, 8, 8, 8, 3))):
        transform = CutClip(TestCrops(8), 8, modality=modality)
        noise = FakeDataset(np.zeros(2, np.int64), for_training(ClipSpec(2, modality=modality, stack=3), transform))
        assert noise[0]["clips"].shape == shape
    with pytest.raises(ConfigError, match=r"data.store.type: videos hold no optical flow; tools/dump_flow.py"):
        VideoDataset(read_list(source), for_training(FLOW, CutClip(TestCrops(24), 24)))


def test_a_pack_of_flow_says_so_where_it_is_missing(source: Path, tmp_path: Path) -> None:
    for video, count in enumerate(FIELDS):
        for index in range(count + 1):
            cv2.imwrite(str(tmp_path / f"frames/v{video}/img_{index + 1:05d}.jpg"), np.zeros((24, 32, 3), np.uint8))
    assert pack_frames.main([str(tmp_path / "pack"), str(source), "--root", str(tmp_path / "frames")]) == 0
    records, store, _ = opened(source, store={"type": "packed", "folder": str(tmp_path / "pack")})
    with pytest.raises(
        ListError, match=r"'v0' is not in the pack .*run tools/pack_frames.py with this list and --flow"
    ):
        check_on_disk(records, store)
    assert json.loads(json.dumps(store.stats())) == {}


def test_flow_is_known_by_the_dumps_of_its_frames_and_of_its_fields_and_frames_by_theirs_alone(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, template="img_{:05d}.jpg")
    flow = FlowStore(*(DiskStore(tmp_path, template=f"flow_{axis}_{{:05d}}.jpg") for axis in "xy"))

    def dumped(**versions: int) -> list[str]:
        for name, version in versions.items():
            manifest = Manifest(tmp_path, f"{name}.jsonl")
            manifest.open({"tool": name})
            manifest.add({"video": "v", "status": "ok", "frames": 3, "version": version})
            manifest.close()
        return [facts_of_store(one, tmp_path, ["v"])["dumped"] for one in (store, flow)]

    first = dumped(manifest=1, manifest_flow=1)
    other = dumped(manifest_flow=2)
    assert other[0] == first[0] and other[1] != first[1]
    again = dumped(manifest=2)
    assert again[0] != first[0] and again[1] != other[1]
    assert facts_of_store(flow, tmp_path, ["v"])["names"] == "flow_x_{:05d}.jpg from 1, flow_y_{:05d}.jpg from 1"
    assert "dumped" not in facts_of_store(flow, tmp_path, ["w"])

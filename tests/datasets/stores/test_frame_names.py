"""Tests the detection of file names of frames, and the check of the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.lists.records import RecordList, read_list
from datasets.stores.check import check_on_disk
from datasets.stores.disk import DiskStore
from datasets.stores.frame_names import detect_template, normalise_template
from tests.datasets.conftest import write_video
from utils.errors import ConfigError, FrameError, ListError

Frames = Callable[..., Path]


def records_of(source: Path) -> RecordList:
    return read_list(source, root=source.parent.parent / "frames")


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("img_%05d.jpg", "img_{:05d}.jpg"),
        ("img_{:05d}.jpg", "img_{:05d}.jpg"),
        ("{:06}.png", "{:06d}.png"),
        ("{}.jpg", "{:d}.jpg"),
        ("{0}.jpg", "{:d}.jpg"),
        ("%d.jpg", "{:d}.jpg"),
        ("rgb/frame%d.jpg", "rgb/frame{:d}.jpg"),
    ],
)
def test_both_styles_of_template(given: str, normal: str):
    assert normalise_template(given) == normal


@pytest.mark.parametrize(
    "given", ["img.jpg", "img_{:05d}_{:d}.jpg", "img_%05d_{:d}.jpg", "{name}.jpg", "%s.jpg", "{:.2f}.jpg"]
)
def test_a_template_without_exactly_one_number(given: str):
    with pytest.raises(ConfigError, match=r"data.frame_template: .* must hold one number"):
        normalise_template(given)


@pytest.mark.parametrize(
    "template", ["img_{:05d}.jpg", "{:06d}.jpg", "image_{:05d}.jpg", "frame{:d}.png", "{:d}.jpg", "{:04d}.bmp"]
)
@pytest.mark.parametrize("first", [0, 1])
def test_template_and_first_number_are_detected(tiny_frames: Frames, template: str, first: int):
    records = records_of(tiny_frames(12, 9, 3, template=template, first=first))
    assert detect_template(records) == (template, first)
    store = DiskStore(records.root, template=template, first_frame=first)
    assert check_on_disk(records, store) == 3
    assert len(store.get_many("v0", [0, 11, 11])) == 3


def test_what_is_given_is_kept(tiny_frames: Frames):
    records = records_of(tiny_frames(3))
    assert detect_template(records, template="img_%05d.jpg") == ("img_{:05d}.jpg", 1)
    assert detect_template(records, first_frame=0) == ("img_{:05d}.jpg", 0)
    assert detect_template(records, template="x_{:d}.jpg", first_frame=7) == ("x_{:d}.jpg", 7)
    with pytest.raises(ListError, match=r"no frame matches data.frame_template 'x_\{:d\}.jpg'"):
        detect_template(records, template="x_{:d}.jpg")


def test_flow_beside_the_frames_is_no_second_answer(tiny_frames: Frames):
    source = tiny_frames(4, 4)
    for prefix in ("flow_x", "flow_y"):
        write_video(source.parent.parent / "frames/v0", 0, 9, prefix + "_{:05d}.jpg")
    assert detect_template(records_of(source)) == ("img_{:05d}.jpg", 1)


def test_one_folder_without_its_first_frame_is_reported_by_the_check(tiny_frames: Frames):
    source = tiny_frames(4, 4, 4)
    (source.parent.parent / "frames/v1/img_00001.jpg").unlink()
    records = records_of(source)
    assert detect_template(records) == ("img_{:05d}.jpg", 1)
    with pytest.raises(ListError, match=r"train.txt:2: .*v1 begins with frame number 2, not 1"):
        check_on_disk(records, DiskStore(records.root))


def test_two_answers_are_an_error(tiny_frames: Frames):
    source = tiny_frames(4, 4)
    frames = source.parent.parent / "frames"
    write_video(frames / "v0", 0, 4, "{:06d}.jpg")
    with pytest.raises(ListError, match=r"v0: holds several series of images: img_.*set|choose one"):
        detect_template(records_of(source))
    for file in frames.glob("v0/img_*"):
        file.unlink()
    with pytest.raises(ListError, match=r"frames are called \{:06d\}.jpg in .*v0 but img_\{:05d\}.jpg in .*v1"):
        detect_template(records_of(source))


def test_two_first_numbers_are_an_error(tiny_frames: Frames):
    source = tiny_frames(4, 4)
    write_video(source.parent.parent / "frames/v1", 1, 1, first=0)
    with pytest.raises(ListError, match=r"first frame: .*v1 begins at 0, .*v0 at 1; set data.first_frame"):
        detect_template(records_of(source))


def test_nothing_to_look_at(tiny_frames: Frames, tmp_path: Path):
    source = tiny_frames(2)
    with pytest.raises(ListError, match=r"train.txt:1: folder not found: .*; check train_root / val_root"):
        detect_template(read_list(source, root=tmp_path / "elsewhere"))
    (tmp_path / "offset.txt").write_text("v0 8 4 0\nv1 12 4 0\n")
    with pytest.raises(ListError, match=r"folder not found: .*v0 8 .*`path offset frames label` need data.with_offset"):
        detect_template(read_list(tmp_path / "offset.txt", root=records_of(source).root))
    for file in (source.parent.parent / "frames/v0").iterdir():
        file.unlink()
    with pytest.raises(ListError, match="no numbered images in this folder"):
        detect_template(records_of(source))


def test_the_check_names_line_and_reason(tiny_frames: Frames):
    source = tiny_frames(4, 4, 4)
    source.write_text("v0 4 0\n\nv1 6 1\nv2 4 0\n")
    records = records_of(source)
    store = DiskStore(records.root)
    message = r"train.txt:3: the list says 6 frames, but img_00006.jpg is missing and .*v1 holds 4"
    with pytest.raises(ListError, match=message):
        check_on_disk(records, store)
    assert check_on_disk(records, store, allowed=1) == 3, "within the budget it is training that counts it"
    source.write_text("v8 4 0\nv9 4 0\n")
    with pytest.raises(ListError, match=r"train.txt:1: folder not found: .*v8"):
        check_on_disk(records_of(source), store, allowed=50)  # a wrong root is not a few bad videos
    source.write_text("v0 4 0\nv9 4 0\n")
    with pytest.raises(ListError, match=r"train.txt:2: folder not found: .*v9; check train_root"):
        check_on_disk(records_of(source), store)
    source.write_text("v0 4 0\n")
    with pytest.raises(
        ListError, match=r"train.txt:1: .*v0 has no frames called \{:06d\}.jpg; it has img_\{:05d\}.jpg"
    ):
        check_on_disk(records_of(source), DiskStore(records.root, template="{:06d}.jpg"))


def test_the_check_looks_at_both_ends_of_a_long_list(tiny_frames: Frames):
    source = tiny_frames(2, 2)
    source.write_text("v0 2 0\n" * 5000 + "v7 2 1\n")
    with pytest.raises(ListError, match=r"train.txt:5001: folder not found"):
        check_on_disk(records_of(source), DiskStore(source.parent.parent / "frames"), limit=10)


def test_missing_and_empty_frames_are_named(tiny_frames: Frames):
    root = tiny_frames(3).parent.parent / "frames"
    store = DiskStore(root)
    with pytest.raises(FrameError, match=r"img_00004.jpg: frame not found"):
        store.get_many("v0", [0, 3])
    (root / "v0/img_00002.jpg").write_bytes(b"")
    with pytest.raises(FrameError, match=r"img_00002.jpg: the file is empty"):
        store.get_many("v0", [1])
    with pytest.raises(FrameError, match=r"folder of this frame not found"):
        store.get_many("v5", [1])

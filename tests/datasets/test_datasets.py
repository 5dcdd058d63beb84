"""From a list to a batch: what the three datasets share, and what happens to a broken frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datasets import DATASETS, ClipDataset, DiskStore, FakeDataset, ImageDataset, TSNDataset, frame_dataset
from datasets.frame_dataset import collate
from datasets.lists.records import read_list
from datasets.loader import EvalShard, make_loader
from datasets.memcached_dataset import image_list_columns
from tests.datasets.conftest import SIZE, blob_frame, encode
from tests.helpers.protocol import for_testing, for_training
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError, ListError
from utils.training.batch import unchanged
from utils.transforms.crops import MultiScale, TestCrops
from utils.transforms.cut_clip import CutClip

Frames = Callable[..., Path]
CLIPS = {"img": ClipSpec(1), "tsn": ClipSpec(3), "clip": ClipSpec(4, 2, "clip")}


class Noise:
    def draw(
        self, rng: np.random.Generator, views: int, num_frames: int, height: int, width: int
    ) -> dict[str, np.ndarray]:
        return {"noise": rng.random((views, 3)), "size": np.array([num_frames, height, width])}


def centre_crops(num_crops: int = 1) -> CutClip:
    return CutClip(TestCrops(48, num_crops), 40)


def make(
    kind: str,
    source: Path,
    *,
    train: bool = True,
    clip: ClipSpec | None = None,
    transform: CutClip | None = None,
    augment: Any = None,
    num_clips: int = 1,
    **kwargs: Any,
) -> Any:
    root = source.parent.parent / "frames"
    records = read_list(source, root=root)
    clip = CLIPS[kind] if clip is None else clip
    if train:
        protocol = for_training(clip, transform or CutClip(MultiScale(), 32, flip=0.5), augment)
    else:
        protocol = for_testing(clip, transform or centre_crops(), augment, num_clips=num_clips)
    return DATASETS[kind](records, DiskStore(root), protocol, **kwargs)


def test_of_a_list_too_long_to_look_up_only_what_the_list_says_is_known(
    tiny_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make("tsn", tiny_frames(3, 4))
    asked: list[list[str]] = []
    monkeypatch.setattr(DiskStore, "contents", lambda self, paths: asked.append(paths) or "frames", raising=False)
    whole = dataset.facts()
    monkeypatch.setattr(frame_dataset, "MOST_LOOKED_UP", 1)
    assert whole["contents"] == "frames" and len(asked) == 1
    assert dataset.facts() == {key: whole[key] for key in ("names", "lengths")} and len(asked) == 1


@pytest.mark.parametrize("kind", sorted(CLIPS))
def test_contract_of_every_frame_dataset(kind: str, tiny_frames: Frames):
    source = tiny_frames(10, 1, 25)
    for train in (True, False):
        dataset = make(kind, source, train=train, augment=Noise(), seed=3)
        assert len(dataset) == 3
        for index in range(3):
            sample = dataset[(0, index)]
            views, frames, side = dataset.num_views, CLIPS[kind].num_frames, 32 if train else 40
            assert sample["clips"].shape == (views, frames, side, side, 3)
            assert sample["clips"].dtype == np.uint8 and sample["clips"].flags.c_contiguous
            assert (sample["label"], sample["index"], sample["fault"]) == (index % 2, index, "")
            assert set(sample["augment"]) == ({"noise", "size"} if train else set())
        again, batch = dataset[(0, 2)], dataset.__getitems__([(0, index) for index in range(3)])
        assert (again["clips"] == batch.clips[2].permute(0, 2, 3, 4, 1).numpy()).all()
        assert batch.clips.shape[2] == 3 and batch.labels.tolist() == [0, 1, 0]
        if train:
            assert any((dataset[(epoch, 2)]["clips"] != again["clips"]).any() for epoch in range(1, 6))
        else:
            assert (dataset[7, 2]["clips"] == again["clips"]).all()
            assert (dataset[2]["clips"] == again["clips"]).all()


def test_the_frames_asked_for_are_the_frames_given(tiny_frames: Frames):
    source = tiny_frames(12, 12)
    whole = CutClip(TestCrops(None), SIZE)
    dataset = make("clip", source, train=False, num_clips=3, transform=whole, clip=ClipSpec(4, 2, "clip"))
    wanted = dataset.indices(1, None)
    assert wanted.tolist() == [[0, 2, 4, 6], [2, 4, 6, 8], [5, 7, 9, 11]]
    clips = dataset[(0, 1)]["clips"]
    for view, row in enumerate(wanted):
        for position, frame in enumerate(row):
            error = np.abs(clips[view, position].astype(int) - blob_frame(1, int(frame)))
            assert error.mean() < 3, (view, position)


def test_views_are_clips_times_crops_with_the_crops_together(tiny_frames: Frames):
    source = tiny_frames(30)
    both = make("clip", source, train=False, num_clips=2, transform=centre_crops(3))
    first = make("clip", source, train=False, num_clips=2, transform=centre_crops(1))
    assert both.num_views == 6
    assert (both[0]["clips"][[1, 4]] == first[0]["clips"]).all()


def test_mirrored_clips_take_the_mirrored_label(tiny_frames: Frames):
    source = tiny_frames(*[3] * 6)
    swap = np.array([1, 0])
    dataset = make("tsn", source, flip_labels=swap)
    always = make("tsn", source, flip_labels=swap, transform=CutClip(MultiScale(), 32, flip=1.0))
    never = make("tsn", source, flip_labels=swap, transform=CutClip(MultiScale(), 32, flip=0.0))
    assert [always[0, index]["label"] for index in range(6)] == [1, 0, 1, 0, 1, 0]
    assert [never[0, index]["label"] for index in range(6)] == [0, 1, 0, 1, 0, 1]
    labels = [dataset[epoch, 0]["label"] for epoch in range(20)]
    assert set(labels) == {0, 1}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda file: file.unlink(), r"img_0000\d.jpg: frame not found"),
        (lambda file: file.write_bytes(b""), r"img_0000\d.jpg: the file is empty"),
        (lambda file: file.write_bytes(file.read_bytes()[:300]), r"img_0000\d.jpg: frame \d of \d+: .*truncated JPEG"),
        (
            lambda file: file.write_bytes(b"not a picture" * 40),
            r"img_0000\d.jpg: frame \d of \d+: not a readable image",
        ),
    ],
    ids=["missing", "empty", "truncated", "no image"],
)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kind", sorted(CLIPS))
def test_a_broken_frame_is_a_fault_that_names_it(
    kind: str, train: bool, break_it: Callable[[Path], Any], message: str, tiny_frames: Frames
):
    source = tiny_frames(4, 4)
    for file in (source.parent.parent / "frames/v1").iterdir():
        break_it(file)
    dataset = make(kind, source, train=train, augment=Noise())
    good, bad = dataset[0, 0], dataset[0, 1]
    assert bad["fault"].startswith(f"{source}:2: ") and "\n" not in bad["fault"]
    assert re.search(message, bad["fault"]), bad["fault"]
    assert not bad["clips"].any() and bad["clips"].shape == good["clips"].shape
    assert bad["clips"].dtype == good["clips"].dtype and set(bad["augment"]) == set(good["augment"])
    batch = dataset.__getitems__([0, 1])
    assert [bool(fault) for fault in batch.faults] == [False, True]


@pytest.mark.parametrize("kind", sorted(CLIPS))
@pytest.mark.parametrize("train", [True, False])
def test_a_batch_asked_for_at_once_is_its_samples_side_by_side(kind: str, train: bool, tiny_frames: Frames):
    source = tiny_frames(10, 4, 4, 25)
    (source.parent.parent / "frames/v1/img_00002.jpg").write_bytes(b"no image")
    transform = CutClip(MultiScale(), 32, flip=0.5) if train else centre_crops(num_crops=3)
    dataset = make(kind, source, train=train, transform=transform, augment=Noise(), num_clips=2)
    keys = [(0, 3), (0, 1), (1, 0), (0, 2)]
    samples = [dataset[key] for key in keys]
    whole = dataset.__getitems__(keys)
    single = collate(samples, torch.from_numpy(np.stack([sample["clips"] for sample in samples])))
    assert unchanged(whole) is whole
    assert whole.clips.shape == single.clips.shape and torch.equal(whole.clips, single.clips)
    assert whole.clips.stride() == single.clips.stride()
    assert whole.labels.tolist() == single.labels.tolist() and whole.indices.tolist() == single.indices.tolist()
    assert whole.faults == single.faults and whole.augment.keys() == single.augment.keys()
    for fault, clips in zip(whole.faults, whole.clips, strict=True):
        assert bool(fault) != bool(clips.any())


@pytest.mark.parametrize("form", ["png named jpg", "grey", "cmyk", "sizes"])
def test_odd_images_are_read(form: str, tiny_frames: Frames):
    source = tiny_frames(3)
    image, file = blob_frame(0, 1), source.parent.parent / "frames/v0/img_00002.jpg"
    if form == "png named jpg":
        file.write_bytes(encode(image, ".png"))
    elif form == "cmyk":
        Image.fromarray(image).convert("CMYK").save(file, "JPEG", quality=95)
    elif form == "grey":
        file.write_bytes(encode(image[..., :1]))
    else:
        file.write_bytes(encode(np.ascontiguousarray(image[:40, :60])))
    sample = make("tsn", source, train=False)[0]
    assert sample["fault"] == "" and sample["clips"][0, 1].any()


@pytest.mark.parametrize("train", [True, False])
def test_frames_that_are_decoded_on_the_device_are_the_same_clips_and_the_same_faults(train: bool, tiny_frames: Frames):
    source = tiny_frames(9, 9, 9)
    file = source.parent.parent / "frames/v1"
    for frame in file.iterdir():
        frame.write_bytes(frame.read_bytes()[:300])
    transform = CutClip(MultiScale(), 32, flip=0.5) if train else centre_crops(3)
    there = make("clip", source, train=train, transform=transform, augment=Noise(), num_clips=2, encoded=True)
    here = make("clip", source, train=train, transform=transform, augment=Noise(), num_clips=2)
    for one, two in zip(
        make_loader(there, EvalShard(3, 3), workers=1), make_loader(here, EvalShard(3, 3)), strict=True
    ):
        moved = one.to("cpu")
        assert moved.faults == two.faults and [bool(fault) for fault in two.faults] == [False, True, False]
        assert (moved.clips.float() - two.clips.float()).abs().mean() < 0.6 and not moved.clips[1].any()
        for name, drawn in two.augment.items():
            assert (moved.augment[name] == drawn)[[0, 2]].all(), "the generator is asked the same questions"


def test_float_presets_give_float_zeros_for_faults(tiny_frames: Frames):
    source = tiny_frames(3)
    (source.parent.parent / "frames/v0/img_00001.jpg").unlink()
    transform = CutClip(TestCrops(48), 40, interpolation="float")
    sample = make("tsn", source, train=False, transform=transform)[0]
    assert sample["fault"] and sample["clips"].dtype == np.float32


def test_image_lists(tmp_path: Path):
    (tmp_path / "images").mkdir()
    for index in range(3):
        (tmp_path / f"images/a picture {index}.jpg").write_bytes(encode(blob_frame(index, 0)))
    source = tmp_path / "train.txt"
    source.write_text("".join(f"images/a picture {index}.jpg {index}\n" for index in range(3)))
    assert image_list_columns(source) == ("label",)
    records = read_list(source, root=tmp_path, columns=("label",), num_class=3)
    dataset = ImageDataset(records, DiskStore(tmp_path, template=None), for_testing(ClipSpec(1), centre_crops()))
    assert [dataset[index]["label"] for index in range(3)] == [0, 1, 2]
    assert all(dataset[index]["fault"] == "" for index in range(3))
    source.write_text("v0 4 0\n")
    assert image_list_columns(source) == ("num_frames", "label")
    with pytest.raises(ListError, match="cannot be read"):
        image_list_columns(tmp_path / "none")


def test_rules_that_do_not_fit_are_refused(tiny_frames: Frames):
    source = tiny_frames(3)
    with pytest.raises(ConfigError, match=r"'clip' does not fit; tsn and tsm take one frame per segment: use"):
        make("tsn", source, clip=ClipSpec(8, 1, "clip"))
    with pytest.raises(ConfigError, match="'clips' is not one of"):
        make("tsn", source, clip=ClipSpec(8, 1, "clips"))
    with pytest.raises(ConfigError, match="its clips have 1 frame, not 3"):
        make("img", source, clip=ClipSpec(3))
    assert issubclass(TSNDataset, type(make("clip", source)).__mro__[1]) and ClipDataset in DATASETS.values()


def test_fake_data_is_the_same_every_time():
    transform = CutClip(TestCrops(24, 3), (16, 24))
    dataset = FakeDataset(np.arange(5) % 3, for_training(ClipSpec(2), CutClip(MultiScale(), (16, 24)), Noise()), seed=1)
    one, two = dataset[2, 4], dataset[2, 4]
    assert one["clips"].shape == (1, 2, 16, 24, 3) and (one["clips"] == two["clips"]).all() and one["label"] == 1
    assert (dataset[3, 4]["clips"] != one["clips"]).any()
    assert dataset.__getitems__([(2, 4), 0]).clips.shape == (2, 1, 3, 2, 16, 24)
    assert dataset.path(4) == "fake_4" and dataset.description == "5 videos" and dataset.store_counts() == {}
    test = FakeDataset(np.arange(5) % 3, for_testing(ClipSpec(2), transform, num_clips=2))
    assert test[0]["clips"].shape[0] == test.num_views == 6


def test_clips_of_one_video_in_a_batch_show_the_same_frames_each_cut_and_coloured_anew(tiny_frames: Frames) -> None:
    source = tiny_frames(10, 60, 25)
    root = source.parent.parent / "frames"
    protocol = for_training(CLIPS["tsn"], CutClip(MultiScale(), 32, flip=0.5), Noise(), repeated=2)
    dataset = DATASETS["tsn"](read_list(source, root=root), DiskStore(root), protocol, seed=3)
    plain = make("tsn", source, augment=Noise(), seed=3)
    for epoch in range(0, 12, 2):
        first, second = dataset[(epoch, 1)], dataset[(epoch + 1, 1)]
        assert (dataset.shown((epoch, 1)) == dataset.shown((epoch + 1, 1))).all()
        assert (first["clips"] != second["clips"]).any() and (
            first["augment"]["noise"] != second["augment"]["noise"]
        ).any()
        assert (first["clips"] == plain[(epoch, 1)]["clips"]).all()  # the first of them is what one alone is
    chosen = [tuple(dataset.shown((epoch, 1)).ravel()) for epoch in range(0, 12, 2)]
    assert len(set(chosen)) > 3  # each epoch has frames of its own

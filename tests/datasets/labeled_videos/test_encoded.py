"""PyTorchVideo's data sets of encoded videos: every video once, whatever the workers, and nothing lost in silence."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from datasets.clip_transforms import UniformCropVideo
from datasets.labeled_videos import (
    ClipInfo,
    ClipSampler,
    ExactDistributedSampler,
    Hmdb51,
    Kinetics,
    LabeledVideoDataset,
    LabeledVideoPaths,
    Ucf101,
    make_clip_sampler,
)
from datasets.labeled_videos.videos import EncodedVideo
from tests.helpers.make_video import block_position, make_video
from tests.helpers.ranks import run_ranks
from utils.errors import ConfigError, FrameError, ListError

NAMES = ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.csv as the tutorial has it: `path label`, no header."""
    folder = tmp_path_factory.mktemp("kinetics")
    for name in NAMES:
        make_video(folder / f"videos/{name}", frames=24)  # one second
    path = folder / "train.csv"
    path.write_text("".join(f"{folder}/videos/{name} {label}\n" for label, name in enumerate(NAMES)))
    return path


def seen(dataset: LabeledVideoDataset, workers: int = 0) -> list[tuple[str, int, float]]:
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    return sorted((clip["video_name"], clip["clip_index"], float(clip["video"].mean())) for clip in loader)


def test_a_sample_has_the_tutorials_keys(csv: Path) -> None:
    clip = next(iter(Kinetics(csv, make_clip_sampler("uniform", 0.5), video_sampler=SequentialSampler)))
    assert list(clip) == ["video", "video_name", "video_index", "clip_index", "aug_index", "label"]
    video = clip["video"]
    assert video.shape == (3, 12, 64, 96) and video.dtype == torch.float32 and 200 < video.max() <= 255
    assert [block_position(frame.byte().permute(1, 2, 0).numpy()) // 2 for frame in video.unbind(1)] == [*range(12)]
    assert [*clip.values()][1:] == ["a.mp4", 0, 0, 0, 0]


@pytest.mark.whole
@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_each_video_comes_once_per_epoch_and_in_another_order(csv: Path, workers: int, persistent: bool) -> None:
    dataset = Kinetics(csv, make_clip_sampler("random", 0.25))
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=persistent)
    torch.manual_seed(0)
    epochs = [[(clip["video_name"], float(clip["video"].mean())) for clip in loader] for _ in range(3)]
    assert all(sorted(name for name, _ in epoch) == NAMES for epoch in epochs)
    assert len({tuple(name for name, _ in epoch) for epoch in epochs}) > 1
    assert len({dict(epoch)["a.mp4"] for epoch in epochs}) > 1, "another clip of it in each epoch"


def test_the_number_of_workers_changes_no_clip_and_no_draw_of_a_transform(csv: Path) -> None:
    def noisy(clip: dict[str, Any]) -> dict[str, Any]:
        return {**clip, "video": clip["video"].mean() + torch.rand(())}

    found = []
    for workers in (1, 2):
        torch.manual_seed(7)
        found.append(seen(Kinetics(csv, make_clip_sampler("random", 0.25), transform=noisy), workers))
    assert found[0] == found[1]


def test_uniform_clips_cover_every_video(csv: Path) -> None:
    found = Counter(name for name, _, _ in seen(Kinetics(csv, make_clip_sampler("uniform", 0.25)), workers=2))
    assert found == dict.fromkeys(NAMES, 4)


@pytest.mark.parametrize("count", [1, 3])
def test_the_clips_of_random_multi_are_a_list_even_of_one(csv: Path, count: int) -> None:
    clip = next(Kinetics(csv, make_clip_sampler("random_multi", 0.25, count)))
    assert isinstance(clip["video"], list) and len(clip["video"]) == count
    assert all(video.shape[0] == 3 for video in clip["video"])
    assert clip["clip_index"] == clip["aug_index"] == [0] * count and isinstance(clip["label"], int)


def test_next_goes_through_an_epoch_and_iter_begins_another(csv: Path) -> None:
    dataset = Kinetics(csv, make_clip_sampler("uniform", 0.5), video_sampler=SequentialSampler)
    assert [next(dataset)["video_name"] for _ in range(3)] == ["a.mp4", "a.mp4", "b.mp4"]
    assert len([*dataset]) == 10
    with pytest.raises(StopIteration):
        next(dataset)
    assert next(iter(dataset))["video_name"] == "a.mp4" and next(dataset)["clip_index"] == 1
    assert pickle.loads(pickle.dumps(dataset)).num_videos == 5, "as a worker of another process gets it"


def test_repetitions_of_a_clip_are_counted_and_decoded_once(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Kinetics(csv, make_clip_sampler("constant_clips_per_video", 0.25, 2, 3), SequentialSampler)
    read, reads = EncodedVideo.read, []
    monkeypatch.setattr(EncodedVideo, "read", lambda *args: reads.append(1) or read(*args))
    clips = [next(dataset) for _ in range(6)]
    assert [(clip["clip_index"], clip["aug_index"]) for clip in clips] == [(c, a) for c in (0, 1) for a in (0, 1, 2)]
    clips[0]["video"].zero_()
    assert clips[1]["video"].max() > 0 and clips[1]["video"].equal(clips[2]["video"]) and len(reads) == 2
    crops = [UniformCropVideo(32)(clip)["video"].shape for clip in clips[1:3]]
    assert crops == [(3, 6, 32, 32)] * 2


def test_a_transform_that_returns_nothing_leaves_the_clip_out(csv: Path) -> None:
    def only_even(clip: dict[str, Any]) -> Any:
        return None if clip["label"] % 2 else clip

    found = Kinetics(csv, make_clip_sampler("random", 0.25), SequentialSampler, only_even)
    assert [clip["label"] for clip in found] == [0, 2, 4]


def test_a_sampler_of_ones_own_sees_the_entries_of_the_video(csv: Path) -> None:
    class Where(ClipSampler):
        def __call__(self, last_clip_end_time: Any, video_duration: Any, annotation: Any) -> ClipInfo:
            return ClipInfo(annotation["start"], annotation["start"] + self._clip_duration, 0, 0, True)

    pairs = [(str(csv.parent / "videos/a.mp4"), {"start": start, "text": "hop"}) for start in (0.0, 0.5)]
    first, second = LabeledVideoDataset(pairs, Where(0.25), SequentialSampler)
    assert first["text"] == "hop" and "label" not in first and not first["video"].equal(second["video"])


def test_labels_may_be_unknown(csv: Path, tmp_path: Path) -> None:
    videos = csv.parent / "videos"
    lists = {"minus.txt": "a.mp4 -1\nb.mp4 3\n", "alone.txt": "a.mp4\nb.mp4\n", "partly.txt": "a.mp4 2\n\nb.mp4\n"}
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    sampler = make_clip_sampler("random", 0.25)
    found = [
        [clip["label"] for clip in Ucf101(tmp_path / name, sampler, SequentialSampler, video_path_prefix=videos)]
        for name in lists
    ]
    assert found == [[-1, 3], [-1, -1], [2, -1]]
    (tmp_path / "typo.txt").write_text("a.mp4 2\nb.mp4\nc.mp4 two three 4.5\n")
    with pytest.raises(ListError, match=r"typo\.txt:2: expected `path label`"):
        Ucf101(tmp_path / "typo.txt", sampler, SequentialSampler, video_path_prefix=videos)


def test_paths_with_labels_can_be_read_and_given_by_themselves(csv: Path) -> None:
    paths = LabeledVideoPaths.from_path(csv)
    assert len(paths) == 5 and paths[1] == (f"{csv.parent}/videos/b.mp4", {"label": 1})
    assert [*paths[1:3]] == [paths[1], paths[2]] and paths[:2].path_prefix == paths.path_prefix
    short = LabeledVideoPaths([("a.mp4", 7)], path_prefix=csv.parent / "videos")
    assert next(LabeledVideoDataset(short, make_clip_sampler("random", 0.25)))["label"] == 7


def test_a_folder_of_pictures_is_a_video_of_30_pictures_a_second(csv: Path, tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    pairs = [(tmp_path, {"label": 1}), (str(csv.parent / "videos/a.mp4"), {"label": 0})]
    clips = [*LabeledVideoDataset(pairs, make_clip_sampler("uniform", 0.2), SequentialSampler, decoder="frame")]
    assert [clip["video"][0, :, 0, 0].tolist() for clip in clips[:2]] == [[*range(6)], [*range(6, 12)]]
    assert clips[0]["video_name"] == tmp_path.name and clips[-1]["video_name"] == "a.mp4"
    assert len([*LabeledVideoDataset(pairs[:1], make_clip_sampler("uniform", 0.2))]) == 2, "pictures alone"
    (tmp_path / "list.txt").write_text(f"{tmp_path.name}\n")
    unknown = Kinetics(tmp_path / "list.txt", make_clip_sampler("uniform", 0.2), video_path_prefix=tmp_path.parent)
    assert [clip["label"] for clip in unknown] == [-1, -1]


def test_hmdb51_is_read_by_the_files_of_its_authors(csv: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    names = [f"x_run_f_nm_np1_ba_goo_{number}.mp4" for number in range(3)]
    for name in names:
        shutil.copy(csv.parent / "videos/a.mp4", tmp_path / "run" / name)
    (tmp_path / "run_test_split2.txt").write_text(
        "".join(f"{name} {use} \n" for name, use in zip(names, "120", strict=True))
    )
    sampler = make_clip_sampler("random", 0.25)
    for use, name in zip(("train", "test", "unused"), names, strict=True):
        (clip,) = Hmdb51(tmp_path, sampler, video_path_prefix=tmp_path, split_id=2, split_type=use)  # type: ignore[arg-type]
        assert (clip["video_name"], clip["label"], clip["meta_tags"]) == (name, "run", ["f", "nm", "np1", "ba", "goo"])
    with pytest.raises(ListError, match=r"no file \*_test_split1\.txt has a video for 'train'"):
        Hmdb51(tmp_path, sampler)


def test_another_decoder_reads_the_same_frames_and_is_told(csv: Path, caplog: pytest.LogCaptureFixture) -> None:
    sampler = make_clip_sampler("uniform", 1)
    one, other = (next(Kinetics(csv, sampler, SequentialSampler, decoder=name)) for name in ("pyav", "decord"))
    assert one["video"].equal(other["video"])
    assert "decoder: decord is not used here; PyAV reads the same frames" in caplog.text


def shares(rank: int, csv: Path) -> tuple[list[str], list[str], str]:
    clips = make_clip_sampler("constant_clips_per_video", 0.25, 1)
    exact = Kinetics(csv, clips, video_sampler=ExactDistributedSampler)
    padded = Kinetics(csv, clips, video_sampler=DistributedSampler)
    padded.video_sampler.set_epoch(1)  # type: ignore[attr-defined]
    try:
        Kinetics(csv, clips, video_sampler=RandomSampler)
        refusal = ""
    except ConfigError as error:
        refusal = str(error)
    return [name for name, _, _ in seen(exact)], [name for name, _, _ in seen(padded)], refusal


@pytest.mark.gloo
def test_processes_share_the_videos_out(csv: Path) -> None:
    results = run_ranks(2, shares, csv)
    assert sorted(name for exact, _, _ in results for name in exact) == NAMES
    padded = [name for _, names, _ in results for name in names]
    assert set(padded) == set(NAMES) and len(padded) == 6, "equal shares for training: one video twice"
    assert all("RandomSampler would show every video on each of 2 processes" in refusal for *_, refusal in results)


def test_a_folder_of_class_folders_will_do(csv: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("run", "jump"):
        make_video(tmp_path / name / "x.mp4", frames=6)
    dataset = Kinetics(tmp_path, make_clip_sampler("random", 1), video_sampler=SequentialSampler)
    assert "class names are numbered in alphabetical order" in caplog.text
    assert [clip["label"] for clip in dataset] == [0, 1] and dataset.num_videos == 2


def test_what_is_wrong_is_named(csv: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "list.csv").write_text("bad.mp4 0\n")
    with pytest.raises(FrameError, match=r"bad\.mp4: cannot be read as a video"):
        next(iter(Kinetics(tmp_path / "list.csv", make_clip_sampler("random", 1), video_path_prefix=tmp_path)))
    with pytest.raises(ConfigError, match="no sound is read here"):
        Kinetics(csv, make_clip_sampler("random", 1), decode_audio=True)
    with pytest.raises(ConfigError, match="nothing but pictures is read here"):
        LabeledVideoDataset([], make_clip_sampler("random", 1), decode_video=False)
    with pytest.raises(ListError, match="labeled_video_paths: has no videos"):
        LabeledVideoDataset([], make_clip_sampler("random", 1))
    (tmp_path / "parts.csv").write_text("path,label,start,end\na.mp4,0,0.2,0.5\n")
    with pytest.raises(ListError, match="whole videos are read here; cut the videos"):
        Kinetics(tmp_path / "parts.csv", make_clip_sampler("random", 1))

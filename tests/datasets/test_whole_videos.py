"""A whole video's features are computed once, window by window, and its spans lie where its windows show them."""

from __future__ import annotations

import concurrent.futures
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from datasets import whole_videos
from datasets.listed_videos import EncodedVideos
from datasets.lists.tables import number_classes, read_videos
from datasets.protocol import ClipProtocol, clip_protocol
from datasets.whole_videos import SUFFIX, VideoFeatures, WholeVideos, features_of
from datasets.windows import sliding
from tests.helpers.make_video import damage, make_video
from utils.clip_spec import ClipSpec
from utils.config.schema import Common
from utils.errors import ConfigError, FrameError, ListError

FRAMES, FPS, WINDOW, STEP = 30, 10, 0.8, 0.3
CPU = torch.device("cpu")


class Bright:
    """Stands for a frozen network: the features of a clip are the mean of its pixels, and 1."""

    by_clip = True
    frozen_settings: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.seen = 0

    def frozen_state(self) -> dict[str, torch.Tensor]:
        return {}

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        self.seen += len(clips)
        mean = clips.flatten(1).mean(1)
        return torch.stack([mean, torch.ones_like(mean)], 1)[:, None]


@pytest.fixture(scope="module")
def protocol() -> ClipProtocol:
    common = Common.model_validate(
        {
            "model": {"type": "segment", "backbone": "resnet18", "num_class": 2},
            "augmentation": {"input_size": 16, "crop": "test", "flip": False},
            "data": {"store": {"type": "video"}, "feature_cache": "f"},
            "lr_scheduler": {"base_lr": 0.1, "max_iter": 1},
        }
    )
    return clip_protocol(common, ClipSpec(num_frames=2, window=WINDOW, step=STEP), train=True)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    make_video(tmp_path / "a.mp4", frames=FRAMES, fps=FPS)
    make_video(tmp_path / "b.mp4", frames=6, fps=FPS)  # shorter than a window
    return tmp_path


def opened(
    films: Path, protocol: ClipProtocol, rows: str, header: str = "path,label,start,end", *, unlabelled: bool = False
) -> WholeVideos:
    source = films / "list.csv"
    source.write_text(f"{header}\n{rows}")
    (films / "classInd.txt").write_text("0 run\n1 jump\n")
    classes = number_classes([(source, films)], file=str(films / "classInd.txt"), multi_label=False)
    given: dict[str, Any] = {"root": films, "num_class": 2, "unlabelled": unlabelled, "multi_label": False}
    records, _ = read_videos(source, **given, columns=("label",), encoded=True, classes=classes)
    videos = EncodedVideos(records, cache=str(films / "index"))
    return WholeVideos(records, videos, protocol, str(films / "features"), num_class=2)


ROWS = "a.mp4,run,0.5,1.0\na.mp4,jump,0.9,2.9\nb.mp4,run,0.0,0.3\n"


def test_a_video_is_computed_once_and_a_damaged_file_again(films: Path, protocol: ClipProtocol) -> None:
    network, lines = Bright(), list[str]()
    opened(films, protocol, ROWS).compute(network, CPU, lines.append)
    windows = len([*sliding(protocol, length=8, step=3, num_frames=FRAMES, fps=25)])
    assert network.seen == windows + 1 and lines == ["computing the features of 2 of 2 videos, once"]
    opened(films, protocol, ROWS).compute(network, CPU, lines.append)
    assert network.seen == windows + 1 and len(lines) == 1
    for file in (films / "features").glob(f"*{SUFFIX}"):
        file.write_bytes(file.read_bytes()[:-70])
    opened(films, protocol, ROWS).compute(network, CPU, lines.append)
    assert network.seen == 2 * (windows + 1) and "computed again" in lines[1]


class Machines:
    """Processes of a session, each a thread. All their machines have the same name, as containers may have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self._count, self._barrier = count, threading.Barrier(count, timeout=10)
        self._given: list[Any] = [None] * count
        self._local = threading.local()
        session = whole_videos.session
        monkeypatch.setattr(session, "rank", lambda: self._local.rank)
        monkeypatch.setattr(session, "world_size", lambda: count)
        monkeypatch.setattr(session, "gather_objects", self._gather)

    def _gather(self, value: Any) -> list[Any]:
        self._given[self._local.rank] = value
        self._barrier.wait()
        found = list(self._given)
        self._barrier.wait()
        return found

    def run(self, work: Callable[[int], None]) -> None:
        """Does `work` in each process."""

        def inside(rank: int) -> None:
            self._local.rank = rank
            work(rank)

        with concurrent.futures.ThreadPoolExecutor(self._count) as pool:
            assert [*pool.map(inside, range(self._count))] == [None] * self._count


def on_machines(
    films: Path, protocol: ClipProtocol, monkeypatch: pytest.MonkeyPatch, *, folders: list[str], names: str
) -> tuple[list[int], list[WholeVideos]]:
    """How many videos each process computes whose features lie in that folder, and the videos of each."""
    for name in names:
        shutil.copy(films / "b.mp4", films / f"{name}.mp4")
    rows = "".join(f"{name}.mp4,run,0.0,0.3\n" for name in names)
    videos = [opened(films, protocol, rows) for _ in folders]
    videos[0]._videos.version(0)  # finds the videos in their index
    for number, name in enumerate(folders):
        videos[number].folder = films / name
    networks = [Bright() for _ in folders]
    Machines(monkeypatch, len(folders)).run(lambda rank: videos[rank].compute(networks[rank], CPU, lambda line: None))
    assert not any(found.faults for found in videos)
    return [network.seen for network in networks], videos


def test_machines_without_a_folder_in_common_compute_each_video_once(
    films: Path, protocol: ClipProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = ["one", "one", "other"]
    computed, _ = on_machines(films, protocol, monkeypatch, folders=folders, names="cdefg")
    assert [len([*(films / name).iterdir()]) for name in ("one", "other")] == [5, 5]
    assert computed[0] + computed[1] == computed[2] == 5 and computed[0] == 3


def test_every_machine_has_all_features_though_there_are_fewer_videos_than_machines(
    films: Path, protocol: ClipProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = ["one", "other", "third", "third"]
    computed, videos = on_machines(films, protocol, monkeypatch, folders=folders, names="c")
    assert computed[:2] == [1, 1] and sum(computed[2:]) == 1
    assert [found.video(0).seconds for found in videos] == [videos[0].video(0).seconds] * 4


def test_a_folder_that_loses_what_is_written_is_an_error_and_no_endless_work(
    films: Path, protocol: ClipProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_videos, "save_arrays", lambda *given: None)
    with pytest.raises(ConfigError, match=r"feature_cache: .*features does not keep what is written"):
        opened(films, protocol, ROWS).compute(Bright(), CPU, print)


def test_a_window_has_the_time_of_its_middle(films: Path, protocol: ClipProtocol) -> None:
    videos = opened(films, protocol, ROWS)
    videos.compute(Bright(), CPU, print)
    video = videos.video(0)
    firsts = [window.first for window in sliding(protocol, length=8, step=3, num_frames=FRAMES, fps=25)]
    assert video.times == pytest.approx((np.array(firsts) + 4) / FPS)
    assert video.seconds == pytest.approx(FRAMES / FPS) and videos.video(1).seconds == pytest.approx(0.6)


def test_a_batch_has_nan_behind_the_end_of_a_video_and_the_longest_spans_first(
    films: Path, protocol: ClipProtocol
) -> None:
    videos = opened(films, protocol, ROWS)
    videos.compute(Bright(), CPU, print)
    batch = videos.__getitems__([(0, 1), (0, 0)])
    count = len(videos.video(0).times)
    assert batch.clips.shape == (2, 1, count, 2) and batch.indices.tolist() == [1, 0]
    assert batch.clips[0, 0].isnan().any(1).tolist() == [False] + [True] * (count - 1)
    assert not batch.clips[1].isnan().any()
    assert batch.labels[1, :, 2].tolist() == [2.0, 1.0, 0.0]  # the video, two seconds of jump, half a second of run
    assert batch.labels[0, :, 2].tolist() == [2.0, 0.0, -1.0]
    assert "1 of them overlap one of another class" in videos.description


def test_places_and_seconds_are_each_others_inverse_also_outside_of_the_windows() -> None:
    video = VideoFeatures(np.zeros((4, 1)), np.array([0.4, 0.7, 1.0, 1.2]), 1.6, 10.0)
    seconds = np.array([0.0, 0.1, 0.4, 0.85, 1.1, 1.6])
    assert video.seconds_at(video.places(seconds)) == pytest.approx(seconds)
    assert video.places(np.array([0.4, 0.7, 1.2])).tolist() == [0.0, 1.0, 3.0]
    assert video.places(np.array([0.0]))[0] < -1 and video.places(np.array([1.6, 99.0])).min() > 3


def test_a_video_that_cannot_be_read_is_a_fault_with_its_line_and_its_name_once(
    films: Path, protocol: ClipProtocol
) -> None:
    (films / "b.mp4").write_bytes(b"no video")
    videos = opened(films, protocol, ROWS)
    videos.compute(Bright(), CPU, print)
    batch = videos.__getitems__([0, 1])
    assert batch.faults[0] == "" and batch.faults[1].startswith(f"{films / 'list.csv'}:4: ")
    assert batch.faults[1].count("b.mp4") == 1


def test_a_damaged_video_is_a_fault_and_leaves_no_features(films: Path, protocol: ClipProtocol) -> None:
    damage(make_video(films / "b.mp4", frames=48, fps=FPS))
    for _ in range(2):  # the second time, too
        videos = opened(films, protocol, ROWS)
        videos.compute(Bright(), CPU, print)
        batch = videos.__getitems__([0, 1])
        assert batch.faults[0] == "" and f"list.csv:4: {films / 'b.mp4'}: " in batch.faults[1]
        assert len([*(films / "features").iterdir()]) == 1


def test_windows_whose_times_do_not_rise_are_refused_with_the_name_of_the_video(protocol: ClipProtocol) -> None:
    frames = [(0.0, np.zeros((16, 16, 3), np.uint8))] * FRAMES
    with pytest.raises(FrameError, match=r"bad\.mp4: the times of its windows do not rise"):
        features_of(Bright(), protocol, frames, name="bad.mp4", num_frames=FRAMES, fps=FPS, device=CPU)


def test_spans_beyond_the_end_are_counted_and_one_behind_it_is_a_fault(
    films: Path, protocol: ClipProtocol, caplog: pytest.LogCaptureFixture
) -> None:
    videos = opened(films, protocol, "a.mp4,run,0.5,4.0\na.mp4,jump,0.9,3.05\nb.mp4,run,0.0,0.3\nb.mp4,run,2,3\n")
    videos.compute(Bright(), CPU, print)
    assert "1 of 4 spans end behind the end of their video, by up to 1.00 s" in caplog.text
    batch = videos.__getitems__([0, 1])
    assert batch.faults[0] == "" and videos.truth(0, 3.0).end.max() == 3.0
    assert "list.csv:5 (2 to 3 s): " in batch.faults[1] and "it ends at 0.60 s" in batch.faults[1]


def test_a_whole_video_is_not_beyond_its_end(
    films: Path, protocol: ClipProtocol, caplog: pytest.LogCaptureFixture
) -> None:
    videos = opened(films, protocol, "a.mp4,run,0.5,1\nb.mp4,run,,\n")
    videos.compute(Bright(), CPU, print)
    assert not videos.faults and not caplog.text


def test_a_record_without_a_label_is_refused(films: Path, protocol: ClipProtocol) -> None:
    with pytest.raises(ListError, match=r"list\.csv:3 \(1 to 2 s\): a\.mp4 has no label"):
        opened(films, protocol, "a.mp4,run,0,1\na.mp4,-1,1,2\n", unlabelled=True)


def test_a_list_without_spans_is_refused(films: Path, protocol: ClipProtocol) -> None:
    with pytest.raises(ListError, match="its lines have no start and end"):
        opened(films, protocol, "a.mp4,run\n", "path,label")


def test_a_span_shorter_than_a_step_is_said(films: Path, protocol: ClipProtocol) -> None:
    assert "1 of them shorter than the 0.3 s" in opened(films, protocol, "a.mp4,run,0.5,0.6\n").description

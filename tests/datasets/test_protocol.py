from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import main
from datasets.protocol import clip_protocol, values_in_force
from datasets.split import check_lists
from datasets.video_dataset import VideoDataset
from tests.helpers.experiment import make_experiment, run
from tools.inference import load
from utils.clip_spec import ClipSpec
from utils.config.file import load_config
from utils.config.schema import Common
from utils.errors import ConfigError
from utils.run import checkpoint

CLIP = ClipSpec(4)


def common(**keys: object) -> Common:
    model = {"type": "tsn", "backbone": "resnet18", "num_class": 3}
    return Common.model_validate({"model": model, "lr_scheduler": {"base_lr": 0.1, "max_iter": 9}} | keys)


def test_a_rule_that_fixes_its_clips_decides_their_number() -> None:
    assert clip_protocol(common(test={"sampling": "twice"}), CLIP, train=False).num_clips == 2
    assert str(clip_protocol(common(), CLIP, train=False)).startswith("1 clip x 1 crop, ")
    assert clip_protocol(common(test={"num_clips": 3}), CLIP, train=False).num_clips == 3
    assert clip_protocol(common(test={"sampling": "twice"}), CLIP, train=True).num_clips == 1
    with pytest.raises(ConfigError, match="sampling 'twice' gives 2 clips per video, not 3"):
        clip_protocol(common(test={"sampling": "twice", "num_clips": 3}), CLIP, train=False)


@pytest.mark.whole
def test_dry_run_run_evaluation_and_tools_have_one_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_experiment(tmp_path, test={"sampling": "twice", "num_crops": 3}, watch={"clips": 0})
    assert run(config, "--dry-run") == 0
    assert "over 6 view(s)" in capsys.readouterr().out
    assert run(config, "common.lr_scheduler.max_iter=2") == 0
    assert run(config, "--evaluate") == 0
    log = (config.parent / "log.txt").read_text()
    assert log.count("(2 clips x 3 crops, 2 x 32 x 32, twice sampling, scores averaged, 6 videos)") == 2
    path = config.parent / checkpoint.BEST
    saved, opened = checkpoint.load(path)["preprocessing"], load(path).protocol
    assert opened.as_dict() | {"decode": "cpu"} == saved and saved["num_clips"] == 2 and saved["num_crops"] == 3


@pytest.mark.parametrize("arguments", [["--dry-run"], [], ["--evaluate"]])
def test_a_number_of_clips_that_cannot_be_is_refused_by_every_way_in(tmp_path: Path, arguments: list[str]) -> None:
    config = make_experiment(tmp_path, test={"sampling": "twice", "num_clips": 3})
    with pytest.raises(ConfigError, match="sampling 'twice' gives 2 clips per video, not 3"):
        main.main(["--config", str(config), *arguments])
    assert not (config.parent / "log.txt").exists()


def test_a_clip_of_several_windows_is_told_and_takes_rules_that_draw_windows() -> None:
    clip = ClipSpec(8, 2, "clip", "clip", segments=2)
    protocol = clip_protocol(common(), clip, train=False)
    assert protocol.as_dict()["segments"] == 2 and "8 x 224 x 224 in 2 windows, clip sampling" in str(protocol)
    assert "segments" not in clip_protocol(common(), CLIP, train=False).as_dict()
    with pytest.raises(ConfigError, match=r"test\.num_frames: 9 is no multiple of 2, the windows of a clip"):
        clip_protocol(common(test={"num_frames": 9}), clip, train=False)
    with pytest.raises(ConfigError, match=r"'segments' takes single frames, .* \(model\.kwargs\.segments\)"):
        clip_protocol(common(data={"sampling": "segments"}), ClipSpec(8, segments=2), train=True)
    videos = {"store": {"type": "video", "sampler": "random"}}
    with pytest.raises(ConfigError, match=r"common\.data\.store: a clip .* is 2 windows .*; leave out sampler"):
        VideoDataset.check(clip_protocol(common(data=videos), clip, train=True))


@pytest.mark.parametrize("average", ["scores", "logits"])
def test_views_become_one_score_by_averaging_what_the_config_says(average: str, rng: np.random.Generator) -> None:
    logits = torch.from_numpy(rng.normal(size=(5, 6, 3)))
    found = clip_protocol(common(test={"average": average}), CLIP, train=False).average_views(logits)
    expected = logits.softmax(-1).mean(1) if average == "scores" else logits.mean(1).softmax(-1)
    torch.testing.assert_close(found, expected)


def video_sampling(**store: object) -> dict[str, object]:
    return {"data": {"store": {"type": "video", **store}}}


def test_the_sampler_of_encoded_videos_decides_the_number_of_clips() -> None:
    multi = common(**video_sampling(sampler="random_multi", clips_per_video=3), test={"num_clips": 2})
    train, test = (clip_protocol(multi, CLIP, train=train) for train in (True, False))
    assert train.num_clips == 3 and train.video_sampling.sampler == "random_multi"
    assert test.num_clips == 2 and test.video_sampling.sampler == "constant_clips_per_video"
    uniform = clip_protocol(common(**video_sampling(sampler="uniform")), CLIP, train=False)
    assert uniform.num_clips == 1 and ", uniform sampling, " in str(uniform)
    several = clip_protocol(common(**video_sampling(clips_per_video=5)), CLIP, train=True)
    assert several.num_clips == 1 and several.video_sampling.clips_per_video == 5
    with pytest.raises(ConfigError, match=r"common\.test\.num_clips: is 2, but data\.store\.sampler: uniform"):
        clip_protocol(common(**video_sampling(sampler="uniform"), test={"num_clips": 2}), CLIP, train=False)
    near = common(**video_sampling(near_key=0.5))
    train, test = (clip_protocol(near, CLIP, train=train) for train in (True, False))
    assert "sampling moved to key frames up to 0.5 s away" in str(train) and train.video_sampling.near_key == 0.5
    assert "moved" not in str(test) and "near_key" not in test.as_dict()["video_sampling"]


@pytest.mark.parametrize(
    ("store", "key", "message"),
    [
        (
            {"sampler": "random"},
            "data",
            r"common\.data\.sampling: middle chooses frames and data\.store\.sampler: random ",
        ),
        (
            {"sampler": "uniform"},
            "test",
            r"common\.test\.sampling: middle .*: uniform seconds, so middle would change no",
        ),
        (
            {"clip_seconds": 2.0},
            "",
            r"common\.data\.store\.clip_seconds: would change nothing with sampler: None; leave",
        ),
        ({"sampler": "random", "stride": 1}, "", r"stride: .* sampler: random; .* set data\.store\.sampler to uniform"),
    ],
)
def test_a_key_that_nothing_would_read_beside_the_sampler_is_refused(
    store: dict[str, object], key: str, message: str
) -> None:
    parts = {"data": {"store": {"type": "video", **store}}, "test": {}}
    parts |= {key: {**parts[key], "sampling": "middle"}} if key else {}
    with pytest.raises(ConfigError, match=message):
        check_lists(common(**parts), CLIP, trains=True)
    # as a checkpoint of an older version may have it, which nobody can change
    assert set(check_lists(common(**parts), CLIP)) == {"train", "val"}


@pytest.mark.whole
@pytest.mark.parametrize(
    ("store", "message"),
    [
        ({"sampler": "randm"}, "store.sampler: should be 'random', 'random_multi'"),
        ({"sampller": "random"}, "store.sampller: video does not take it; did you mean `sampler`"),
        ({"fps": 0.0}, "store.fps: should be greater than 0, but is 0.0"),
        ({"clip_seconds": -1.0}, "store.clip_seconds: should be greater than 0, but is -1.0"),
        ({"clips_per_video": 0}, "store.clips_per_video: should be greater than or equal to 1, but is 0"),
        ({"decoder": "decord"}, "store.decoder: should be 'auto', 'pyav' or 'torchcodec', but is 'decord'"),
    ],
)
def test_a_dry_run_checks_how_encoded_videos_are_read(tmp_path: Path, store: dict[str, object], message: str) -> None:
    config = make_experiment(tmp_path, **video_sampling(**store))
    with pytest.raises(ConfigError, match=message):
        main.main(["--config", str(config), "--dry-run"])


def test_a_dry_run_needs_the_decoder_that_the_config_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="torchcodec cannot be used: it is not installed"):
        main.main(["--config", str(make_experiment(tmp_path, **video_sampling(decoder="torchcodec"))), "--dry-run"])


def test_an_evaluation_step_has_as_many_views_as_a_training_step_has_clips() -> None:
    wanted = common(batch_size=24, test={"num_clips": 2, "num_crops": 3})
    assert clip_protocol(wanted, CLIP, train=True).batch_size == 24
    assert clip_protocol(wanted, CLIP, train=False).batch_size == 4
    assert clip_protocol(common(batch_size=2, test={"num_clips": 10}), CLIP, train=False).batch_size == 1


def test_every_key_that_the_protocol_decides_is_one_of_the_config(tmp_path: Path) -> None:
    file = load_config(make_experiment(tmp_path))
    known = {key for key, _, _ in file.explain()}
    protocols = {name: clip_protocol(file.common, CLIP, train=name == "train") for name in ("train", "val")}
    assert set(values_in_force(**protocols)) <= known

"""A run that goes on after its config, its lists or its classes have changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.experiment import make_experiment, run, weights
from tests.helpers.make_video import make_video
from tests.integration.test_training import metrics
from tools import pack_frames
from utils.errors import CheckpointError, ConfigError, UserError
from utils.run import checkpoint

FEW = "common.lr_scheduler.max_iter=3"
MORE = "common.lr_scheduler.max_iter=4"


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    config = make_experiment(tmp_path, watch={"clips": 0, "confusion": False})
    assert run(config, FEW) == 0
    return config


def log(config: Path) -> str:
    return (config.parent / "log.txt").read_text()


def saved(config: Path) -> dict[str, Any]:
    return checkpoint.load(config.parent / checkpoint.NEWEST)


def test_a_changed_config_is_said_in_the_log_and_in_the_checkpoint_and_takes_effect(begun: Path) -> None:
    changed = ["common.weight_decay=0.01", "common.momentum=0.5", "common.lr_by_name={head: 2.0}"]
    assert run(begun, MORE, *changed) == 0
    for change in (
        "common.lr_scheduler.max_iter: 3 -> 4", "common.weight_decay: 0.0001 -> 0.01", "common.momentum: 0.9 -> 0.5",
        "common.lr_by_name.head: (absent) -> 2.0",
    ):  # fmt: skip
        text = f"after 3 steps the config has changed: {change}"
        assert f"warning: {text}" in log(begun) and text in saved(begun)["notes"]
    groups = saved(begun)["optimizer"]["param_groups"]
    assert {group["momentum"] for group in groups} == {0.5}
    assert {group["weight_decay"] for group in groups} == {0.01, 0.0}
    assert {group["lr_mult"] for group in groups} == {1.0, 2.0}
    assert run(begun, MORE, *changed) == 0  # the notes stay, and nothing is new
    assert log(begun).count("the config has changed") == 5


@pytest.mark.parametrize(
    "change",
    [
        "common.optimizer=ADAMW",
        *(pytest.param(f"common.{key}", marks=pytest.mark.long) for key in ("no_wd=false", "policy=true")),
    ],
)
def test_another_optimizer_or_other_groups_go_on(begun: Path, change: str) -> None:
    assert run(begun, MORE, change) == 0
    assert saved(begun)["step"] == 4
    assert ("begins without a memory for" in log(begun)) == ("ADAMW" in change)


@pytest.mark.long
def test_parts_can_be_frozen_and_thawed(begun: Path) -> None:
    assert run(begun, MORE, "common.freeze=[backbone.features.1]") == 0
    assert run(begun, "common.lr_scheduler.max_iter=5", "common.freeze=[backbone.features.2]") == 0
    assert run(begun, "common.lr_scheduler.max_iter=6") == 0
    assert "SGD begins without a memory for" in log(begun)


def test_a_network_that_does_not_fit_any_more_names_the_key_and_the_way_that_works(begun: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        run(begun, MORE, "common.model.kwargs.scale=0.5")
    assert "common.model.kwargs.scale: 0.25 -> 0.5" in str(error.value) and "--fresh --load-path" in str(error.value)


def test_a_class_that_was_added_needs_a_new_run_with_a_new_head(begun: Path) -> None:
    (begun.parents[1] / "lists" / "classInd.txt").write_text("0 dark\n1 bright\n2 grey\n")
    for flags in ([], ["--new-head"]):
        with pytest.raises(CheckpointError) as error:
            run(begun, MORE, "common.model.num_class=3", *flags)
        assert "common.model.num_class: 2 -> 3" in str(error.value)
    way = ["--fresh", "--load-path", str(begun.parent / "ckpt.pth.tar"), "--new-head"]
    assert " ".join(way[:3]) in str(error.value) and way[3] in str(error.value)
    assert run(begun, MORE, "common.model.num_class=3", *way) == 0
    assert weights(begun)["module.head.weight"].shape[0] == 3


def test_other_pretrained_weights_cannot_take_effect_any_more(begun: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"common.model.pretrained: is /w.pth now, but the run here began with False"):
        run(begun, MORE, "common.model.pretrained=/w.pth")
    assert saved(begun)["step"] == 3


def test_recovering_with_a_new_head_contradicts_itself(begun: Path) -> None:
    with pytest.raises(UserError, match="--recover continues a run as it was and --new-head starts a new classifier"):
        run(begun, "--load-path", "x.pth", "--recover", "--new-head")


def change_list(config: Path, name: str, change: str) -> None:
    path = config.parents[1] / "lists" / f"{name}.txt"
    lines = path.read_text().splitlines()
    if change == "shorter":
        lines = lines[2:]
    elif change == "reordered":
        lines.reverse()
    elif change == "swapped":
        lines = [line[:-1] + str(1 - int(line[-1])) for line in lines]
    path.write_text("".join(line + "\n\n" for line in lines))  # empty lines count for nothing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("shorter", "12 -> 10 videos"),
        pytest.param("reordered", "as many videos", marks=pytest.mark.long),
        ("swapped", "as many videos"),
        pytest.param("", "", marks=pytest.mark.long),
    ],
)
def test_a_changed_training_list_is_said(begun: Path, change: str, said: str) -> None:
    change_list(begun, "train", change)
    assert run(begun, MORE) == 0
    notes = [note for note in saved(begun)["notes"] if "list has changed" in note]
    assert len(notes) == bool(said)
    for note in notes:
        assert note.startswith(f"after 3 steps the train list has changed: {said}") and note in log(begun)


def test_frames_that_were_dumped_otherwise_are_said_and_scores_not_compared(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)

    def dumped(size: int, **more: Any) -> None:
        header = {"kind": "header", "format": 1, "tool": "dump_frames", "size": [0, size], "videos": "v", **more}
        (tmp_path / "manifest.jsonl").write_text(json.dumps(header) + "\n")

    dumped(256)
    assert run(config, FEW) == 0
    dumped(256, videos="moved")
    assert run(config, MORE) == 0
    assert "made anew" not in log(config)
    dumped(128)
    assert run(config, "common.lr_scheduler.max_iter=5") == 0
    for name in ("train", "val"):
        text = f"after 4 steps what lies in {name}_root has been made anew: size: [0, 256] -> [0, 128]"
        assert f"warning: {text}" in log(config) and text in saved(config)["notes"]
    assert "the next validation counts as the best" in log(config)


def test_frames_that_were_written_over_without_a_manifest_are_said_and_scores_not_compared(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, FEW) == 0
    assert run(config, MORE) == 0
    assert "made anew" not in log(config)
    frame = tmp_path / "frames" / "dark" / "val 0" / "img_00001.jpg"
    frame.write_bytes(frame.read_bytes() + b"x")
    assert run(config, "common.lr_scheduler.max_iter=5") == 0
    (told,) = [line for line in log(config).splitlines() if "so frames were made anew" in line]
    assert "warning: after 4 steps the files of the val list are not those of before: the first frame" in told
    assert "the next validation counts as the best" in log(config)


def test_a_manifest_that_is_not_there_any_more_says_nothing_of_the_frames(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    header = {"kind": "header", "format": 1, "tool": "dump_frames", "size": [0, 256], "videos": "v"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(header) + "\n")
    assert run(config, FEW) == 0
    (tmp_path / "manifest.jsonl").unlink()
    assert run(config, MORE) == 0
    assert "made anew" not in log(config) and "counts as the best" not in log(config)


def files_said(config: Path) -> list[str]:
    """What the newest checkpoint says of files that are not those of before."""
    return [note.partition(": ")[2] for note in saved(config)["notes"] if "are not those of before" in note]


def test_videos_that_were_replaced_are_said_and_scores_not_compared(tmp_path: Path) -> None:
    videos = [make_video(tmp_path / "videos" / name) for name in ("dark/a.mp4", "bright/b.mp4")]
    config = make_experiment(tmp_path)
    given = [f"common.{name}_{key}={tmp_path}/videos" for name in ("train", "val") for key in ("source", "root")]
    given += [f"common.data.store={{type: video, cache: {tmp_path}/cache}}", "common.batch_size=2"]
    assert run(config, *given, "common.lr_scheduler.max_iter=1") == 0
    assert run(config, *given, "common.lr_scheduler.max_iter=2") == 0
    assert files_said(config) == [] and "counts as the best" not in log(config)
    os.utime(videos[0], (5, 5))
    assert run(config, *given, "common.lr_scheduler.max_iter=3") == 0
    (said,) = set(files_said(config))
    assert said.startswith("they were written again, with as many bytes each")
    assert len(files_said(config)) == 2 and "counts as the best" not in log(config)
    make_video(tmp_path / "videos/dark/a.mp4", frames=9)
    assert run(config, *given, "common.lr_scheduler.max_iter=4") == 0
    assert len(files_said(config)) == 4 and "some have another number of bytes" in files_said(config)[2]
    assert "the next validation counts as the best" in log(config)


def test_packs_of_other_frames_are_said_and_packs_of_the_same_frames_are_not(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    lists = [str(tmp_path / "lists" / f"{name}.txt") for name in ("train", "val")]

    def packed(name: str, steps: int, *more: str) -> int:
        pack_frames.main([str(tmp_path / name), *lists, "--root", str(tmp_path / "frames"), *more])
        store = f"common.data.store={{type: packed, folder: {tmp_path / name}}}"
        return run(config, store, f"common.lr_scheduler.max_iter={steps}")

    assert packed("one", 1) == 0
    assert packed("in small shards", 2, "--shard-mb", "0.01") == 0 and files_said(config) == []
    frame = tmp_path / "frames/dark/val 0/img_00001.jpg"
    frame.write_bytes((tmp_path / "frames/bright/val 1/img_00001.jpg").read_bytes())
    assert packed("another", 3) == 0
    assert files_said(config) == ["the pack has other frames of some videos"]
    assert "after 2 steps the files of the val list are not those of before" in log(config)
    assert "the next validation counts as the best" in log(config)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("cuda", "auto", "warning: decode is cuda in the checkpoint and cpu here"),
        ("cpu", "auto", ""),
        pytest.param("cuda", "cpu", "", marks=pytest.mark.long),  # the changed config is said
        (None, "cpu", ""),  # older versions did not say it
    ],
)
def test_a_run_that_goes_on_says_when_frames_are_decoded_elsewhere_and_compares_no_scores(
    begun: Path, before: str | None, now: str, said: str
) -> None:
    state = saved(begun)
    state["state_dict"] = {key.removeprefix("module."): value for key, value in state["state_dict"].items()}
    state["preprocessing"].pop("decode")
    state["preprocessing"] |= {} if before is None else {"decode": before}
    checkpoint.save(begun.parent, state, best=False)
    assert run(begun, MORE, f"common.data.decode={now}") == 0
    assert said in log(begun) and ("warning: decode is" in log(begun)) == bool(said)
    assert ("the next validation counts as the best" in log(begun)) == (before == "cuda")
    assert saved(begun)["preprocessing"]["decode"] == "cpu"


@pytest.mark.parametrize(
    ("change", "best"),
    [("swapped", True), *(pytest.param(*case, marks=pytest.mark.long) for case in (("views", True), ("", False)))],
)
def test_the_best_score_counts_only_for_the_list_and_the_views_that_it_was_measured_on(
    begun: Path, change: str, best: bool
) -> None:
    state = saved(begun)
    state["trainer"]["best_prec1"] = 100.0  # nothing can be better
    state["trainer"]["best_loss"] = 0.0
    state["state_dict"] = {key.removeprefix("module."): value for key, value in state["state_dict"].items()}
    checkpoint.save(begun.parent, state, best=True)
    views = ["common.val_freq=100"]  # so it is the end of the run, close to the last validation, where one is due
    if change == "views":
        views += ["common.test.num_crops=3"]
    else:
        change_list(begun, "val", change)
    assert run(begun, "common.lr_scheduler.max_iter=5", *views) == 0
    assert (checkpoint.load(begun.parent / checkpoint.BEST)["step"] == 5) == best
    assert ("the next validation counts as the best" in log(begun)) == best


def test_a_class_file_that_appears_is_said(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    file = tmp_path / "lists" / "classInd.txt"
    text = file.read_text()
    file.unlink()
    assert run(config, FEW) == 0
    file.write_text(text)
    assert run(config, MORE) == 0
    assert "after 3 steps the class file has changed: no class names -> 2 class names" in saved(config)["notes"]


def test_fresh_counts_once_for_all_attempts_of_a_launch(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCH_ID", "one")
    assert run(begun, "--fresh", FEW) == 0
    assert run(begun, "--fresh", MORE) == 0  # as after a death
    assert saved(begun)["step"] == 4 and [r["step"] for r in metrics(begun, "train")] == [0, 2, 3]
    assert "--fresh: done by an earlier attempt of this launch (one), which is continued" in log(begun)
    assert not (begun.parent / "previous-2").exists()
    monkeypatch.setenv("LAUNCH_ID", "two")
    assert run(begun, "--fresh", FEW) == 0
    assert (begun.parent / "previous-2").exists() and saved(begun)["step"] == 3


def test_a_checkpoint_and_the_log_say_what_ran(begun: Path) -> None:
    about = saved(begun)["run"]
    assert about["command"].startswith("main.py --config ") and about["command"].endswith(FEW)
    assert about["values"]["common.lr_scheduler.max_iter"] == 3 and about["values"]["common.weight_decay"] == 0.0001
    assert about["set"]["common.lr_scheduler.max_iter"] == "command line"
    assert {"commit", "code", "machine", "device", "processes", "versions", "began"} <= about.keys()
    assert about["parameters"] > 0 and about["gmacs"] > 0 and about["gmacs_clip"] == [2, 32, 32]
    assert saved(begun)["trainer"]["seconds"] > 0
    text = log(begun)
    assert f"command: {about['command']}" in text and f"digest {about['code']}" in text
    assert "common.lr_scheduler.max_iter: 3  (command line)" in text
    assert torch.__version__ in text and "done: 3 steps in 0:00:0" in text

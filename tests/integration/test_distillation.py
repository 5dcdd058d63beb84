"""A network learns from a teacher, through main.py: from its checkpoint, and from scores that were kept."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from tests.helpers.experiment import make_experiment, run, same_weights, weights
from tests.integration.interruptions import finish, losses, start
from tests.integration.test_training import metrics, stop_at
from utils.errors import ConfigError
from utils.run import checkpoint

SHORT = "common.lr_scheduler.max_iter=4"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained experiment, with the scores of its training list."""
    config = make_experiment(tmp_path_factory.mktemp("teacher"))
    assert run(config) == 0
    lists = config.parents[1] / "lists"
    assert run(config, "--evaluate", f"common.val_source={lists / 'train.txt'}") == 0
    return config


def checkpoint_of(teacher: Path) -> str:
    return f"common.teacher.checkpoint={teacher.parent / checkpoint.BEST}"


def scores_of(teacher: Path) -> str:
    return f"common.teacher.scores={teacher.parent}"


def test_both_kinds_of_teacher_change_what_is_learned_and_the_log_says_what_they_cost(
    teacher: Path, tmp_path: Path
) -> None:
    found = {}
    for name, option in {"alone": SHORT, "network": checkpoint_of(teacher), "kept": scores_of(teacher)}.items():
        config = make_experiment(tmp_path / name)
        assert run(config, SHORT, option) == 0
        found[name] = weights(config)
        log = (config.parent / "log.txt").read_text()
        if name == "network":
            assert re.search(r"teacher: tsm_mobilenetv2 of .*, [\d,]+ parameters; it adds 0\.\d+ GMACs per clip", log)
            assert "1.0 times the network's own forward pass" in log
        if name == "kept":
            assert re.search(r"teacher: scores of 12 videos in .*, \d+\.\d\d % of them right; a step takes no", log)
        about = checkpoint.load(config.parent / checkpoint.NEWEST)["teacher"]
        assert about is None if name == "alone" else about["sum"] > 0
    names = list(found)
    assert not any(
        same_weights(found[one], found[other]) for one, other in zip(names, [*names[1:], names[0]], strict=True)
    )


@pytest.mark.interrupt
@pytest.mark.long
@pytest.mark.parametrize("kind", [checkpoint_of, scores_of])
def test_a_taught_run_that_is_interrupted_ends_with_the_same_bits(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: object
) -> None:
    assert callable(kind)
    whole, cut, option = make_experiment(tmp_path / "whole"), make_experiment(tmp_path / "cut"), kind(teacher)
    assert run(whole, option, "common.amp=bf16", "common.accumulate=2") == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        assert run(cut, option, "common.amp=bf16", "common.accumulate=2") == 128 + signal.SIGTERM
    assert run(cut, option, "common.amp=bf16", "common.accumulate=2") == 0
    assert same_weights(weights(whole), weights(cut))
    assert [r["loss"] for r in metrics(whole, "val")] == [r["loss"] for r in metrics(cut, "val")]


def test_another_teacher_on_the_way_is_noted(teacher: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, SHORT, scores_of(teacher)) == 0
    assert run(config, "common.lr_scheduler.max_iter=6", checkpoint_of(teacher)) == 0
    (note,) = [text for text in checkpoint.load(config.parent / checkpoint.NEWEST)["notes"] if "teacher has" in text]
    assert note.startswith(f"after 4 steps the teacher has changed: {teacher.parent} (checksum ")


@pytest.mark.gloo
@pytest.mark.long
def test_two_processes_learn_from_a_teacher_as_one_does(teacher: Path, tmp_path: Path) -> None:
    plain = {"type": "tsn", "backbone": "squeezenet1_1", "num_segments": 2, "num_class": 2}
    found = []
    for count, kind in ((1, checkpoint_of), (2, checkpoint_of), (1, scores_of), (2, scores_of)):
        augmentation = {"input_size": 32}
        root = tmp_path / f"{kind.__name__}{count}"
        config = make_experiment(root, model=plain, augmentation=augmentation, global_batch=4)
        assert finish(start(config, count, SHORT, kind(teacher))) == [0] * count
        found.append([loss for *_, loss in losses(config)])
    assert found[0] == pytest.approx(found[1], abs=1e-4) and found[2] == pytest.approx(found[3], abs=1e-4)


def test_a_teacher_of_other_classes_or_pixels_is_refused_before_data_is_read(teacher: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    for arguments, words in (
        ([checkpoint_of(teacher), "common.model.num_class=3"], "has 2 classes, common.model.num_class is 3"),
        ([scores_of(teacher), "common.model.num_class=3"], "has 2 classes, common.model.num_class is 3"),
        ([checkpoint_of(teacher), "common.augmentation.mean=[0.5, 0.5, 0.5]"], "would see other pixels .*: mean is"),
    ):
        with pytest.raises(ConfigError, match=words):
            run(config, "--dry-run", *arguments)


def test_scores_that_lack_a_video_or_number_classes_otherwise_are_refused(teacher: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path, train=14)
    with pytest.raises(ConfigError, match=r"lacks 2 of 14 training videos, first 'dark/train 12'; to score all"):
        run(config, SHORT, scores_of(teacher))
    lines = (tmp_path / "lists" / "train.txt").read_text().splitlines()[:12]
    (tmp_path / "lists" / "train.txt").write_text("".join(f"{line[:-1]}{1 - int(line[-1])}\n" for line in lines))
    with pytest.raises(ConfigError, match=r"has class 0 for 'dark/train 0', the training list 1: its classes are"):
        run(config, SHORT, scores_of(teacher))


def test_names_of_classes_have_to_be_the_same(teacher: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    (tmp_path / "lists" / "classInd.txt").write_text("0 night\n1 day\n")
    for key, option in (("checkpoint", checkpoint_of(teacher)), ("scores", scores_of(teacher))):
        words = f"common.teacher.{key}: .*: it was trained on other classes: class 0 is 'dark' there, 'night'"
        with pytest.raises(ConfigError, match=words):
            run(config, SHORT, option)
    (tmp_path / "lists" / "classInd.txt").write_text("0 Dark\n1 _bright_\n")  # as folders may write them
    assert run(config, SHORT, scores_of(teacher)) == 0


def test_a_refused_teacher_leaves_the_earlier_run_where_it_is(teacher: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    assert run(config, SHORT) == 0
    before = weights(config)
    own = f"common.teacher.checkpoint={config.parent / checkpoint.BEST}"
    (tmp_path / "lists" / "classInd.txt").write_text("0 night\n1 day\n")
    for option, words in ((checkpoint_of(teacher), "other classes"), (own, "is what this run writes itself; copy it")):
        with pytest.raises(ConfigError, match=words):
            run(config, SHORT, "--fresh", option)
    with pytest.raises(ConfigError, match="is what this run writes itself; copy it"):
        run(config, SHORT, "--dry-run", own)
    assert same_weights(weights(config), before) and not list(config.parent.glob("previous-*"))


def test_a_teacher_is_compared_by_the_clips_that_it_was_trained_on_and_noted_once(tmp_path: Path) -> None:
    tested = {"num_frames": 4, "input_size": 48}
    taught = make_experiment(tmp_path / "teacher", test=tested, lr_scheduler={"base_lr": 0.01, "max_iter": 1})
    assert run(taught) == 0
    config = make_experiment(tmp_path / "new")

    def notes(*arguments: str) -> list[str]:
        assert run(config, checkpoint_of(taught), *arguments) == 0
        found = checkpoint.load(config.parent / checkpoint.NEWEST)["notes"]
        return [text.partition(": ")[2] for text in found if text.startswith("teacher ")]

    assert notes(SHORT) == []
    larger, told = "common.augmentation.input_size=48", ["size is [32, 32] in the file and [48, 48] here"]
    assert notes(SHORT, "--fresh", larger) == told
    assert notes(larger, "common.lr_scheduler.max_iter=6") == told


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("checkpoint=exps/none.pth.tar", r"checkpoint: .*none\.pth\.tar: no such checkpoint"),
        ("scores=exps/none", r"scores: .*exps/none: "),
        ("checkpoint=kinetics400/tsm_r50_8f_mit", r"checkpoint: .*published weights and has no config; write an"),
    ],
)
def test_an_error_names_the_key_and_nothing_is_downloaded(tmp_path: Path, option: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"\(command line\): common\.teacher\.{words}"):
        run(make_experiment(tmp_path), "--dry-run", f"common.teacher.{option}")


def test_a_file_of_another_project_is_told_how_to_become_a_teacher(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18().state_dict(), path)
    with pytest.raises(ConfigError, match=r"has no config; write an experiment of it with python -m tools\.convert"):
        run(make_experiment(tmp_path / "new"), "--dry-run", f"common.teacher.checkpoint={path}")

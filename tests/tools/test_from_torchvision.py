"""The commands of torchvision's READMEs, as they are printed there, become experiments here."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path

import pytest
import torch

from networks.clip.torchvision_builders import BUILDERS
from tests.helpers.make_video import make_video
from tests.helpers.requirements import ROOT
from tools import from_torchvision
from tools.importing import torchvision_config as made
from tools.importing.from_torchvision import write_or_wait
from tools.importing.torchvision_flags import REFERENCE, S3D, parse
from utils.config.file import load_config
from utils.errors import CheckpointError, ConfigError, ListError, UserError
from utils.processes.launch import Rank

EIGHT_GPUS = '--data-path=/data/kinectics400 --kinetics-version="400" --lr 0.08 --cache-dataset --sync-bn --amp'
ONE_GPU = '--data-path=/data/kinectics400 --kinetics-version="400" --batch-size=8 --cache-dataset'
LONG = """--data-path=/data/kinectics400 --clip_len 16 "\\ " --frame-rate 15 --clips_per_video 5 --batch-size 24
    --epochs 45 --lr 0.64 --lr-warmup-epochs 10 --lr-milestones 20, 30, 40 --lr-gamma 0.1 --train-resize-size 128 171
    --train-crop-size 112 112 --val-resize-size 128 171 --val-crop-size 112 112""".replace("\\ ", " ")
S3D_TRAIN = """--data-path=/data/kinectics400 --model s3d --batch-size=12 --lr 0.2 --clip-len 64 --clips-per-video 5
    --sync-bn --train-resize-size 256 256 --train-crop-size 224 224 --val-resize-size 256 256 --val-crop-size 224 224"""
SMALL = """--model mc3_18 --clip-len 4 --clips_per_video 2 --batch-size 2 --workers 0 --train-resize-size 32 40
    --train-crop-size 28 28 --val-resize-size 32 40 --val-crop-size 28 28 --device cpu --print-freq 1"""


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for split, count in (("train", 2), ("val", 1)):
        for name in ("air_drumming", "zumba"):
            for number in range(count):
                make_video(tmp_path / f"data/{split}/{name}/{number}.{'avi' if number else 'mp4'}", "mpeg4", frames=20)
    return tmp_path / "data"


def plan(command: str, videos: Path) -> made.Plan:
    args, _ = parse(shlex.split(command.replace("/data/kinectics400", str(videos))))
    return made.plan(args, Path("/exp"))


def run(folder: Path, videos: Path, *more: str) -> int:
    arguments = ["--data-path", str(videos), "--output-dir", str(folder), *shlex.split(SMALL), *more]
    return from_torchvision.main(arguments)


def test_both_spellings_of_a_flag_and_of_milestones_are_read() -> None:
    for text in ("20, 30, 40", "20 30 40", "20,30,40"):
        args, rest = parse(shlex.split(f"--data-path x --clip_len=8 --lr_milestones {text} common.seed=3"))
        assert (args.clip_len, args.lr_milestones, rest) == (8, [20, 30, 40], ["common.seed=3"])
    args, _ = parse(["--data-path", "a_b--c", "--clips-per-video", "3"])
    assert args.data_path == "a_b--c" and args.clips_per_video == 3


def test_flags_of_older_scripts_are_read(videos: Path) -> None:
    (videos / "train").rename(videos / "train_avi-480p")
    ours = plan("--data-path=/data/kinectics400 --train-dir train_avi-480p --apex --device cuda:0", videos).raw[
        "common"
    ]
    assert ours["train_source"] == str(videos / "train_avi-480p") and ours["val_source"] == str(videos / "val")
    assert (ours["amp"], ours["device"]) == ("fp16", "cuda")
    with pytest.raises(UserError, match=r"--device cuda:1: choose the GPU with CUDA_VISIBLE_DEVICES"):
        parse(["--data-path", "x", "--device", "cuda:1"])
    with pytest.raises(UserError, match=r"--device tpu: unknown; give one of auto, cpu, cuda, mps"):
        parse(["--data-path", "x", "--device", "tpu"])
    with pytest.raises(ListError, match=r"must have train/ and val/.*--train-dir and --val-dir name others"):
        plan("--data-path=/data/kinectics400", videos)


def test_mvit_is_made_for_the_crops_of_the_command(videos: Path) -> None:
    model = plan("--data-path=/data/kinectics400 --model mvit_v2_s", videos).raw["common"]["model"]
    assert model["kwargs"] == {"spatial_size": 112}
    with pytest.raises(UserError, match=r"--val-crop-size 128 128: mvit_v2_s takes clips of one size, here 112"):
        plan("--data-path=/data/kinectics400 --model mvit_v2_s --val-crop-size 128 128", videos)


def test_the_long_command_of_the_readme_is_the_recipe_of_this_project(videos: Path) -> None:
    ours = plan(LONG, videos).raw["common"]
    recipe = load_config(ROOT / "exps/kinetics400/r2plus1d_18_torchvision/config.yaml").common
    schedule = ours["lr_scheduler"]
    assert (schedule["base_lr"], schedule["warmup_lr"]) == (recipe.lr_scheduler.base_lr, recipe.lr_scheduler.warmup_lr)
    # the recipe sees a frame folder once an epoch, the script a video five times
    assert [5 * epoch for epoch in schedule["lr_epochs"]] == recipe.lr_scheduler.lr_epochs
    assert 5 * schedule["epochs"] == recipe.lr_scheduler.epochs
    assert 5 * schedule["warmup_epochs"] == recipe.lr_scheduler.warmup_epochs
    assert (ours["batch_size"], ours["workers"]) == (recipe.batch_size, recipe.workers)
    assert (ours["momentum"], ours["weight_decay"]) == (recipe.momentum, recipe.weight_decay)
    assert ours["model"]["backbone"] == recipe.model.backbone and "reference_batch" not in ours
    assert ours["data"]["store"] == {"type": "video", "fps": 15.0, "clips_per_video": 5}


def test_s3d_without_flags_is_its_own_section_of_the_readme(videos: Path) -> None:
    full, bare = plan(S3D_TRAIN, videos), plan("--data-path=/data/kinectics400 --model s3d", videos)
    assert "--clip-len 64" in bare.notes[0] and bare.raw["common"].pop("reference_batch") == 64 * 12
    assert bare.raw == full.raw
    test = plan("--data-path=/data/kinectics400 --model s3d --test-only --resume x", videos).raw["common"]
    assert (test["batch_size"], test["model"]["clip_len"], test["test"]["num_clips"]) == (16, 128, 1)


def test_switches_reach_the_config(videos: Path) -> None:
    common = plan(f"{EIGHT_GPUS} --use-deterministic-algorithms --lr-warmup-method constant", videos).raw["common"]
    assert common["amp"] == "fp16" and common["deterministic"] is True
    assert common["model"]["kwargs"]["bn_group_size"] > 512
    assert common["lr_scheduler"]["warmup"] == "constant" and common["val_epochs"] == 1
    assert "warmup_lr" not in plan(f"{ONE_GPU} --lr-warmup-epochs 0", videos).raw["common"]["lr_scheduler"]


def test_a_rate_that_is_not_given_follows_the_batch_and_the_table_says_what_a_given_one_means(videos: Path) -> None:
    assert plan(ONE_GPU, videos).raw["common"]["reference_batch"] == 64 * 24
    table = made.rate_table(0.64, REFERENCE, 24, 1)
    assert made.unequal(table) and any(line.split()[:4] == ["1", "24", "0.01", "0.64"] for line in table)
    assert "64 x the published  <- this run" in table[2]
    assert not made.unequal(made.rate_table(0.08, REFERENCE, 24, 8))
    assert not made.unequal(made.rate_table(None, REFERENCE, 8, 1))
    assert not made.unequal(made.rate_table(0.2, S3D, 12, 64))


def test_crops_may_have_any_shape(videos: Path) -> None:
    flags = "--data-path=/data/kinectics400 --train-crop-size 112 160 --val-resize-size 128 200 --val-crop-size 112 160"
    common = plan(f"{flags} --train-resize-size 128 200", videos).raw["common"]
    assert common["augmentation"]["input_size"] == common["test"]["input_size"] == [112, 160]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--start-epoch 3", "--start-epoch 3: a checkpoint stores its epoch"),
        ("--dist-url tcp://host:1", "--dist-url tcp://host:1: .* set MASTER_ADDR and MASTER_PORT"),
        ("--world-size 8", "--world-size 8: this run has 1 process.* torchrun --nproc_per_node=8"),
        ("--model mvit_v2_s --train-crop-size 112 96", "mvit_v2_s takes square clips; give --train-crop-size 112 112"),
        ("--lr-milestones 20 x", "--lr-milestones 20 x: give epochs, 20 30 40"),
        ("--lr-milestones 30 20", "in ascending order"),
        ("--kinetics-version 500", "invalid choice: '500'"),
        ("--model r2plus1d", r"'r2plus1d' is unknown; did you mean `r2plus1d_18`"),
        ("--clip-lne 3", "unrecognized arguments: --clip-lne 3"),
        ("--test-only", "--test-only: say what to test, --weights KINETICS400_V1 or --resume FILE"),
        ("--weights IMAGENET1K_V1", "r2plus1d_18 has R2Plus1D_18_Weights.KINETICS400_V1, R2Plus1D_18_Weights.DEFAULT"),
        ("--weights R3D_18_Weights.KINETICS400_V1", "r2plus1d_18 has R2Plus1D_18_Weights.KINETICS400_V1"),
        ("--weights nowhere/x.pth", "--weights nowhere/x.pth: no such file"),
    ],
)
def test_what_cannot_be_honoured_is_named_with_what_can(videos: Path, tmp_path: Path, flags: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_torchvision.main(["--data-path", str(videos), "--output-dir", str(tmp_path / "exp"), *flags.split()])
    assert not (tmp_path / "exp").exists()


def test_absent_weights_are_named_with_where_they_were_published(tmp_path: Path) -> None:
    for name in ("KINETICS400_V1", "DEFAULT", "R2Plus1D_18_Weights.KINETICS400_V1"):
        with pytest.raises(
            CheckpointError, match=r"^https://.*/r2plus1d_18-91a641e6\.pth: cannot be reached .* put the file here as"
        ):
            made.find_weights("r2plus1d_18", name, tmp_path)
    (tmp_path / "r2plus1d_18-91a641e6.pth").write_bytes(b"")
    assert made.find_weights("r2plus1d_18", "KINETICS400_V1", tmp_path)[1].meta["num_params"] == 31505325


def test_labels_are_kinetics_own_and_the_same_in_both_splits(videos: Path, tmp_path: Path) -> None:
    names, notes = made.class_names(videos, "400", published=False, test=False)
    assert len(names) == 400 and names.index("air_drumming") == 1 and not notes
    (videos / "train/massaging_persons_head").mkdir()
    assert made.class_names(videos, "400", published=False, test=False)[0].index("massaging_persons_head") == 196
    # torchvision would number the folders of each split by itself
    (videos / "train/my_class").mkdir()
    names, notes = made.class_names(videos, "400", published=False, test=False)
    assert names == ["air_drumming", "massaging_persons_head", "my_class", "zumba"] and "not Kinetics-400's" in notes[0]
    (videos / "val/another").mkdir()
    with pytest.raises(ListError, match=r"val/another: a class that train/ does not have"):
        made.class_names(videos, "400", published=False, test=False)
    with pytest.raises(ListError, match="not a class of Kinetics-400, which these weights score"):
        made.class_names(videos, "400", published=True, test=True)
    with pytest.raises(ListError, match=r"train: no class folders here; --data-path must have train/ and val/"):
        made.class_names(tmp_path, "600", published=False, test=False)


@pytest.mark.whole
def test_a_command_trains_goes_on_and_tests(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, short = tmp_path / "exp", ["--kinetics-version", "600", "--epochs", "1", "--lr-warmup-epochs", "0"]
    assert run(folder, videos, *short) == 0
    out = capsys.readouterr().out
    assert "train: 8 clips, encoded videos, 4 scanned" in out and "<- this run" in out
    assert "Clip Acc@1" in (folder / "log.txt").read_text()
    assert "step 3 validation: Prec@1" in out, "an epoch of 8 clips in steps of 2"
    assert {"config.yaml", "train.sh", "eval.sh", "classInd.txt", "ckpt_best.pth.tar"} <= {
        path.name for path in folder.iterdir()
    }
    assert load_config(folder / "config.yaml").common.model.num_class == 2
    assert run(folder, videos, *short) == 0
    assert "nothing left to do: 4 of 4 steps are done" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"holds another experiment \(common.batch_size: 2 -> 3\); name a new"):
        run(folder, videos, *short, "--batch-size", "3")
    best = str(folder / "ckpt_best.pth.tar")
    assert run(tmp_path / "test", videos, "--kinetics-version", "600", "--test-only", "--resume", best) == 0
    assert "validation: Prec@1" in capsys.readouterr().out
    assert run(tmp_path / "on", videos, *short, "--resume", best) == 0
    assert "nothing left to do: 4 of 4 steps are done" in capsys.readouterr().out


@pytest.mark.whole
def test_weights_of_torchvision_are_tested_with_their_own_transforms(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = BUILDERS["mc3_18"](num_class=400)
    with torch.no_grad():
        net.fc.bias[1] += 100  # says air drumming
    torch.save(net.state_dict(), tmp_path / "mc3_18-a90a0ba3.pth")
    find = made.find_weights
    monkeypatch.setattr(made, "find_weights", lambda model, name: find(model, name, tmp_path))
    assert run(tmp_path / "exp", videos, "--test-only", "--weights", "KINETICS400_V1") == 0
    out = capsys.readouterr().out
    assert "Prec@1 50.000" in out and "Clip Acc@1 50.000" in out and "4 x 112 x 112" in out
    common = load_config(tmp_path / "exp/config.yaml").common
    assert (common.augmentation.preset, common.augmentation.test_resize) == ("torchvision", [128, 171])
    lines = (tmp_path / "exp/reference_result.txt").read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["1", "399"]
    # a checkpoint of its script: weights to test or to start from, no training to go on with
    torch.save({"model": net.state_dict(), "lr_scheduler": {}, "epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(CheckpointError, match="cannot continue here; start from its weights with --weights"):
        run(tmp_path / "other", videos, "--resume", str(tmp_path / "checkpoint.pth"))


@pytest.mark.whole
def test_other_ranks_wait_for_the_folder_of_the_first(videos: Path, tmp_path: Path) -> None:
    raw = plan(ONE_GPU, videos).raw
    found: list[Path] = []

    def rank(number: int) -> None:
        process = Rank(number, 2, number, "torchrun", "", 0, torch.device("cpu"), "gloo", "")
        found.append(write_or_wait(tmp_path / "exp", raw, ["a", "b"], "# one\n", process).path)

    others = threading.Thread(target=rank, args=(1,))
    others.start()
    others.join(0.3)
    assert others.is_alive() and not (tmp_path / "exp").exists()
    rank(0)
    others.join(10)
    assert found == [tmp_path / "exp/config.yaml"] * 2


def test_a_wrong_override_is_told_before_anything_is_written(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"common.bach_size: unknown key; did you mean `batch_size`"):
        run(tmp_path / "exp", videos, "common.bach_size=3")
    assert not (tmp_path / "exp").exists()

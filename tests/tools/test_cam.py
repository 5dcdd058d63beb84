from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from datasets.videos.video import Video
from methods.base import Method, fold_frames, mean_over_frames
from methods.build import build_method
from tests.helpers.experiment import CLASSES as BRIGHTNESS
from tests.helpers.experiment import make_experiment, run
from tests.helpers.make_video import make_video
from tests.helpers.trained import CLASSES, SLOWFAST, TSN, UNI, write_checkpoint
from tools import cam
from tools.inference import Recognizer, load
from tools.inference.grad_cam import default_layers, explain
from tools.inference.heat_pictures import BAR, GREY, Heat, legend, overlay, strip
from utils.config.schema import Common
from utils.errors import FrameError, UserError

RED, BLUE = 0, 1


class Planted(Method):
    """Class 0 is where red is, class 1 where blue is; one frame or one pixel further does not count."""

    def __init__(self, *, three_d: bool) -> None:
        super().__init__()
        self.three_d, self.name = three_d, "planted"
        conv, kernel = (nn.Conv3d, (1, 1, 1)) if three_d else (nn.Conv2d, (1, 1))
        colors = torch.tensor([[1.0, -1, -1], [-1, -1, 1]])
        self.conv = conv(3, 2, kernel, bias=False)  # type: ignore[arg-type]
        self.conv.weight.data = colors.view(2, 3, *[1] * len(kernel))
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight.data = torch.eye(2)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> logits (B, 2)."""
        if self.three_d:
            return self.head(self.relu(self.conv(clips)).mean((2, 3, 4)))
        frames = self.relu(self.conv(fold_frames(clips))).mean((2, 3))
        return mean_over_frames(self.head(frames), clips.shape[2])


class Plain(Recognizer):
    """Without normalisation, so that colours are what they are."""

    def normalise(self, views: np.ndarray) -> Tensor:
        return torch.from_numpy(views).permute(0, 4, 1, 2, 3).float() / 255


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tsm"), UNI, class_names=CLASSES)


@pytest.fixture(scope="module")
def opened(ckpt: Path) -> Recognizer:
    return load(ckpt, device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "v.mp4", frames=30, fps=10)


def planted(opened: Recognizer, *, three_d: bool) -> Recognizer:
    fields = {field.name: getattr(opened, field.name) for field in dataclasses.fields(opened) if field.init}
    return Plain(**fields | {"method": Planted(three_d=three_d).eval().requires_grad_(False)})


def untrained(opened: Recognizer, model: dict, size: int = 64) -> Recognizer:
    """Only what the rule for the default layer needs; no weights."""
    schedule = {"base_lr": 0.1, "max_iter": 1}
    common = Common.model_validate(
        {"model": {"num_class": 3, **model}, "augmentation": {"input_size": size}, "lr_scheduler": schedule}
    )
    with torch.device("meta"):
        method = build_method(common.model)
    return dataclasses.replace(opened, method=method, common=common).with_test(num_clips=None, num_crops=1)


@pytest.mark.whole
@pytest.mark.parametrize("three_d", [False, True])
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_map_lights_where_the_class_is_and_nowhere_else(
    opened: Recognizer, three_d: bool, corner: tuple[int, int]
) -> None:
    clip = np.zeros((4, 32, 32, 3), np.uint8)
    place = tuple(slice(24 * side, 24 * side + 8) for side in corner)
    elsewhere = tuple(slice(24 * (1 - side), 24 * (1 - side) + 8) for side in corner)
    clip[1:3, place[0], place[1], 0] = 255
    clip[1:3, elsewhere[0], elsewhere[1], 2] = 255
    for label, spot in ((RED, place), (BLUE, elsewhere)):
        (found,) = explain(planted(opened, three_d=three_d), clip, ["conv"], label).maps.values()
        expected = np.zeros((4, 32, 32), np.float32)
        expected[1:3, spot[0], spot[1]] = 1
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("moment", range(4))
def test_the_map_of_a_3d_network_lights_at_the_right_frame(opened: Recognizer, moment: int) -> None:
    clip = np.zeros((4, 16, 16, 3), np.uint8)
    clip[moment, ..., 2] = 255
    seen = explain(planted(opened, three_d=True), clip, ["conv"])
    assert seen.label == BLUE
    assert seen.maps["conv"].mean((1, 2)).tolist() == [float(frame == moment) for frame in range(4)]


def test_what_speaks_for_no_class_stays_dark(opened: Recognizer) -> None:
    clip = np.zeros((4, 16, 16, 3), np.uint8)
    clip[..., 2] = 255
    assert not explain(planted(opened, three_d=True), clip, ["conv"], RED).maps["conv"].any()


@pytest.mark.whole
def test_maps_of_the_slow_pathway_lie_at_the_frames_that_it_picks(tmp_path: Path) -> None:
    recognizer = load(write_checkpoint(tmp_path, SLOWFAST), device="cpu")
    network = recognizer.method.network  # type: ignore[attr-defined]
    network.slow.layer4.register_forward_hook(
        lambda module, given, output: output * torch.tensor([0.0, 1]).view(2, 1, 1)
    )
    seen = explain(
        recognizer, np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8), ["network.slow.layer4"]
    )
    brightness = seen.maps["network.slow.layer4"].mean((1, 2))  # 2 of 8 frames: the first and, here lit, the last
    np.testing.assert_allclose(brightness, brightness[-1] * np.arange(8) / 7, atol=1e-6)


@pytest.mark.alike
@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (TSN, ["backbone.features"]),
        (UNI, ["backbone.layer4"]),
        ({"type": "tsn", "backbone": "densenet121", "num_segments": 2}, ["backbone.features"]),
        ({"type": "tsm", "backbone": "convnext_tiny", "num_segments": 2}, ["backbone.features"]),
        ({"type": "clip3d", "backbone": "r2plus1d_18", "clip_len": 4}, ["network.layer4"]),
        ({"type": "clip3d", "backbone": "slow_r50", "clip_len": 4}, ["network.layer4"]),
        ({"type": "clip3d", "backbone": "s3d", "clip_len": 16}, ["network.features"]),
        (SLOWFAST, ["network.slow.layer4", "network.fast.layer4"]),
    ],
)
def test_the_default_is_the_last_convolutional_stage(model: dict, layers: list[str], opened: Recognizer) -> None:
    assert default_layers(untrained(opened, model, size=224 if model["backbone"] == "s3d" else 64)) == layers


def test_a_network_of_attention_asks_for_a_layer(opened: Recognizer) -> None:
    recognizer = untrained(opened, {"type": "clip3d", "backbone": "swin3d_t", "clip_len": 4})
    with pytest.raises(UserError, match="name a layer with --layer"):
        default_layers(recognizer)


@pytest.mark.whole
def test_the_same_command_writes_the_same_bytes(ckpt: Path, video: Path, tmp_path: Path) -> None:
    outs = [[tmp_path / f"{turn}.{kind}" for kind in ("png", "gif", "mp4")] for turn in "ab"]
    for targets in outs:
        assert cam.main([str(ckpt), str(video), *map(str, targets), "--device", "cpu"]) == 0
    for one, other in zip(*outs, strict=True):
        assert one.read_bytes() == other.read_bytes()
    with Image.open(outs[0][1]) as gif:
        assert gif.n_frames == UNI["num_segments"]  # type: ignore[attr-defined]
    shown = [picture for _, picture in Video(outs[0][2]).frames()]
    assert [picture.shape for picture in shown] == [(128, 256, 3)] * 4  # as it was, and under the map


def test_a_strip_ends_with_what_its_colours_mean() -> None:
    maps = np.linspace(0, 1, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
    seen = strip([Heat("0.0 - 0.1 s", np.full((2, 8, 8, 3), 90.0), np.array([0.0, 0.1]), {"layer": maps})])
    line, picture = np.asarray(legend()), np.asarray(seen)
    assert (picture[-len(line) :, : line.shape[1]] == line).all()
    row = line[len(line) // 2].astype(int)
    first, last = np.flatnonzero((row.max(1) - row.min(1)) > 60)[[0, -1]]  # letters are grey
    most = overlay(np.full((1, 1, 3), GREY, np.uint8), np.ones((1, 1), np.float32))
    assert last - first > BAR / 3 and np.abs(row[last] - most[0, 0]).max() < 8


@pytest.mark.whole
def test_class_and_windows_are_those_asked_for(
    ckpt: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ("跑步", "1"):
        cam.main([str(ckpt), str(video), str(tmp_path / "a.png"), "--class", given])
        assert "  跑步\n" in capsys.readouterr().out
    windows = ("--start", "1", "--end", "3", "--window", "1", "--step", "0.5", "--layer", "backbone.layer3")
    cam.main([str(ckpt), str(video), str(tmp_path / "a.mp4"), *windows])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "maps of backbone.layer3"
    assert [line.split("  ")[0] for line in lines] == ["1.1 - 1.8 s", "1.6 - 2.3 s", "2.1 - 2.8 s"]
    assert len(list(Video(tmp_path / "a.mp4").frames())) == 3 * 4


@pytest.mark.whole
def test_a_record_of_the_list_is_seen_as_its_evaluation_sees_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_experiment(tmp_path, val=3)
    assert run(config) == 0
    ckpt = config.parent / "ckpt.pth.tar"
    capsys.readouterr()
    cam.main([str(ckpt), "--record", "bright/val 1", str(tmp_path / "record.png")])
    record = capsys.readouterr().out.splitlines()[1]
    assert record.endswith("bright/val 1  truth bright") and any(name in record for name in BRIGHTNESS)
    cam.main([str(ckpt), str(tmp_path / "frames/bright/val 1"), str(tmp_path / "folder.png")])
    folder = capsys.readouterr().out.splitlines()[1]
    assert record.startswith(folder)
    with pytest.raises(UserError, match="--record none: not in the val list"):
        cam.main([str(ckpt), "--record", "none", str(tmp_path / "none.png")])


@pytest.mark.whole
def test_mistakes_are_one_line_and_write_nothing(ckpt: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    for arguments, kind, words in (
        (("--layer", "backbone.layer5"), UserError, r"has no such layer; similar names are .*backbone\.layer4"),
        (("--layer", "head"), UserError, "not a map"),
        (("--layer", "backbone.layer1.0.relu"), UserError, "runs 2 times"),
        (("--class", "jump, then fell"), UserError, "did you mean `jump, then fall`"),
        (("--class", "9"), UserError, "indices are 0 to 3"),
        (("--start", "7"), UserError, "has only 3.0 s"),
        (("--start", "2", "--end", "1"), UserError, "must be after"),
        (("--window", "0.1", "--step", "0.1"), UserError, "more than 24 clips"),
        ((str(tmp_path / "a.jpg"),), UserError, r"written as \.png"),
        ((str(tmp_path / "none" / "a.png"),), UserError, "there is no folder"),
    ):
        with pytest.raises(kind, match=words):
            cam.main([str(ckpt), str(video), str(out), *arguments])
    with pytest.raises(FrameError, match="no such video"):
        cam.main([str(ckpt), str(tmp_path / "none.mp4"), str(out)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole
def test_the_score_of_one_class_among_several_is_a_sigmoid(tmp_path: Path) -> None:
    recognizer = load(write_checkpoint(tmp_path, UNI, multi_label=True), device="cpu")
    clip = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    seen = explain(recognizer, clip, ["backbone.layer4"], label=1)
    assert seen.score == pytest.approx(float(recognizer.logits(clip[None], batch_size=1)[0, 1].sigmoid()), rel=1e-4)

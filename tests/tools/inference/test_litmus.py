"""The test for time: clips that are changed as their names say, and networks whose needs are known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from methods.base import Method
from tests.helpers.run_tool import run_tool
from tests.helpers.trained import TSN, write_checkpoint
from tools.inference import conditions, load
from tools.inference import litmus as command
from utils.run.checkpoint import read
from utils.torch_file import SUM

FRAMES, SIDE, CLASSES, COUNT = 6, 32, 3, 16


def numbered(length: int = FRAMES) -> Tensor:
    """Two clips whose frames show their number."""
    return torch.arange(length, dtype=torch.uint8).view(1, 1, 1, -1, 1, 1).expand(2, 1, 3, length, 4, 4)


def shown(clips: Tensor) -> list[list[int]]:
    return clips[:, 0, 0, :, 0, 0].tolist()


def test_conditions_keep_the_frames_that_they_should() -> None:
    clips = numbered(8)
    found = {name: shown(change(clips, [3, 4])) for name, change in conditions.CONDITIONS.items()}
    assert found["reversed"] == [[7, 6, 5, 4, 3, 2, 1, 0]] * 2 and found["frozen"] == [[4] * 8] * 2
    assert (
        found["half speed"] == [[2, 2, 3, 3, 4, 4, 5, 5]] * 2
        and found["double speed"] == [[0, 2, 4, 6, 1, 3, 5, 7]] * 2
    )
    for one in found["shuffled"]:
        assert sorted(one) == [*range(8)] and one not in ([*range(8)], [*range(8)][::-1])
    assert found["shuffled"] == shown(conditions.shuffled(clips, [3, 4])) != shown(conditions.shuffled(clips, [5, 6]))
    assert shown(conditions.shuffled(numbered(2), [0, 1])) == [[1, 0]] * 2
    assert conditions.single_frames(4) == [0, 1, 2, 3] and conditions.single_frames(32) == [
        2,
        6,
        10,
        14,
        18,
        22,
        26,
        30,
    ]


def test_what_moves_is_cut_out_and_put_in_front_of_another_background() -> None:
    clips = torch.full((1, 1, 3, 5, 20, 20), 100, dtype=torch.uint8)
    for frame in range(5):
        clips[0, 0, :, frame, 4 * frame : 4 * frame + 2, 4 * frame : 4 * frame + 2] = 250
    behind = conditions.background(clips)
    assert behind.eq(100).all()
    mask = conditions.moving(clips, behind)
    assert mask[0, 0, 0, 2, 8:10, 8:10].all() and not mask[0, 0, 0, 2, 15:, 15:].any()
    assert conditions.separable(mask).all() and not conditions.separable(torch.ones_like(mask)).any()
    swapped = conditions.in_front_of(clips, mask, torch.zeros_like(behind))
    assert swapped[0, 0, 0, 2, 9, 9] == 250 and swapped[0, 0, 0, 2, 19, 19] == 0


class Planted(Method):
    """A network of a rule that maps frames (B, T), each its mean brightness, and pixels to logits."""

    averages_frames = False

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.rule = "planted", rule

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to logits (B, CLASSES)."""
        return self.rule(clips)


def _colour(clips: Tensor) -> Tensor:
    """Which of the three colours a corner has."""
    return clips[..., :4, :4].mean((2, 3, 4))


def _order(clips: Tensor) -> Tensor:
    """Brighter, darker, or neither."""
    change = clips[:, :, -1].mean((1, 2, 3)) - clips[:, :, 0].mean((1, 2, 3))
    return torch.stack([change, -change, torch.full_like(change, 0.3)], 1)


def _motion(clips: Tensor) -> Tensor:
    """How much the brightness of frames varies, whatever their order: a lot, hardly, or in between."""
    spread = clips.mean((1, 3, 4)).std(1)
    return torch.stack([-(spread - one).abs() for one in (0.0, 0.6, 1.4)], 1)


def _frames(label: int, rng: np.random.Generator, kind: str) -> np.ndarray:
    frames = np.full((FRAMES, SIDE, SIDE, 3), 90, np.uint8)
    if kind == "colour":  # a planted cue: the corner's colour, behind a square that moves alike in all classes
        frames[:, :8, :8, label] = 250
        for number in range(FRAMES):
            frames[number, 12:22, 4 * number : 4 * number + 5] = 250
    elif kind == "order":
        ramp = np.linspace(-80, 80, FRAMES) * (1, -1, 0)[label]
        frames = np.clip(frames + ramp[:, None, None, None], 0, 255).astype(np.uint8)
    else:
        step = (0, 35, 80)[label]
        frames += rng.permutation(np.arange(FRAMES) % 2).astype(np.uint8)[:, None, None, None] * np.uint8(2 * step)
    return frames


def make(root: Path, kind: str) -> Path:
    rng, lines = np.random.default_rng(0), []
    for index in range(COUNT * CLASSES):
        path, label = f"v_{index}", index % CLASSES
        (root / path).mkdir(parents=True)
        for number, frame in enumerate(_frames(label, rng, kind), 1):
            cv2.imwrite(str(root / path / f"img_{number:05d}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])
        lines.append(f"{path} {FRAMES} {label}\n")
    (root / "lists").mkdir()
    (root / "lists" / "val.txt").write_text("".join(lines))
    return root / "lists" / "val.txt"


def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, method: Method) -> dict:
    """What the command says about a planted network and videos that are made for it."""
    names = ["one", "two", "three"]
    model = TSN | {"num_segments": FRAMES}
    more = {"augmentation": {"input_size": SIDE, "test_resize": SIDE}}
    path = write_checkpoint(tmp_path / "run", model, class_names=names, num_class=CLASSES, **more)
    recognizer = dataclasses.replace(load(path, device="cpu"), method=method.eval())
    monkeypatch.setattr(command, "load_from_arguments", lambda args: recognizer)
    found = tmp_path / "litmus.json"
    out = run_tool("litmus", path, make(tmp_path / "data", kind), "--json", found).stdout
    return json.loads(found.read_text()) | {"text": out}


@pytest.mark.whole
@pytest.mark.parametrize(
    ("kind", "rule", "verdict"),
    [
        ("order", _order, ["needs order", "needs order", "needs neither"]),
        ("motion", _motion, ["needs neither", "needs motion", "needs motion"]),
        ("colour", _colour, ["needs neither"] * 3),
    ],
)
def test_a_network_is_found_to_need_what_its_rule_reads(
    kind: str, rule: Callable, verdict: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tried(tmp_path, monkeypatch, kind, Planted(rule))
    assert [one["right"]["value"] for one in found["classes"]] == [100.0] * 3
    assert [one["verdict"] for one in found["classes"]] == verdict, found["text"]
    cue = "recognised by what stands still alone: one, two, three"
    follows = "taken for the class whose background they were put in front of: one, two, three"
    assert (cue in found["text"]) == (kind == "colour") == (follows in found["text"])
    assert ("no class needs the order" in found["text"]) == (kind != "order")
    if kind == "colour":
        assert found["right"]["background alone"] == 100 and found["right"]["other background"] == 0


@pytest.mark.whole
def test_no_class_of_a_tsn_needs_order_whatever_it_has_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_checkpoint(tmp_path / "tsn", TSN | {"num_segments": FRAMES}, num_class=CLASSES)
    found = tried(tmp_path, monkeypatch, "order", load(path, device="cpu").method)
    assert found["right"]["shuffled"] == found["right"]["reversed"] == found["right"]["single frames"]
    assert not [one for one in found["classes"] if one["verdict"] == "needs order"]
    assert "no class needs the order" not in found["text"]  # nothing is known of the class that is not recognised


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    said = run_tool(
        "litmus", tmp_path / "none.pth", tmp_path / "v.txt", "--json", tmp_path / "no/l.json", code=2
    ).stderr
    assert said.endswith("l.json: its folder does not exist; create it first\n") and said.count("\n") == 1


@pytest.mark.whole
def test_the_file_says_which_checkpoint_it_is_of_and_how_often_a_video_was_evaluated(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "run", TSN | {"type": "tsm", "num_segments": 8}, num_class=CLASSES)
    found = tmp_path / "litmus.json"
    text = run_tool("litmus", path, make(tmp_path / "data", "order"), "--json", found, "--per-class", "1").stdout
    about, saved = json.loads(found.read_text()), read(path)
    assert (about["step"], about["sum"]) == (saved["step"], saved[SUM])
    assert about["evaluations"] == 16 and "each evaluated 16 times" in text
    assert "no class needs the order" not in text  # nothing can be said of one video


@pytest.mark.whole
def test_what_cannot_be_tested_is_refused(tmp_path: Path) -> None:
    data = make(tmp_path / "data", "order")
    for model, message in (
        (TSN | {"num_segments": 1}, "sees one frame, so it cannot see time"),
        (TSN | {"modality": "flow"}, "sees flow, which is motion already"),
    ):
        path = write_checkpoint(tmp_path / message[:9], model, num_class=CLASSES)
        assert message in run_tool("litmus", path, data, code=2).stderr
    path = write_checkpoint(tmp_path / "named", TSN, num_class=CLASSES, class_names=["a", "b", "c"])
    (data.parent / "classInd.txt").write_text("0 a\n1 c\n2 b\n")
    said = run_tool("litmus", path, data, code=2).stderr
    assert "does not fit: it was trained on the same classes in another order" in said

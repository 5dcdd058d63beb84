"""Tests that an exported file says enough about its input for a reader that has nothing of this project."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.protocol import clip_protocol
from tests.helpers.make_video import make_video
from tests.helpers.requirements import ROOT
from tests.helpers.trained import CLASSES, CLIP, SLOWFAST, TSN, UNI, write_checkpoint
from tests.helpers.transformers import VIDEO
from tests.tools.exporting.test_export import with_onnx
from tools import export
from tools.exporting.reading import preprocessing
from tools.inference import load
from utils.clip_spec import ClipSpec
from utils.config.schema import Common
from utils.transforms.resize import INTERPOLATIONS


@pytest.mark.long
@pytest.mark.whole
@with_onnx
def test_the_example_of_the_page_gives_the_scores_of_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ckpt = write_checkpoint(tmp_path, TSN, class_names=CLASSES, augmentation={"input_size": 32, "test_resize": 36})
    monkeypatch.chdir(tmp_path)
    make_video(Path("video.mp4"), frames=50, size=(52, 36))  # as large as `test_resize`: resizing would round
    assert export.main([str(ckpt), "model.onnx"]) == 0
    page = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    seen: dict[str, Any] = {}
    exec(compile(example, "docs/export.md", "exec"), seen)
    wanted = load(ckpt, device="cpu").predict("video.mp4")
    np.testing.assert_allclose(seen["scores"], wanted.scores, atol=1e-5)
    assert seen["names"][seen["scores"].argmax()] == wanted.top[0].name


@pytest.mark.whole
@pytest.mark.parametrize("model", [CLIP, SLOWFAST, UNI], ids=["clip3d", "slowfast", "tsm"])
def test_examples_are_what_the_protocol_does(model: dict[str, Any], tmp_path: Path) -> None:
    test = {"num_clips": 2, "num_crops": 3}
    recognizer = load(write_checkpoint(tmp_path, model, test=test), device="cpu")
    protocol, told = recognizer.protocol, preprocessing(recognizer.protocol)
    assert json.loads(json.dumps(told)) == told
    frames = told["examples"]["frames"]["100"]
    assert np.shape(frames) == (2, protocol.clip.num_pictures) and 0 <= np.min(frames) <= np.max(frames) < 100
    piece = told["examples"]["pictures"]["1080x1920"]
    picture = np.random.default_rng(0).integers(0, 256, (1, 1080, 1920, protocol.transform.channels), np.uint8)
    resized = INTERPOLATIONS[protocol.transform.interpolation](picture[0], tuple(piece["resize"]))
    cut, _ = protocol.transform.apply(picture)
    height, width = protocol.transform.size
    for crop, place in zip(cut[:, 0], piece["crops"], strict=True):
        top, left = place["top"], place["left"]
        expected = resized[top : top + height, left : left + width]
        np.testing.assert_array_equal(crop, expected[:, ::-1] if place["mirrored"] else expected)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"temporal": {"name": "tdn"}}, "the 5 frames of each place"),
        ({"modality": "flow", "stack": 3}, "x and y of the 3 fields of each place"),
        (
            {"modality": "rgbdiff", "stack": 3},
            "the 3 differences of 4 frames, each less the one before it, of each place",
        ),
    ],
)
def test_pictures_in_the_channels_of_a_place_are_said(more: dict[str, Any], words: str, tmp_path: Path) -> None:
    model = {"type": "tsn", "backbone": "resnet18", "num_segments": 2, **more}
    told = preprocessing(load(write_checkpoint(tmp_path, model), device="cpu").protocol)
    assert (
        f"(channels, frames, height, width), with {words} one behind the other in its channels"
        in told["words"]["steps"][4]
    )


@pytest.mark.whole
@pytest.mark.parametrize(("name", "said"), [("vjepa2", False), ("vjepa2_windows", True)])
def test_the_windows_of_a_clip_are_said(name: str, said: bool, tmp_path: Path) -> None:
    told = preprocessing(load(write_checkpoint(tmp_path, VIDEO[name]), device="cpu").protocol)
    assert ("2 windows of the video one behind the other" in told["words"]["steps"][4]) is said
    assert told.get("segments") == (2 if said else None)


@pytest.mark.parametrize(
    "store, said",
    [
        ({}, r"Choose the frames of each clip; examples.frames has those of videos of 5, "),
        (
            {"fps": 8.0},
            r"Bring the video to 8 frames per second, .* choose the frames of each clip from these; examples",
        ),
        ({"sampler": "random", "clip_seconds": 2}, r"Take spans of 2 s, 1 of them, .* is 3 of its frames, evenly"),
        ({"sampler": "uniform", "fps": 5.0}, r"Take spans of 0.6 s, each where the last one ends; .* every 0.2 s from"),
    ],
)
def test_the_words_say_which_frames_of_an_encoded_video_are_taken(store: dict[str, Any], said: str) -> None:
    schedule = {"base_lr": 0.1, "max_iter": 1}
    raw = {"model": {**TSN, "num_class": 4}, "lr_scheduler": schedule, "data": {"store": {"type": "video", **store}}}
    told = preprocessing(clip_protocol(Common.model_validate(raw), ClipSpec(3, 1, "segments"), train=False))
    assert re.match(said, told["words"]["steps"][0])
    assert ("frames" in told["examples"]) == ("sampler" not in store)

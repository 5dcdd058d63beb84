"""Video transformers and adapted image transformers through the commands that take a trained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.make_video import make_video
from tests.helpers.requirements import needs_package
from tests.helpers.trained import CLASSES, write_checkpoint
from tests.helpers.transformers import ADAPTED, VIDEO
from tools import cam, predict, segment, stream
from tools.inference import load
from tools.inference.rollout import rolls_out
from tools.inference.token_maps import last_tokens
from utils.errors import UserError

pytestmark = [pytest.mark.whole, needs_package("timm")]
ALL = VIDEO | ADAPTED


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "v.mp4", frames=30, fps=10)


@pytest.mark.alike
@pytest.mark.parametrize("name", sorted(ALL))
def test_every_family_predicts_explains_segments_and_says_that_it_cannot_stream(
    name: str, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = str(write_checkpoint(tmp_path, ALL[name], class_names=CLASSES))
    assert predict.main([ckpt, str(video)]) == 0
    assert segment.main([ckpt, str(video), "--window", "1", "--step", "0.5"]) == 0
    with pytest.raises(UserError, match="only `shift: uni`"):
        stream.main([ckpt, str(video)])
    capsys.readouterr()
    pictures = [tmp_path / f"{kind}.png" for kind in ("auto", "cam")]
    assert cam.main([ckpt, str(video), str(pictures[0])]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("maps of " if name in ("hiera", "uniformer") else "attention rollout, ")
    assert cam.main([ckpt, str(video), str(pictures[1]), "--class", "1"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"maps of {last_tokens(load(ckpt, device='cpu').method)}\n") and "  跑步\n" in told
    assert all(picture.is_file() for picture in pictures)


@pytest.mark.alike
@pytest.mark.parametrize("name", sorted(ALL))
def test_tokens_are_averaged_over_the_places_of_each_moment(name: str, video: Path, tmp_path: Path) -> None:
    recognizer = load(write_checkpoint(tmp_path, ALL[name]), device="cpu")
    layer = last_tokens(recognizer.method)
    assert layer is not None
    tokens, moments, clip = (
        recognizer.features(video, layer=layer, pool=pool).features[0] for pool in ("none", "space", "all")
    )
    if name == "uniformer":  # a map (D, T', H', W')
        places = tokens.transpose(1, 2, 3, 0).reshape(tokens.shape[1], -1, tokens.shape[0])
    elif name in ("uniformerv2", "st_adapter", "aim"):
        places = tokens[:, 1:]  # the first of each frame is its class token
    else:
        rows = tokens.reshape(-1, tokens.shape[-1])
        first = int(name in ("timesformer", "vivit"))
        places = rows[first:].reshape(moments.shape[1], -1, tokens.shape[-1])
    np.testing.assert_allclose(moments, places.mean(1).T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(clip, moments.mean(1), rtol=1e-4, atol=1e-5)


def test_channels_that_come_last_are_not_averaged_as_if_they_were_a_picture(video: Path, tmp_path: Path) -> None:
    swin = {"type": "clip3d", "backbone": "swin3d_t", "clip_len": 4}
    for name, model, layer in (
        ("swin", swin, "network.features.3"),
        ("swin", swin, "network.features"),
        ("hiera", VIDEO["hiera"], "network.patch_embed"),
        ("uniformer", VIDEO["uniformer"], "network.patch_embed1.norm"),
    ):
        recognizer = load(write_checkpoint(tmp_path / name, model), device="cpu")
        whole, moments = (recognizer.features(video, layer=layer, pool=pool).features[0] for pool in ("none", "space"))
        np.testing.assert_allclose(moments, whole.mean((1, 2)).T, rtol=1e-4, atol=1e-5)
        assert cam.main([str(recognizer.path), str(video), str(tmp_path / "a.png"), "--layer", layer]) == 0


def test_layers_whose_places_nothing_tells_are_refused(video: Path, tmp_path: Path) -> None:
    hiera = load(write_checkpoint(tmp_path / "hiera", VIDEO["hiera"]), device="cpu")
    for layer in ("network.blocks.0", "network.blocks.0.norm1"):
        with pytest.raises(UserError, match=rf"layer {layer}: answers .*, and nothing tells which .* take --pool none"):
            hiera.features(video, layer=layer)
        assert hiera.features(video, layer=layer, pool="none").features.ndim == 4
    for layer, words in (("blocks.0", "attention over tokens"), ("blocks.0.norm1", "not a map")):
        with pytest.raises(UserError, match=words):
            cam.main([str(hiera.path), str(video), str(tmp_path / "a.png"), "--layer", f"network.{layer}"])


def test_rollout_is_refused_where_it_cannot_answer(video: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "a.png")
    ckpt = {name: str(write_checkpoint(tmp_path / name, VIDEO[name])) for name in ("videomae", "hiera")}
    for name, arguments, words in (
        ("hiera", (), "clip3d_hiera_tiny is no transformer whose tokens stay the same"),
        ("videomae", ("--class", "1"), "same for all classes and layers"),
        ("videomae", ("--layer", "network.blocks.0"), "same for all classes and layers"),
    ):
        with pytest.raises(UserError, match=words):
            cam.main([ckpt[name], str(video), out, "--method", "rollout", *arguments])
    assert not Path(out).exists()


def test_a_probe_is_explained_by_the_tokens_of_its_network(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = write_checkpoint(tmp_path, VIDEO["videomae"] | {"type": "probe", "head": "attentive"})
    recognizer = load(ckpt, device="cpu")
    assert not rolls_out(recognizer.method) and torch.is_tensor(next(recognizer.method.parameters()))
    assert cam.main([str(ckpt), str(video), str(tmp_path / "a.png")]) == 0
    assert "maps of backbone.network.blocks.0\n" in capsys.readouterr().out

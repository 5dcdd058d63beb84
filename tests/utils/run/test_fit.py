"""Networks and clips are tried on the meta device before a run begins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import main
from utils.config.schema import Common
from utils.errors import ConfigError
from utils.run import fit


def common(model: dict[str, Any], size: int | None = None, **keys: Any) -> Common:
    values = {"model": {"num_class": 4, **model}, "lr_scheduler": {"base_lr": 0.1, "max_iter": 10}} | keys
    return Common.model_validate(values | {"augmentation": {"input_size": size}})


def clip3d(backbone: str, frames: int) -> dict[str, Any]:
    return {"type": "clip3d", "backbone": backbone, "clip_len": frames, "frame_stride": 1}


TINY = {"type": "tsn", "backbone": "mobilenetv2", "num_segments": 1, "kwargs": {"scale": 0.25}}


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    ("model", "size", "frames", "reason"),
    [
        ({"type": "tsn", "backbone": "vit_b_16"}, 96, "3 x 96 x 96", "Wrong image height! Expected 224 but got 96"),
        ({"type": "tsn", "backbone": "timm/vit_tiny_patch16_224"}, 100, "3 x 100 x 100", "divisible by patch"),
        (clip3d("mvit_v2_s", 16), 112, "16 x 112 x 112", "for clips of 16 x 224 x 224 .* set .* kwargs.spatial_size"),
        (clip3d("s3d", 16), 64, "16 x 64 x 64", "smaller than kernel size"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_take_the_clips_is_one_line_before_the_run(
    model: dict[str, Any], size: int, frames: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^common.augmentation.input_size: .* train list, {frames} .*: .*{reason}"):
        main.check(common(model, size), trains_in=Path())


VIT = {"embed_dim": 24, "depth": 1, "num_heads": 1}


@pytest.mark.parametrize(
    ("model", "test", "key", "reason"),
    [
        (clip3d("s3d", 4), {}, "model.clip_len", "4 x 224 x 224 .*: .*Output size is too small"),
        ({**clip3d("videomae_s", 5), "kwargs": VIT}, {}, "model.clip_len", "5 frames are no multiple of 2"),
        ({**clip3d("videomae_s", 4), "kwargs": VIT}, {"num_frames": 5}, "test.num_frames", "5 frames are no multiple"),
        ({**clip3d("videomae_s", 4), "kwargs": {**VIT, "patch_size": 10}}, {}, "augmentation.input_size", "of 10"),
        ({**clip3d("vivit_b", 5), "kwargs": VIT}, {}, "model.clip_len", "5 frames are no multiple of 2"),
        ({**clip3d("hiera_tiny", 5)}, {}, "model.clip_len", "5 is odd; a token covers 2 frames"),
        (
            {**clip3d("timesformer_b", 4), "kwargs": {**VIT, "spatial_size": 100}},
            {},
            "model.kwargs.spatial_size",
            "100 pixels are no multiple of 16",
        ),
    ],
)
def test_the_key_of_frames_that_do_not_fit_is_that_of_the_frames(
    model: dict[str, Any], test: dict[str, Any], key: str, reason: str
) -> None:
    for kind in ("clip3d", "probe"):
        if kind == "probe" and "s3d" in model["backbone"]:
            continue
        with pytest.raises(ConfigError, match=rf"^common\.{re.escape(key)}: .*{reason}") as error:
            main.check(common({**model, "type": kind}, 224, test=test), trains_in=Path())
        assert "\n" not in str(error.value)


def test_what_only_the_test_shows_is_refused_as_well() -> None:
    config = common({"type": "tsn", "backbone": "vit_b_16"}, test={"input_size": 256})
    with pytest.raises(ConfigError, match=r"^common.test.input_size: .* val list, 3 x 256 x 256"):
        main.check(config, trains_in=Path())


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("batch", "keys"), [(2, {}), (1, {"frozen_bn": True})])
def test_a_batch_of_one_is_too_small_for_batch_norm_on_a_single_pixel(batch: int, keys: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"^common.batch_size: 1 clip\(s\) are too few .*take at least 2, or set frozen"
    ):
        main.check(common(TINY, 32, batch_size=1), trains_in=Path())
    main.check(common(TINY, 32, batch_size=batch, **keys), trains_in=Path())
    main.check(common(TINY, 32, batch_size=1), trains_in=None)


@pytest.mark.parametrize(
    ("model", "keys", "key"),
    [
        ({**TINY, "num_class": 2**31 - 1}, {}, "common.model"),
        ({**TINY, "num_segments": 2**30}, {}, "common.batch_size"),
        (TINY, {"batch_size": 2**30}, "common.batch_size"),
        (TINY, {"test": {"num_clips": 2**30}}, "common.test.batch_size"),
        ({**TINY, "kwargs": {"scale": 1e8}}, {}, "common.model"),
    ],
)  # fmt: skip
def test_sizes_that_memory_cannot_hold_are_refused_before_they_are_tried(
    model: dict[str, Any], keys: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: .*(GiB, and this machine has|cannot be built)"):
        main.check(common(model, 32, device="cpu", **keys), trains_in=Path())


@pytest.mark.whole
def test_processes_that_share_a_network_out_need_memory_for_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    needed: dict[bool, int] = {}
    monkeypatch.setattr(fit, "expected_world_size", lambda: 4)
    monkeypatch.setattr(fit, "_refuse_beyond_memory", lambda keys, size, *rest: needed.update({keys.fsdp: size}))
    for fsdp in (False, True):
        method = main.check(common(TINY, 32, fsdp=fsdp), trains_in=Path())[0]
    learned = 2 * sum(parameter.nbytes for parameter in method.parameters())  # gradients and SGD's momentum
    assert needed[False] - needed[True] == learned - learned // 4


@pytest.mark.whole
def test_a_network_of_which_memory_is_unknown_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "total_memory", lambda: None)
    main.check(common({**TINY, "num_segments": 2**20}, 32, device="cpu"), trains_in=Path())


@pytest.mark.whole
def test_frozen_entirely_a_network_has_nothing_to_train() -> None:
    with pytest.raises(ConfigError, match=r"^common.freeze: \['backbone', 'head'\] leaves nothing to train"):
        main.check(common(TINY, 32, freeze=["backbone", "head"]), trains_in=Path())
    main.check(common(TINY, 32, freeze=["backbone", "head"]), trains_in=None)

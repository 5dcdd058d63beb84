"""What the device makes of fields of optical flow, and of frames whose differences are seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.utils.transforms.test_augment import SEED_JITTER, batch, make
from utils.errors import ConfigError
from utils.transforms.augment import Augment


def test_fields_of_flow_become_channels_in_tsns_order() -> None:
    fields = batch(t=6)[:, :, :2]  # 3 places of 2 fields
    augment = Augment(mean=(0.5, 0.4), std=(0.2, 0.1), modality="flow", stack=2)
    found = augment.apply(fields)
    assert found.shape == (6, 4, 3, 24, 32) and found.is_contiguous(memory_format=torch.channels_last_3d)
    mean, std = (torch.tensor(values)[:, None, None, None] for values in ((0.5, 0.4), (0.2, 0.1)))
    expected = (fields.flatten(0, 1) / 255 - mean) / std
    for channel, (field, axis) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):  # x and y of the first, of the second
        torch.testing.assert_close(found[:, channel], expected[:, axis, field::2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_differences_are_those_of_tsn_pytorch(dtype: torch.dtype) -> None:
    """Of pixels in 0..1, not normalised: each frame of a stack less the one before it."""
    frames = batch(t=6)  # 2 places of 2 differences
    found = Augment(mean=(0.0,) * 3, std=(1.0,) * 3, modality="rgbdiff", stack=2).apply(frames, None, dtype)
    assert found.shape == (6, 6, 2, 24, 32) and found.dtype == dtype
    pixels = frames.flatten(0, 1).float().unflatten(2, (2, 3)) / 255  # M, C, T, L + 1, H, W
    expected = (pixels[:, :, :, 1:] - pixels[:, :, :, :-1]).permute(0, 3, 1, 2, 4, 5).flatten(1, 2)
    torch.testing.assert_close(found, expected.to(dtype), atol=1e-6, rtol=1e-2 if dtype == torch.bfloat16 else 0)


def test_frames_of_a_network_that_compares_them_itself_become_channels_one_behind_the_other() -> None:
    frames = batch(t=6)  # 2 places of 3 frames
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.3)
    found = Augment(mean=mean, std=std, stack=3).apply(frames)
    assert found.shape == (6, 9, 2, 24, 32) and found.is_contiguous(memory_format=torch.channels_last_3d)
    each = Augment(mean=mean, std=std).apply(frames)
    for place in range(2):
        for number in range(3):
            torch.testing.assert_close(found[:, 3 * number : 3 * number + 3, place], each[:, :, 3 * place + number])


@pytest.mark.parametrize("on_device", [False, True])
def test_what_is_erased_from_flow_does_not_move_and_differs_from_nothing(on_device: bool) -> None:
    for modality, channels, zero in (("flow", 2, 128 / 255), ("rgbdiff", 3, 0.0)):
        augment = Augment(mean=(0.0,) * channels, std=(1.0,) * channels, modality=modality, stack=2)
        if on_device:
            augment._apply_on_cpu = augment._apply_on_device  # type: ignore[method-assign]
        clips = batch(n=2, v=1, t=6)[:, :, :channels]
        found = augment.apply(clips, {"erase": torch.tensor([[[[4, 5, 8, 10]]], [[[0, 0, 0, 0]]]])})
        box = found[0, :, :, 4:12, 5:15]
        torch.testing.assert_close(box, torch.full_like(box, zero))
        assert found[1].std() > 0.01 and found[0, :, :, 12:].std() > 0.01


@pytest.mark.parametrize("options", [{"colorjitter": SEED_JITTER}, {"colorold": True}, {"rand_augment": True}])
def test_colour_is_refused_for_flow_and_for_differences_only_frame_by_frame(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"common.augmentation.{next(iter(options))}: optical flow has no colour"):
        Augment(mean=(0.5, 0.5), std=(1, 1), modality="flow", stack=5, **options)
    assert make(modality="rgbdiff", stack=5, **options).stack == 5
    with pytest.raises(ConfigError, match=r"augmentation.consistent: False draws for every frame anew"):
        make(modality="rgbdiff", stack=5, consistent=False, **options)
    with pytest.raises(ConfigError, match=r"augmentation.consistent: False draws for every frame anew"):
        make(modality="rgb", stack=5, consistent=False, **options)


def test_noise_in_place_of_what_is_erased_is_refused_for_differences_which_would_see_it_move() -> None:
    erased: dict[str, Any] = {"random_erasing": [1, 0.02, 0.4, 0.3], "stack": 5}
    with pytest.raises(ConfigError, match=r"augmentation.erase_with: noise is another one in each frame"):
        make(modality="rgbdiff", erase_with="noise", **erased)
    assert make(modality="rgbdiff", erase_with="colour", **erased).stack == 5

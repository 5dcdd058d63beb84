from __future__ import annotations

import pytest
import torch
from torchvision.transforms import CenterCrop, Compose, RandomCrop, RandomHorizontalFlip

from datasets.clip_transforms import (
    ApplyTransformToKey,
    Div255,
    Normalize,
    RandomShortSideScale,
    RemoveKey,
    ShortSideScale,
    UniformTemporalSubsample,
)
from tests.datasets.sampling.test_published import golden
from utils.errors import ConfigError


def test_subsampling_takes_pytorchvideos_frames() -> None:
    for case in golden("pytorchvideo", "uniform_temporal_subsample"):
        count, samples = case["frames"], case["num_samples"]
        clip = torch.arange(count, dtype=torch.float32)[None, :, None, None]
        assert UniformTemporalSubsample(samples)(clip).ravel().tolist() == case["indices"], case


def test_scaling_keeps_the_aspect_and_is_plain_bilinear() -> None:
    clip = torch.rand(3, 2, 48, 64)
    scaled = ShortSideScale(36)(clip)
    assert scaled.shape == (3, 2, 36, 48)
    expected = torch.nn.functional.interpolate(clip, (36, 48), mode="bilinear", antialias=False)
    assert torch.equal(scaled, expected)
    assert ShortSideScale(30)(torch.rand(3, 1, 50, 40)).shape == (3, 1, 37, 30)
    sizes = {RandomShortSideScale(20, 22)(clip).shape[2] for _ in range(60)}
    assert sizes == {20, 21, 22}


def test_normalising_works_on_the_first_axis_and_refuses_pixels_that_are_not_divided() -> None:
    clip = torch.full((3, 2, 4, 4), 255.0)
    out = Compose([Div255(), Normalize((0.45, 0.4, 0.3), (0.225, 0.2, 0.1))])(clip)
    torch.testing.assert_close(out[:, 0, 0, 0], torch.tensor([0.55 / 0.225, 0.6 / 0.2, 0.7 / 0.1]))
    with pytest.raises(ConfigError, match="put Div255"):
        Normalize((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))(clip)


def test_a_whole_recipe_of_the_tutorial_runs_on_a_sample() -> None:
    chain = Compose(
        [
            ApplyTransformToKey(
                key="video",
                transform=Compose(
                    [
                        UniformTemporalSubsample(4),
                        Div255(),
                        Normalize((0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
                        RandomShortSideScale(min_size=36, max_size=40),
                        RandomCrop(32),
                        RandomHorizontalFlip(p=0.5),
                        CenterCrop(24),
                    ]
                ),
            ),
            RemoveKey("audio"),
        ]
    )
    sample = {"video": torch.rand(3, 9, 48, 64) * 255, "label": 1}
    assert chain(sample)["video"].shape == (3, 4, 24, 24) and sample["video"].shape[1] == 9
    several = chain({"video": [sample["video"]] * 2, "audio": None})
    assert [clip.shape[1] for clip in several["video"]] == [4, 4] and "audio" not in several
    with pytest.raises(ConfigError, match="no 'vidoe' in a sample, which has video, label"):
        ApplyTransformToKey("vidoe", torch.neg)(sample)

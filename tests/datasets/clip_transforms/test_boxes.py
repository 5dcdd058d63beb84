from __future__ import annotations

import pytest
import torch

from datasets.clip_transforms import boxes as moved
from utils.config.build import ArgumentError

CLIP = torch.arange(2 * 6 * 8.0).reshape(1, 2, 6, 8)
PIXEL = (5, 2)  # x and y of a pixel with a box around it alone


def box() -> torch.Tensor:
    x, y = PIXEL
    return torch.tensor([[x, y, x, y]], dtype=torch.float32)


def under(clip: torch.Tensor, found: torch.Tensor) -> list[float]:
    """The pixels of each frame in the corner of the first box."""
    x, y = (int(value) for value in found[0, :2])
    return clip[0, :, y, x].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_box_shows_the_same_pixel_after_a_crop_or_a_flip(seed: int) -> None:
    torch.manual_seed(seed)
    seen = under(CLIP, box())
    assert under(*moved.horizontal_flip_with_boxes(1.0, CLIP, box())) == seen
    assert under(*moved.horizontal_flip_with_boxes(0.0, CLIP, box())) == seen
    assert under(*moved.uniform_crop_with_boxes(CLIP, 6, 1, box())) == seen
    cropped, found = moved.random_crop_with_boxes(CLIP, 5, box())
    inside = cropped[0, 0] == seen[0]
    assert inside.sum() <= 1 and (not inside.any() or under(cropped, found) == seen)


def test_boxes_end_at_the_border_of_a_crop() -> None:
    wide = torch.tensor([[-3.0, 1.0, 9.0, 9.0]])
    assert moved.clip_boxes_to_image(wide, 6, 8).tolist() == [[0, 1, 7, 5]]
    assert moved.uniform_crop_with_boxes(CLIP, 4, 2, wide)[1].tolist() == [[0, 0, 3, 3]]


def test_boxes_are_scaled_in_place_as_the_short_side_is() -> None:
    given = torch.tensor([[2.0, 1.0, 6.0, 4.0]])
    clip, found = moved.short_side_scale_with_boxes(CLIP, given, 3)
    assert clip.shape == (1, 2, 3, 4) and found is given and given.tolist() == [[1, 0.5, 3, 2]]
    clip, _ = moved.random_short_side_scale_with_boxes(CLIP, given, 12, 12)
    assert clip.shape == (1, 2, 12, 16) and given.tolist() == [[2, 1, 6, 4]]


def test_wrong_boxes_and_sizes_are_named() -> None:
    with pytest.raises(ArgumentError, match=r"boxes: have the shape \(4,\)"):
        moved.clip_boxes_to_image(torch.zeros(4), 6, 8)
    with pytest.raises(ArgumentError, match="size: 7 does not fit into frames of 8x6"):
        moved.random_crop_with_boxes(CLIP, 7, box())
    with pytest.raises(ArgumentError, match="min_size, max_size: 9 and 8"):
        moved.random_short_side_scale_with_boxes(CLIP, box(), 9, 8)

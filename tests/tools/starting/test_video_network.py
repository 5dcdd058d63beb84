"""A video network of tools.start has the weights of its name, and what is said of its clip is what is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networks import CLIP_NETWORKS
from tools.starting.video_network import _published, find_video_network, is_video_network
from utils.errors import UserError
from utils.published.registry import registry


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("slow_r50", "kinetics400/slow_r50_4x16_pyslowfast"),
        ("i3d_r50", "kinetics400/i3d_r50_8x8_pyslowfast"),
        ("c2d_r50", "kinetics400/c2d_r50_8x8_pytorchvideo"),
        ("mvit_v2_s", "kinetics400/mvitv2_s_16x4_pyslowfast"),
        ("swin3d_t", "kinetics400/swin_tiny_p244_w877_in1k_pre_32x2x1_30e_mmaction2"),
        ("x3d_s", "kinetics400/x3d_s_13x6_pyslowfast"),
    ],
)
def test_a_network_without_named_weights_has_those_of_its_recipe_or_of_its_own_size(backbone: str, name: str) -> None:
    assert _published(backbone).id == name


def test_a_network_that_the_registry_has_under_another_name_says_how_to_find_its_weights() -> None:
    with pytest.raises(UserError, match=r"--backbone csn_r101: .*: `python -m tools.weights csn_r101` lists some"):
        _published("csn_r101")


def test_weights_that_learned_from_images_are_no_video_network() -> None:
    name = next(one.id for one in registry().values() if one.task == "image-classification" and one.url)
    assert not name.startswith("timm/")
    backbone = registry()[name].backbone
    with pytest.raises(UserError, match=rf"^--backbone {name}: names .*; give --backbone {backbone} --weights {name}$"):
        is_video_network(name)
    assert is_video_network("kinetics400/x3d_s_13x6_pytorchvideo") and not is_video_network("resnet50")


@pytest.mark.whole
def test_a_clip_that_the_weights_do_not_show_is_not_said_to_be_that_of_their_training(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(CLIP_NETWORKS["mc3_18"]().state_dict(), path)
    network, _ = find_video_network("mc3_18", str(path))
    said = "\n".join(network.about)
    assert "16 frames, 2 apart" in said and "clip_len and frame_stride: not in the file; 16 and 2 are assumed" in said
    assert "was trained so" not in said and network.span == 31

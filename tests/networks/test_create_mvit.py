"""PyTorchVideo's MViT: its arguments, and files of its own; tests/networks/pytorchvideo compares the outputs."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import nn

from networks.create_mvit import create_multiscale_vision_transformers
from utils.config.build import ArgumentError

NAMES = """spatial_size temporal_size cls_embed_on sep_pos_embed depth norm enable_patch_embed input_channels
patch_embed_dim conv_patch_embed_kernel conv_patch_embed_stride conv_patch_embed_padding enable_patch_embed_norm
use_2d_patch num_heads mlp_ratio qkv_bias dropout_rate_block droppath_rate_block pooling_mode pool_first residual_pool
depthwise_conv bias_on separate_qkv embed_dim_mul atten_head_mul dim_mul_in_att pool_q_stride_size pool_kv_stride_size
pool_kv_stride_adaptive pool_kvq_kernel head head_dropout_rate head_activation head_num_classes create_scriptable_model
multiscale_vit_class"""
SMALL: dict[str, Any] = {
    "spatial_size": 16,
    "temporal_size": 4,
    "depth": 2,
    "patch_embed_dim": 8,
    "head_num_classes": 3,
}


def test_it_has_pytorchvideos_arguments_in_its_order() -> None:
    assert [*inspect.signature(create_multiscale_vision_transformers).parameters] == NAMES.split()


def test_pictures_and_patches_are_inputs_too() -> None:
    flat = create_multiscale_vision_transformers(
        **SMALL | {"temporal_size": 1}, use_2d_patch=True, conv_patch_embed_kernel=(7, 7),
        conv_patch_embed_stride=(4, 4), conv_patch_embed_padding=(3, 3),
    )  # fmt: skip
    assert flat(torch.ones(2, 3, 16, 16)).shape == (2, 3)
    patches = create_multiscale_vision_transformers(**SMALL | {"spatial_size": (4, 1)}, enable_patch_embed=False)
    assert patches(torch.ones(2, 16, 8)).shape == (2, 3)


def test_a_file_of_pytorchvideo_names_its_pools_twice_and_loads() -> None:
    net = create_multiscale_vision_transformers(**SMALL, pool_kv_stride_adaptive=[1, 2, 2])
    state = net.state_dict()
    twice = re.compile(r"\.(pool|norm)_([qkv])\.")
    again = {twice.sub(r"._attention_pool_\2.\1.", key): value for key, value in state.items() if twice.search(key)}
    assert len(again) == 2 * 2 * 3 and net.load_state_dict(state | again).unexpected_keys == []
    with pytest.raises(RuntimeError, match=r"blocks\.0\.attn\.other"):
        net.load_state_dict(state | {"blocks.0.attn.other": torch.ones(1)})


def test_the_last_block_is_dropped_most() -> None:
    net = create_multiscale_vision_transformers(**SMALL | {"depth": 3}, droppath_rate_block=0.4)
    rates = [block.drop_path.p if hasattr(block.drop_path, "p") else 0.0 for block in net.blocks]
    assert rates == pytest.approx([0.0, 0.2, 0.4])
    assert isinstance(net.head.proj, nn.Linear) and not net.head.proj.bias.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"use_2d_patch": True}, "use_2d_patch: is for pictures, so temporal_size must be 1, not 4"),
        ({"pool_kv_stride_adaptive": [1, 2, 2], "pool_kv_stride_size": [[0, 1, 2, 2]]}, "pool_kv_stride_size: is not"),
        ({"norm": "groupnorm"}, "norm: should be 'layernorm' or 'batchnorm'"),
        ({"embed_dim_mul": [[3, 2.0]]}, "embed_dim_mul: layer 3 is not one of the 2 layers"),
        ({"pool_q_stride_size": [[2, 1, 2, 2]]}, "pool_q_stride_size: give the number of a layer, 0 to 1, and its"),
        ({"num_heads": 3}, "num_heads: 3 does not divide the 8 channels"),
        ({"spatial_size": (32, 32, 32)}, "spatial_size: should be a valid integer or should have at most 2 items"),
        ({"spatial_size": (32,)}, "spatial_size: should be a valid integer or should have more entries, but is"),
        ({"pool_kv_stride_adaptive": (2, 2)}, "pool_kv_stride_adaptive: should have more entries"),
        ({"pool_kvq_kernel": (3, 3)}, "pool_kvq_kernel: should have more entries"),
        (
            {"conv_patch_embed_stride": (2, 2)},
            r"conv_patch_embed_stride: should be a triple \(t, h, w\)",
        ),
        ({"conv_patch_embed_kernel": (2, 2)}, "conv_patch_embed_kernel: should be a triple"),
        ({"conv_patch_embed_padding": (-1, 0, 0)}, "conv_patch_embed_padding: should be greater than or equal to 0"),
        ({"use_2d_patch": True, "temporal_size": 1}, "conv_patch_embed_kernel: should be a pair"),
        ({"conv_patch_embed_stride": (2, 4, 32)}, r"conv_patch_embed_stride: \(2, 4, 32\) is larger than the clips"),
        ({"embed_dim_mul": [[1]]}, "embed_dim_mul: should have more entries"),
        ({"atten_head_mul": [[0, -1]]}, "atten_head_mul: should be greater than 0, but is -1"),
        ({"pool_q_stride_size": [[]]}, "pool_q_stride_size: should have more entries"),
        ({"dropout_rate_block": 2}, "dropout_rate_block: should be less than or equal to 1, but is 2"),
        ({"droppath_rate_block": 2.0}, "droppath_rate_block: should be less than or equal to 1"),
        ({"create_scriptable_model": True}, "create_scriptable_model: should be False"),
    ],
)
def test_a_wrong_argument_is_an_error_with_its_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        create_multiscale_vision_transformers(**SMALL | arguments)

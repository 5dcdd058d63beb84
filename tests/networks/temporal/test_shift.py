"""The shift moves what the paper says, where it says, in every memory layout and direction."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from networks.temporal.module import Stream
from networks.temporal.non_local import FrameNonLocal
from networks.temporal.shift import (
    DIRECTIONS,
    TemporalPool,
    TemporalShift,
    _shift_for_compilers,
    pooled_length,
    temporal_shift,
)


def _by_hand(x: Tensor, num_frames: int, fold: int, direction: str) -> Tensor:
    """Frame by frame, channel by channel."""
    moved = x.clone()
    for row in range(x.shape[0]):
        t = row % num_frames
        for channel in range(x.shape[1]):
            if direction == "bi":
                source = t + 1 if channel < fold else t - 1 if channel < 2 * fold else t
            else:
                source = t - 1 if channel < fold else t
            inside = 0 <= source < num_frames
            moved[row, channel] = x[row - t + source, channel] if inside else 0
    return moved


@pytest.mark.parametrize(
    ("direction", "layout", "num_frames"),
    [*itertools.product(["bi", "uni"], [torch.contiguous_format, torch.channels_last], [1, 2, 5])],
)
def test_the_shift_is_the_definition_and_keeps_the_memory_layout(
    direction: str, layout: torch.memory_format, num_frames: int
) -> None:
    x = torch.randn(3 * num_frames, 9, 4, 5).to(memory_format=layout)
    moved = temporal_shift(x, num_frames, fold=2, direction=direction)
    assert torch.equal(moved, _by_hand(x, num_frames, 2, direction))
    assert moved.stride() == x.stride()


def test_first_channels_read_the_next_frame_and_the_second_ones_the_frame_before() -> None:
    x = torch.tensor([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0], [3.0, 30.0, 300.0]]).view(3, 3, 1, 1)
    expected = torch.tensor([[2.0, 0.0, 100.0], [3.0, 10.0, 200.0], [0.0, 20.0, 300.0]])
    assert torch.equal(temporal_shift(x, 3, fold=1).view(3, 3), expected)


def test_tokens_are_shifted_along_their_last_axis() -> None:
    maps = torch.randn(6, 8, 3, 2)
    tokens = maps.permute(0, 2, 3, 1)
    shifted = temporal_shift(tokens, 3, fold=2, channel_dim=-1)
    assert torch.equal(shifted.permute(0, 3, 1, 2), temporal_shift(maps, 3, fold=2))
    flat = temporal_shift(tokens.flatten(1, 2), 3, fold=2, channel_dim=-1)
    assert torch.equal(flat, shifted.flatten(1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize(("channels", "fold"), [(8, 1), (9, 2), (64, 8), (16, 8)])
def test_words_of_any_size_move_what_compiled_code_moves(dtype: torch.dtype, channels: int, fold: int) -> None:
    whole = torch.randint(0, 9, (7, 4, 3, channels)).to(dtype)
    for x in (whole[:6], whole[1:]):  # the second begins in the middle of memory
        for maps in (x.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2).contiguous()):
            moved = temporal_shift(maps, 3, fold=fold)
            assert torch.equal(moved, _by_hand(maps, 3, fold, "bi")) and moved.stride() == maps.stride()
            rows = maps.flatten(1).unflatten(0, (-1, 3))
            compiled = _shift_for_compilers(rows, fold * 12, DIRECTIONS["bi"])
            assert torch.equal(moved.flatten(1), compiled.flatten(0, 1))


def test_nothing_moves_where_a_share_is_less_than_a_channel() -> None:
    x = torch.randn(6, 7, 4, 4)
    assert torch.equal(TemporalShift(8, shift_div=8)(x), x)


@pytest.mark.parametrize("direction", ["bi", "uni"])
def test_the_gradient_is_the_shift_run_backwards(direction: str) -> None:
    x = torch.randn(6, 4, 2, 1, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: temporal_shift(x, 3, fold=1, direction=direction), x)
    assert torch.autograd.gradgradcheck(lambda x: temporal_shift(x, 3, fold=1, direction=direction).square(), x)


def test_clips_of_a_batch_never_mix() -> None:
    x = torch.randn(8, 4, 2, 2)
    together = temporal_shift(x, 4, fold=1)
    apart = torch.cat([temporal_shift(clip, 4, fold=1) for clip in x.split(4)])
    assert torch.equal(together, apart)


def test_a_stream_gives_the_one_directional_shift_frame_by_frame() -> None:
    shift = TemporalShift(8, shift_div=4, shift="uni")
    clips = torch.randn(2, 5, 8, 3, 3)  # B, T, C, H, W
    shift.num_frames = 5
    offline = shift(clips.flatten(0, 1)).unflatten(0, (2, 5))
    state: list[Tensor] = []
    for t in range(5):
        shift.stream = Stream(state)
        assert torch.equal(shift(clips[:, t]), offline[:, t])
        state = shift.stream.now


@pytest.mark.parametrize("num_frames", [1, 2, 5, 8])
def test_the_temporal_pool_halves_the_frame_rate_within_each_clip(num_frames: int) -> None:
    pool = TemporalPool()
    pool.num_frames = num_frames
    clips = torch.randn(2, num_frames, 3, 2, 2)
    pooled = pool(clips.flatten(0, 1)).unflatten(0, (2, -1))
    assert pooled.shape[1] == pooled_length(num_frames)
    for t in range(pooled.shape[1]):
        assert torch.equal(pooled[:, t], clips[:, max(2 * t - 1, 0) : 2 * t + 2].amax(1))


def test_a_non_local_block_of_tsm_attends_to_all_pooled_positions_of_its_clip() -> None:
    block = FrameNonLocal(4).eval()
    block.num_frames = 3
    torch.nn.init.normal_(block.bn.weight)
    frames = torch.randn(6, 4, 4, 4)
    expected = []
    for clip in frames.unflatten(0, (2, 3)):
        flat = clip.transpose(0, 1)  # C, T, H, W
        theta = torch.einsum("oc,cthw->othw", block.theta.weight.flatten(1), flat) + block.theta.bias.view(-1, 1, 1, 1)
        keys, values = (
            torch.nn.functional.max_pool2d(
                torch.einsum("oc,cthw->othw", conv.weight.flatten(1), flat) + conv.bias.view(-1, 1, 1, 1), 2
            )
            for conv in (block.phi, block.g)
        )
        weights = torch.softmax(theta.flatten(1).T @ keys.flatten(1), dim=1)
        attended = (weights @ values.flatten(1).T).T.unflatten(1, flat.shape[1:])
        out = torch.einsum("oc,cthw->othw", block.out.weight.flatten(1), attended) + block.out.bias.view(-1, 1, 1, 1)
        expected.append((flat + block.bn(out[None])[0]).transpose(0, 1))
    with torch.no_grad():
        torch.testing.assert_close(block(frames), torch.cat(expected))

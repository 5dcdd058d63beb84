"""Video transformers: how tokens know their places, which clips fit, and what each family's parts must keep."""

from __future__ import annotations

import copy
import math
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.clip3d import Clip3D
from methods.probe import Probe
from networks import CLIP_NETWORKS
from networks.clip.fit_tables import fit_tables
from networks.clip.video_vit import DividedBlock, VideoViT, rotation, sines
from networks.clip.video_vit_published import VITS
from networks.recompute import recompute_blocks
from tests.helpers.grey import config
from tools.dumping.make_motion8 import CLASSES, PAIRS, Clip, render
from utils.training.blocks import blocks_of
from utils.training.optimizer import optimizer_for, parameter_groups

STEPS = 600  # of a training
TINY: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 2}
SMALL = {"temporal_size": 4, "spatial_size": 32}
NETWORKS: dict[str, dict[str, Any]] = {
    "videomae_s": {},
    "vjepa2_l": {"pool_depth": 2},
    "vjepa2_1_b": {"pool_depth": 2},
    "timesformer_b": SMALL,
    "vivit_b": SMALL,
}


def _net(name: str, **kwargs: Any) -> VideoViT:
    torch.manual_seed(0)
    net = CLIP_NETWORKS[name](num_class=3, **{**TINY, **NETWORKS[name], **kwargs})
    assert isinstance(net, VideoViT)
    return net


def _clips(frames: int = 4, side: int = 32, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns_from_the_first_step_on_and_drop_path_is_for_training_alone(name: str) -> None:
    net = _net(name, drop_path=0.3)
    logits = net.train()(_clips())
    logits.logsumexp(1).sum().backward()
    asleep = [key for key, value in net.named_parameters() if value.grad is None]
    assert logits.shape == (2, 3) and not asleep
    net.eval()
    with torch.no_grad():
        assert torch.equal(net(_clips()), net(_clips()))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_frames_and_of_rows_is_seen(name: str) -> None:
    net = _net(name).eval()
    for block in net.blocks:
        nn.init.normal_(block.attn.qkv.weight, std=0.5)
        if isinstance(block, DividedBlock):
            nn.init.normal_(block.temporal_fc.weight, std=0.1)
    nn.init.normal_(net.head.weight)
    with torch.no_grad():
        here, clips = net(_clips()), _clips()
        assert not torch.allclose(net(clips.flip(2)), here, atol=1e-3)
        assert not torch.allclose(net(torch.cat([clips[..., 16:, :], clips[..., :16, :]], 3)), here, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_are_those_of_each_moment_and_place(name: str) -> None:
    net = _net(name).eval()
    with torch.no_grad():
        tokens = net.forward_features(_clips())
    assert tokens.shape == (2, 4 // net.shape.tubelet[0], 4, 48)


def test_windows_of_a_clip_are_seen_apart_and_their_tokens_read_together() -> None:
    alone, joint = _net("vjepa2_l").eval(), _net("vjepa2_l", segments=2).eval()
    clips = _clips(frames=8)
    assert alone.pooler is not None
    with torch.no_grad():
        windows = [alone.all_tokens(window) for window in clips.split(4, 2)]
        assert torch.equal(joint.all_tokens(clips), torch.cat(windows, 1))
        torch.testing.assert_close(joint(clips), alone.head(alone.pooler(torch.cat(windows, 1))))
        features = torch.cat([alone.forward_features(window) for window in clips.split(4, 2)], 1)
        assert torch.equal(joint.forward_features(clips), features)
        assert not torch.allclose(joint(clips), (alone(clips[:, :, :4]) + alone(clips[:, :, 4:])) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="6 frames are no multiple of 4, the frames of a token in each of 2 windows"):
        joint(_clips(frames=6))


@pytest.mark.parametrize("name", ["vjepa2_l", "vjepa2_1_b"])
def test_tokens_of_several_blocks_are_read_behind_the_last_norm_and_in_2_1_each_behind_its_own(name: str) -> None:
    net = _net(name, depth=3, read_blocks=[0, 2], segments=2).eval()
    assert [*net.norms] == (["0"] if name == "vjepa2_1_b" else [])
    for norm in net.norms.values():
        nn.init.normal_(norm.weight)
    found: list[Tensor] = []
    for number in (0, 2):
        norm = net.norms[str(number)] if str(number) in [*net.norms] else net.norm
        net.blocks[number].register_forward_hook(lambda m, given, output, norm=norm: found.append(norm(output)))
    assert net.pooler is not None
    with torch.no_grad():
        logits, tokens = net(_clips(frames=8)), net.forward_features(_clips(frames=8))
        first, last = (level.unflatten(0, (2, 2)).flatten(1, 2) for level in found[:2])  # (B, both windows' tokens, D)
        torch.testing.assert_close(logits, net.head(net.pooler(torch.cat([first, last], 1))))
        places = torch.cat([level.unflatten(1, (4, 4)) for level in (first, last)], 2)
        assert torch.equal(tokens, places)


def test_sines_are_those_of_the_running_number_with_one_speed_for_a_pair() -> None:
    found = sines(1568, 6).numpy()
    for number in (0, 1, 1567):
        speeds = [10_000 ** -(2 * (channel // 2) / 6) for channel in range(6)]
        wanted = [(math.sin, math.cos)[channel % 2](number * speed) for channel, speed in enumerate(speeds)]
        np.testing.assert_allclose(found[number], wanted, atol=1e-7)


def test_a_rotation_gives_time_row_and_column_a_third_each_and_leaves_the_rest() -> None:
    grid, channels = (2, 3, 5), 16  # 4 channels for each axis, 4 left
    plain, stretched = (rotation(grid, channels, like=torch.zeros(1), stretched=kind) for kind in (False, True))
    for place in ((1, 2, 4), (0, 1, 3)):
        row = (place[0] * grid[1] + place[1]) * grid[2] + place[2]
        angles = [place[axis] * speed for axis in range(3) for speed in (1.0, 0.01, 1.0, 0.01)] + [0.0] * 4
        torch.testing.assert_close(plain[0][row], torch.tensor(angles).cos())
        torch.testing.assert_close(plain[1][row], torch.tensor(angles).sin())
        far = [place[0], place[1] * 15 / 2, place[2] * 15 / 4]
        angles = [far[axis] * speed for axis in range(3) for speed in (1.0, 1.0, 0.01, 0.01)] + [0.0] * 4
        torch.testing.assert_close(stretched[1][row], torch.tensor(angles).sin())


@pytest.mark.parametrize("name", ["videomae_s", "vjepa2_l", "vjepa2_1_b"])
def test_networks_without_learned_tables_take_clips_of_any_size_that_tubelets_fill(name: str) -> None:
    net = _net(name)
    assert net(torch.randn(1, 3, 6, 48, 16)).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "clip", "message"),
    [
        ("videomae_s", (5, 32, 32), "5 frames are no multiple of 2, the frames of a token"),
        ("vjepa2_l", (4, 40, 32), "40 pixels are no multiple of 16, the side of a token's patch"),
        ("timesformer_b", (4, 64, 64), r"built for clips of 4 x 32 x 32 .*, not 4 x 64 x 64; set clip_len and kwargs"),
        ("vivit_b", (8, 32, 32), r"built for clips of 4 x 32 x 32 .*, not 8 x 32 x 32"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_in_one_line(name: str, clip: tuple[int, ...], message: str) -> None:
    with torch.device("meta"):
        net = _net(name)
        with pytest.raises(ValueError, match=message):
            net(torch.empty(1, 3, *clip))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("videomae_b", {"num_heads": 5}, "num_heads: 5 does not divide the 768 channels"),
        ("videomae_b", {"drop_path": 1.0}, "drop_path: should be less than 1"),
        ("timesformer_b", {"attention": "space"}, "attention: should be 'divided' or 'joint'"),
        ("timesformer_b", {"spatial_size": 100}, "100 pixels are no multiple of 16"),
        ("vivit_b", {"temporal_size": 7}, "7 frames are no multiple of 2"),
        ("vjepa2_l", {"pooling": "class"}, "pooling: should be 'attentive' or 'mean'"),
        ("vjepa2_l", {"read_blocks": [3, 5]}, r"read_blocks: \[3, 5\] should be growing numbers that end with .* 23"),
        ("vjepa2_l", {"read_blocks": [5, 3, 23]}, "read_blocks: .* should be growing numbers"),
    ],
)
def test_arguments_that_do_not_fit_are_named(name: str, arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        CLIP_NETWORKS[name](**arguments)


def test_divided_attention_begins_as_attention_within_frames_but_in_the_first_block() -> None:
    net = _net("timesformer_b", depth=3)
    zero = [not block.temporal_fc.weight.any() for block in net.blocks if isinstance(block, DividedBlock)]
    assert zero == [False, True, True]


def test_a_divided_block_moves_nothing_between_frames_without_its_attention_over_time() -> None:
    block = DividedBlock(48, 2)
    nn.init.zeros_(block.temporal_fc.weight)
    nn.init.zeros_(block.temporal_fc.bias)
    x = torch.randn(1, 1 + 2 * 4, 48)
    changed = x.clone()
    changed[:, 5:] = torch.randn(1, 4, 48)  # the second frame
    with torch.no_grad():
        assert torch.equal(block(x, 2)[:, 1:5], block(changed, 2)[:, 1:5])
        assert not torch.allclose(block(x, 2)[:, 0], block(changed, 2)[:, 0])  # the class token sees all


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_found_for_sharing_and_computing_again_and_groups_know_every_parameter(name: str) -> None:
    net = _net(name)
    assert {f"blocks.{number}" for number in range(2)} <= blocks_of(net).keys()
    groups = parameter_groups(net, no_wd=True)
    assert sum(len(group.params) for group in groups) == len(list(net.parameters()))


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_that_are_computed_again_give_the_same_gradients_to_the_bit(name: str) -> None:
    plain = _net(name, drop_path=0.3).train()
    again = copy.deepcopy(plain)
    recompute_blocks(again)
    logits = []
    for net in (plain, again):
        torch.manual_seed(1)
        logits.append(net(_clips()))
        logits[-1].logsumexp(1).sum().backward()
    assert torch.equal(*logits)
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None and torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("head", ["linear", "attentive"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_probe_reads_a_frozen_one(name: str, head: Any) -> None:
    kwargs = {key: value for key, value in {**TINY, **NETWORKS[name]}.items() if key != "temporal_size"}
    probe = Probe(backbone=name, num_class=3, clip_len=4, head=head, kwargs=kwargs)
    assert probe(_clips()).shape == (2, 3)
    learned = {key.partition(".")[0] for key, value in probe.named_parameters() if value.requires_grad}
    assert learned == ({"head"} if head == "linear" else {"head", "pooler"})


def test_the_head_of_a_fine_tuning_begins_near_zero() -> None:
    assert _net("videomae_s").head.weight.abs().max() < 1e-4 < _net("videomae_s", head_init_scale=1.0).head.weight.std()


def test_a_larger_patch_makes_fewer_tokens() -> None:
    assert VITS["videomae_g"].shape.grid((16, 224, 224)) == (8, 16, 16)
    assert _net("videomae_s", patch_size=32).forward_features(_clips()).shape == (2, 2, 1, 48)


def test_a_method_takes_the_clip_of_its_learned_tables() -> None:
    kwargs = {**TINY, "spatial_size": 64}
    with torch.device("meta"):
        method = Clip3D(backbone="timesformer_b", num_class=3, clip_len=16, kwargs=kwargs)
        with pytest.raises(ValueError, match=r"kwargs.temporal_size: 8 differs from clip_len 16; give only one"):
            Clip3D(backbone="timesformer_b", num_class=3, clip_len=16, kwargs={**kwargs, "temporal_size": 8})
        assert Clip3D(backbone="vjepa2_l", num_class=3, kwargs={**TINY, "segments": 2}).clip.num_frames == 32
        with pytest.raises(
            ValueError, match=r"clip_len: 16 is no multiple of kwargs\.segments 3, the windows of a clip"
        ):
            Clip3D(backbone="vjepa2_l", num_class=3, clip_len=16, kwargs={**TINY, "segments": 3})
        for wrong in (None, {"a": 1}, "2"):
            with pytest.raises(ValueError, match=r"kwargs\.segments: should be a valid integer, but is "):
                Clip3D(backbone="vjepa2_l", num_class=3, kwargs={**TINY, "segments": wrong})
    assert method.example_size == (16, 64, 64) and method.network.time_embed.weight.shape == (16, 48)


def _motions(groups: range) -> tuple[Tensor, Tensor]:
    """motion8's drawn motions at half their size, uint8 (N, T, H, W, 3), and their labels; backwards it is one more."""
    pairs = [(pair, group) for group in groups for pair in range(len(PAIRS))]
    films = [render(Clip(pair, group, seed=0)) for pair, group in pairs]
    small = [[cv2.resize(frame, (48, 48), interpolation=cv2.INTER_AREA) for frame in film] for film in films]
    return torch.from_numpy(np.array(small)), torch.tensor([2 * pair for pair, _ in pairs])


def _both_ways(films: tuple[Tensor, Tensor], count: int, numbers: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips of 8 frames of 32 x 32, cut at random out of films, each forwards and backwards, and their labels."""
    clips = []
    chosen = torch.randint(len(films[0]), (count,), generator=numbers)
    for film in films[0][chosen]:
        start, top, left = (int(torch.randint(end, (), generator=numbers)) for end in (4, 17, 17))
        clips.append(film[start : start + 29 : 4, top : top + 32, left : left + 32].permute(3, 0, 1, 2) / 58 - 2.1)
    forth = torch.stack(clips)
    return torch.cat([forth, forth.flip(2)]), torch.cat([films[1][chosen], films[1][chosen] + 1])


@pytest.mark.long
def test_a_tiny_videomae_learns_motion8_from_random_weights() -> None:
    torch.manual_seed(0)
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 2, "patch_size": 8}
    net = CLIP_NETWORKS["videomae_s"](num_class=len(CLASSES), head_init_scale=1.0, **sizes)
    keys = {"betas": [0.9, 0.95], "weight_decay": 0.05, "no_wd": True}
    optimizer = optimizer_for(net, config(optimizer="ADAMW", **keys))
    numbers, losses = torch.Generator().manual_seed(1), []
    films = _motions(range(1, 25))
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 0.002 * group["lr_mult"] * min(1.0, (step + 1) / 20, 2 - 2 * step / STEPS)
        clips, labels = _both_ways(films, 8, numbers)
        loss = nn.functional.cross_entropy(net(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    clips, labels = _both_ways(_motions(range(101, 109)), 64, torch.Generator().manual_seed(2))  # other textures
    with torch.no_grad():
        found = net.eval()(clips).argmax(1)
    assert np.mean(losses[-50:]) < 0.7 < 1.9 < np.mean(losses[:50])
    right, shifts = found == labels, labels < 4  # to the left, to the right, up or down
    assert right.float().mean() > 0.6 and right[shifts].float().mean() > 0.85  # only the order tells these apart


@pytest.mark.parametrize(("frames", "side", "told"), [(8, 32, {}), (16, 16, {"frames": 16}), (4, 64, {"frames": 16})])
def test_a_table_of_places_keeps_its_moments_in_order(frames: int, side: int, told: dict[str, int]) -> None:
    """Each value is its moment: 8 moments of 2 x 2 places are neither 2 of 4 x 4 nor 32 of one."""
    net = _net("vivit_b", temporal_size=frames, spatial_size=side)
    moments = torch.arange(8.0).repeat_interleave(4)[:, None].expand(32, 48)
    found = fit_tables(net, {"pos_embed.weight": torch.cat([torch.full((1, 48), -1.0), moments])}, **told)
    first, rest = found["pos_embed.weight"].split([1, len(found["pos_embed.weight"]) - 1])
    rows = rest.unflatten(0, (frames // 2, -1))
    wanted = nn.functional.interpolate(torch.arange(8.0)[None, None], frames // 2, mode="linear")[0, 0]
    torch.testing.assert_close(rows, wanted[:, None, None].expand_as(rows))
    assert (first == -1).all()


def test_a_table_that_tells_no_moments_is_left_to_the_error_of_its_size() -> None:
    net = _net("vivit_b", temporal_size=4, spatial_size=32)
    assert fit_tables(net, {"pos_embed.weight": torch.zeros(1 + 7, 48)}) == {}

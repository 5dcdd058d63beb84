"""SlowFast: slow frames, lateral connections, and what cannot be built."""

from __future__ import annotations

import pytest
import torch

from networks.clip.slowfast import SlowFastNet, linspace_frames, strided_frames


def test_slow_frames_follow_either_project() -> None:
    assert linspace_frames(32, 8) == [0, 10, 20, 31]
    assert linspace_frames(32, 4) == [0, 4, 8, 13, 17, 22, 26, 31]
    assert strided_frames(32, 8) == [0, 8, 16, 24]
    for rule in (linspace_frames, strided_frames):
        assert [len(rule(frames, alpha)) for frames, alpha in ((8, 8), (16, 4), (64, 4))] == [1, 4, 16]


@pytest.mark.parametrize(("alpha", "beta", "kernel"), [(2, 4, 3), (4, 8, 7), (8, 16, 5)])
def test_any_alpha_beta_and_fusion_kernel_fit_together(alpha: int, beta: int, kernel: int) -> None:
    net = SlowFastNet(num_class=3, alpha=alpha, beta=beta, fusion_kernel=kernel).eval()
    slow, fast = net.forward_features(torch.randn(1, 3, 8, 32, 32))
    assert slow.shape == (1, 2048, 8 // alpha, 1, 1)
    assert fast.shape == (1, 2048 // beta, 8, 1, 1)
    assert [lateral.conv.kernel_size for lateral in net.lateral] == [(kernel, 1, 1)] * 4
    assert net.slow.layer2[0].conv1.in_channels == 256 + 2 * 256 // beta


def test_slow_features_depend_on_frames_that_only_the_fast_pathway_sees() -> None:
    torch.manual_seed(0)
    net = SlowFastNet(num_class=3, alpha=8, zero_init_residual=False).eval()
    clip = torch.randn(1, 3, 16, 32, 32)
    changed = clip.clone()
    changed[:, :, 9] += 3  # not a slow frame: those are 0 and 15
    assert not torch.allclose(net.forward_features(clip)[0], net.forward_features(changed)[0])


def test_slowfast_refuses_what_cannot_be_built() -> None:
    for arguments, message in [
        ({"backbone": "resnet18"}, "^backbone: should be 'resnet50', .* but is 'resnet18'$"),
        ({"beta": 7}, "^beta: should be 1, 2, 4, 8, 16, 32 or 64, but is 7$"),
        ({"fusion_kernel": 4}, "^fusion_kernel: 4 is even"),
        ({"slow_frames": "random"}, "^slow_frames: should be 'linspace' or 'strided', but is 'random'$"),
        ({"temporal_blocks": [[3, 4, 6, 3]]}, "^temporal_blocks: give two lists"),
    ]:
        with pytest.raises(ValueError, match=message):
            SlowFastNet(**arguments)
    with pytest.raises(ValueError, match="alpha 8 does not divide the clip's 12 frames"):
        SlowFastNet()(torch.zeros(1, 3, 12, 32, 32))

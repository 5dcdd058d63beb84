"""A variant that differs from its file in what names and shapes do not show is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from methods.clip3d import Clip3D
from methods.probe import Probe
from networks import CLIP_NETWORKS
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.checkpoints.unseen import unseen_differences
from tests.networks.checkpoints.layouts import official_names_vit as names
from utils.errors import CheckpointError


def test_other_heads_than_the_file_was_trained_with_are_refused_also_where_training_starts_from_it(
    tmp_path: Path,
) -> None:
    kwargs = {"depth": 1}
    plain = Clip3D(backbone="videomae_s", num_class=5, clip_len=16, kwargs=kwargs)
    state = {key.removeprefix("network."): value for key, value in plain.state_dict().items()}
    for key, value in state.items():
        if key.endswith("bias"):
            value.fill_(0.1)
    torch.save(names.hugging_face(state, family="videomae"), tmp_path / "x.pth")
    file = load_checkpoint_file(tmp_path / "x.pth")
    assert not [text for text in load_into(plain, file).warnings if "scores will differ" in text]
    with torch.device("meta"):
        other = Clip3D(backbone="videomae_s", num_class=5, clip_len=16, kwargs=kwargs | {"num_heads": 12})
        probe = Probe(backbone="videomae_s", num_class=3, clip_len=16, head="linear", kwargs=kwargs | {"num_heads": 12})
    said = r"x\.pth: its scores would be others .*: kwargs\.num_heads is 6 in the file and 12 here; take the config"
    for method, begins in ((other, False), (other, True), (probe, False)):
        with pytest.raises(CheckpointError, match=said) as error:
            load_into(method, file, new_head=begins)
        assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError, match=said):
        load_into(other, file, as_trained=False)  # as a training begins
    (warning,) = [text for text in load_into(other, file, strict=False).warnings if "scores will differ" in text]
    assert warning == "kwargs.num_heads is 6 in the file and 12 here: scores will differ"


@pytest.mark.parametrize(
    ("published", "backbone", "kwargs", "told"),
    [
        ("vjepa2_l", "vjepa2_l", {"pool_heads": 8}, ["kwargs.pool_heads is 16 in the file and 8 here"]),
        ("vjepa2_l", "vjepa2_1_l", {}, ["places (vjepa2_l) is rotary in the file and rotary_stretched here"]),
        ("vjepa2_l", "vjepa2_l", {"pooling": "mean"}, []),
        ("timesformer_b", "timesformer_b", {"num_heads": 8}, ["kwargs.num_heads is 12 in the file and 8 here"]),
        ("hiera_tiny", "hiera_tiny", {"num_heads": 2}, ["kwargs.num_heads is 1 in the file and 2 here"]),
        ("hiera_tiny", "slow_r50", {}, []),
        ("", "hiera_tiny", {}, []),
    ],
)
def test_heads_and_kinds_of_places_are_compared_with_the_published_ones(
    published: str, backbone: str, kwargs: dict[str, Any], told: list[str]
) -> None:
    short = {"depth": 1} if backbone.startswith(("vjepa2", "timesformer")) else {}
    with torch.device("meta"):
        network = CLIP_NETWORKS[backbone](num_class=3, **kwargs, **short)
    shown = {"kwargs": short} if published.startswith(("vjepa2", "timesformer")) else {}
    assert unseen_differences(network, Description("clip3d", published, shown)) == told
    guessed = unseen_differences(network, Description("clip3d", published, shown, assumed=("kwargs",)))
    assert guessed == [text for text in told if "heads" not in text]
    fresh = unseen_differences(network, Description("clip3d", published, shown, fresh=("network.pooler.",)))
    assert fresh == [text for text in told if "pool_heads" not in text], "an encoder's file holds no pooler"

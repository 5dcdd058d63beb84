"""Offers VMZ's builders with their names and arguments, and any published network by its name.

The networks are those of networks.CLIP_NETWORKS; networks/checkpoints/load.py reads their files.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from methods.clip3d import Clip3D
from methods.hub import method_of
from networks.checkpoints.load import PRETRAINED, load_checkpoint_file, load_into, published_file
from utils.config.build import check_name
from utils.errors import CheckpointError
from utils.published.registry import entry

__all__ = [
    "available_pretrainings",
    "ip_csn_152",
    "ir_csn_152",
    "mc3_18",
    "published",
    "r2plus1d_18",
    "r2plus1d_34",
    "r2plus1d_152",
    "r3d_18",
]

# architecture -> name of a pretraining -> name of the published weights; "" if the file was never published
PUBLISHED: dict[str, dict[str, str]] = {
    "ir_csn_152": {
        "ig65m_32frms": "ig65m/ir_csn_152_32f_vmz",
        "ig_ft_kinetics_32frms": "kinetics400/ir_csn_152_ig65m_32f_vmz",
        "sports1m_32frms": "sports1m/ir_csn_152_32f_vmz",
        "sports1m_ft_kinetics_32frms": "kinetics400/ir_csn_152_sports1m_32f_vmz",
    },
    "ip_csn_152": {
        "ig65m_32frms": "ig65m/ip_csn_152_32f_vmz",
        "ig_ft_kinetics_32frms": "kinetics400/ip_csn_152_ig65m_32f_vmz",
        "sports1m_32frms": "sports1m/ip_csn_152_32f_vmz",
        "sports1m_ft_kinetics_32frms": "kinetics400/ip_csn_152_sports1m_32f_vmz",
    },
    "r2plus1d_34": {
        "kinetics_8frms": "kinetics400/r2plus1d_34_ig65m_8f_moabitcoin",
        "kinetics_32frms": "kinetics400/r2plus1d_34_ig65m_32f_moabitcoin",
        "ig65m_8frms": "ig65m/r2plus1d_34_8f_moabitcoin",
        "ig65m_32frms": "ig65m/r2plus1d_34_32f_moabitcoin",
    },
    "r2plus1d_152": {
        "ig65m_32frms": "ig65m/r2plus1d_152_32f_vmz",
        "ig_ft_kinetics_32frms": "kinetics400/r2plus1d_152_ig65m_32f_vmz",
        "sports1m_32frms": "",
        "sports1m_ft_kinetics_32frms": "kinetics400/r2plus1d_152_sports1m_32f_vmz",
    },
    "r3d_18": {"kinetics_16frms": "kinetics400/r3d_18_torchvision"},
    "mc3_18": {"kinetics_16frms": "kinetics400/mc3_18_torchvision"},
    "r2plus1d_18": {"kinetics_16frms": "kinetics400/r2plus1d_18_torchvision"},
}


def available_pretrainings(architecture: str) -> list[str]:
    """Returns the accepted values of `pretraining`. Raises: ValueError for an unknown architecture."""
    check_name(PUBLISHED, architecture, where="architecture")
    return [*PUBLISHED[architecture]]


def _build(
    architecture: str, pretraining: str, *, num_classes: int | None, folder: str | Path, **stem: bool
) -> nn.Module:
    """Builds a network. With a pretraining it gets the file's weights, and its classes unless num_classes is given."""
    if not pretraining:
        return Clip3D(backbone=architecture, num_class=num_classes or 400, kwargs=stem).network
    path = _find(architecture, pretraining, Path(folder))
    file = load_checkpoint_file(path)
    classes = num_classes or file.description.arguments.get("num_class", 400)
    method = Clip3D(backbone=architecture, num_class=classes, kwargs=stem)
    load_into(method, file, new_head=num_classes is not None)
    return method.network


def published(name: str) -> nn.Module:
    """Builds the network of published weights and fills it: normalised clips (N, C, T, H, W) -> logits (N, K).

    name: one that `python -m tools.weights` lists, or the path of a checkpoint.
    Raises: CheckpointError for weights that cannot be fetched, or do not show their network.
    """
    return method_of(load_checkpoint_file(name)).eval()


def _find(architecture: str, pretraining: str, folder: Path) -> Path:
    check_name(PUBLISHED[architecture], pretraining, where=f"{architecture}: pretraining")
    name = PUBLISHED[architecture][pretraining]
    if not name:
        raise CheckpointError(f"{architecture}: the weights of {pretraining} were announced but never published")
    return published_file(entry(name).url, folder)


def ir_csn_152(
    pretraining: str = "",
    use_pool1: bool = True,
    *,
    num_classes: int | None = None,
    folder: str | Path = PRETRAINED,
) -> nn.Module:
    """Builds the interaction-reduced channel-separated network, 152 layers (Tran et al. 2019, arXiv 1904.02811).

    pretraining: a name in `available_pretrainings`; its file is looked up in `folder`, and fetched if it is not there.
        "" keeps random weights.
    use_pool1: max pool behind the stem.
    num_classes: default: the number in the file, 359 for ig65m, 487 for Sports-1M, 400 for Kinetics. Another number
        keeps the body and starts a new classifier.

    Raises: ValueError for an unknown pretraining, with the known ones; CheckpointError for a file that cannot be
        fetched, with its address.
    """
    return _build("ir_csn_152", pretraining, num_classes=num_classes, folder=folder, stem_pool=use_pool1)


def ip_csn_152(
    pretraining: str = "",
    use_pool1: bool = True,
    *,
    num_classes: int | None = None,
    folder: str | Path = PRETRAINED,
) -> nn.Module:
    """Builds the interaction-preserved channel-separated network, 152 layers; arguments as in ir_csn_152."""
    return _build("ip_csn_152", pretraining, num_classes=num_classes, folder=folder, stem_pool=use_pool1)


def r2plus1d_34(
    pretraining: str = "",
    use_pool1: bool = False,
    *,
    num_classes: int | None = None,
    folder: str | Path = PRETRAINED,
) -> nn.Module:
    """Builds R(2+1)D, 34 layers (Tran et al. 2018, arXiv 1711.11248); arguments as in ir_csn_152.

    The file of ig65m has 487 classes for 8 frames and 359 for 32 frames.
    """
    return _build("r2plus1d_34", pretraining, num_classes=num_classes, folder=folder, stem_pool=use_pool1)


def r2plus1d_152(
    pretraining: str = "",
    use_pool1: bool = True,
    *,
    num_classes: int | None = None,
    folder: str | Path = PRETRAINED,
) -> nn.Module:
    """Builds R(2+1)D, 152 layers; arguments as in ir_csn_152."""
    return _build("r2plus1d_152", pretraining, num_classes=num_classes, folder=folder, stem_pool=use_pool1)


def r3d_18(pretraining: str = "", *, num_classes: int | None = None, folder: str | Path = PRETRAINED) -> nn.Module:
    """Builds torchvision's R3D, 18 layers; arguments as in ir_csn_152."""
    return _build("r3d_18", pretraining, num_classes=num_classes, folder=folder)


def mc3_18(pretraining: str = "", *, num_classes: int | None = None, folder: str | Path = PRETRAINED) -> nn.Module:
    """Builds torchvision's MC3, 18 layers; arguments as in ir_csn_152."""
    return _build("mc3_18", pretraining, num_classes=num_classes, folder=folder)


def r2plus1d_18(pretraining: str = "", *, num_classes: int | None = None, folder: str | Path = PRETRAINED) -> nn.Module:
    """Builds torchvision's R(2+1)D, 18 layers; arguments as in ir_csn_152."""
    return _build("r2plus1d_18", pretraining, num_classes=num_classes, folder=folder)

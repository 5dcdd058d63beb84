"""Lists the image networks of the matrix, and so its cells. A new network is one line here."""

from __future__ import annotations

from collections.abc import Iterator

from tools.proving.cells import MODULES, Backbone, Cell
from utils.errors import UserError

BACKBONES = (
    Backbone("resnet18"),
    Backbone("resnet50"),
    Backbone("mobilenetv2"),
    Backbone("timm/res2net50_26w_4s"),
    Backbone("timm/mobilenetv3_large_100"),
    Backbone("timm/efficientnet_lite0"),
    Backbone("timm/repvgg_a0"),
    Backbone("timm/convnext_atto"),
    Backbone("timm/vit_tiny_patch16_224", sized=True),
    Backbone("timm/vit_xsmall_patch16_clip_224", sized=True),
    Backbone("timm/vit_small_patch14_dinov2", side=56, sized=True),
    Backbone("timm/vit_small_patch16_dinov3", sized=True),
    Backbone("timm/vit_base_patch16_siglip_224", sized=True),
)


def cells(names: list[str]) -> Iterator[Cell]:
    """Yields the cells of the modules and of the image networks that are named; without a name of a kind, of all.

    Raises: UserError for a name that is neither.
    """
    known = [*MODULES, *(backbone.name for backbone in BACKBONES)]
    for name in names:
        if name not in known:
            raise UserError(f"{name}: is in neither direction of the matrix; names: {', '.join(known)}")
    modules = [name for name in MODULES if name in names] or MODULES
    backbones = [one for one in BACKBONES if one.name in names] or BACKBONES
    yield from (Cell(module, backbone) for backbone in backbones for module in modules)

"""Translates X3D of PyTorchVideo, of its accelerator ("efficient X3D"), of PySlowFast and of mmaction2.

Each project's layout recognises its own files and asks here for this network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, State
from networks.checkpoints.layouts.identify import blocks_of, describe_clip_network, with_prefix
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.clip.x3d import X3DS, depths

# a key of the spatial half of its stem, which no other network has, per naming
PYTORCHVIDEO, EFFICIENT = "blocks.0.conv.conv_t.weight", "s1.pathway0_stem_conv_xy.kernel.conv.weight"
PYSLOWFAST, MMACTION2 = "s1.pathway0_stem.conv_xy.weight", "backbone.conv1_s.conv.weight"
# the network that is assumed, of one that is efficient or not; XS, S and M differ in nothing that a file holds
ASSUMED = {False: ("x3d_m", "x3d_l"), True: ("efficient_x3d_s",)}
_SIZE = re.compile(r"x3d_(xs|s|m|l)(?![a-z])", re.IGNORECASE)
_CLIP = ("clip_len", "frame_stride")


def _same(pairs: Sequence[tuple[str, str]]) -> list[Rule]:
    """Makes a rule for each pair of modules: what follows their names, such as .weight, stays."""
    return [(rf"{theirs}\.(.+)", rf"{ours}.\{re.compile(theirs).groups + 1}") for theirs, ours in pairs]


def _stages(first: int, block: str) -> list[tuple[int, str]]:
    """Returns the number of each stage here, and the pattern of a block there, whose number is its only group."""
    return [(number, block.format(first + number - 1)) for number in range(1, 5)]


def _pytorchvideo() -> list[Rule]:
    pairs = [
        (r"blocks\.0\.conv\.conv_t", "conv1_s"),  # the names are the wrong way round there
        (r"blocks\.0\.conv\.conv_xy", "conv1_t"),
        (r"blocks\.0\.norm", "bn1"),
        (r"blocks\.5\.pool\.pre_conv", "conv5"),
        (r"blocks\.5\.pool\.pre_norm", "bn5"),
        (r"blocks\.5\.pool\.post_conv", "conv6"),
        (r"blocks\.5\.proj", "fc"),
    ]
    for stage, block in _stages(1, r"blocks\.{}\.res_blocks\.(\d+)"):
        ours = rf"layer{stage}.\1"
        pairs += [
            (rf"{block}\.branch1_conv", f"{ours}.downsample.0"),
            (rf"{block}\.branch1_norm", f"{ours}.downsample.1"),
            (rf"{block}\.branch2\.norm_b\.1\.block\.0", f"{ours}.se.fc1"),
            (rf"{block}\.branch2\.norm_b\.1\.block\.2", f"{ours}.se.fc2"),
            (rf"{block}\.branch2\.norm_b\.0", f"{ours}.bn2"),
            *((rf"{block}\.branch2\.conv_{letter}", f"{ours}.conv{n}") for n, letter in enumerate("abc", 1)),
            *((rf"{block}\.branch2\.norm_{letter}", f"{ours}.bn{n}") for n, letter in ((1, "a"), (3, "c"))),
        ]
    return _same(pairs)


def _efficient() -> list[Rule]:
    pairs = [
        (r"s1\.pathway0_stem_conv_xy\.kernel\.conv", "conv1_s"),
        (r"s1\.pathway0_stem_conv\.kernel\.conv", "conv1_t"),
        (r"s1\.pathway0_stem_conv\.kernel\.bn", "bn1"),
        (r"head\.conv_5\.kernel\.conv", "conv5"),
        (r"head\.conv_5\.kernel\.bn", "bn5"),
        (r"head\.lin_5\.kernel\.conv", "conv6"),
        (r"projection\.model", "fc"),
    ]
    for stage, block in _stages(2, r"s{}\.pathway0_res(\d+)"):
        ours = rf"layer{stage}.\1"
        pairs += [
            (rf"{block}\._res_proj\.kernel\.conv", f"{ours}.downsample.0"),
            (rf"{block}\._res_proj\.kernel\.bn", f"{ours}.downsample.1"),
            (rf"{block}\.layers\.se\.se\.block\.0", f"{ours}.se.fc1"),
            (rf"{block}\.layers\.se\.se\.block\.2", f"{ours}.se.fc2"),
            *((rf"{block}\.layers\.conv_{n}\.kernel\.conv", f"{ours}.conv{n + 1}") for n in range(3)),
            *((rf"{block}\.layers\.conv_{n}\.kernel\.bn", f"{ours}.bn{n + 1}") for n in range(3)),
        ]
    return _same(pairs)


def _pyslowfast() -> list[Rule]:
    pairs = [
        (r"s1\.pathway0_stem\.conv_xy", "conv1_s"),
        (r"s1\.pathway0_stem\.conv", "conv1_t"),
        (r"s1\.pathway0_stem\.bn", "bn1"),
        (r"head\.conv_5", "conv5"),
        (r"head\.conv_5_bn", "bn5"),
        (r"head\.lin_5", "conv6"),
        (r"head\.projection", "fc"),
    ]
    for stage, block in _stages(2, r"s{}\.pathway0_res(\d+)"):
        ours = rf"layer{stage}.\1"
        pairs += [
            (rf"{block}\.branch1", f"{ours}.downsample.0"),
            (rf"{block}\.branch1_bn", f"{ours}.downsample.1"),
            (rf"{block}\.branch2\.se", f"{ours}.se"),
            *((rf"{block}\.branch2\.{letter}", f"{ours}.conv{n}") for n, letter in enumerate("abc", 1)),
            *((rf"{block}\.branch2\.{letter}_bn", f"{ours}.bn{n}") for n, letter in enumerate("abc", 1)),
        ]
    return _same(pairs)


def _mmaction2() -> list[Rule]:
    block, ours = r"backbone\.(layer\d\.\d+)", r"\1"
    return _same(
        [
            (r"backbone\.conv1_s\.conv", "conv1_s"),
            (r"backbone\.conv1_t\.conv", "conv1_t"),
            (r"backbone\.conv1_t\.bn", "bn1"),
            (rf"{block}\.downsample\.conv", f"{ours}.downsample.0"),
            (rf"{block}\.downsample\.bn", f"{ours}.downsample.1"),
            (rf"{block}\.se_module", f"{ours}.se"),
            *((rf"{block}\.conv{n}\.conv", f"{ours}.conv{n}") for n in (1, 2, 3)),
            *((rf"{block}\.conv{n}\.bn", f"{ours}.bn{n}") for n in (1, 2, 3)),
            (r"backbone\.conv5\.conv", "conv5"),
            (r"backbone\.conv5\.bn", "bn5"),
            (r"cls_head\.fc1", "conv6"),
            (r"cls_head\.fc2", "fc"),
        ]
    )


RULES = {PYTORCHVIDEO: _pytorchvideo, EFFICIENT: _efficient, PYSLOWFAST: _pyslowfast, MMACTION2: _mmaction2}


def is_x3d(state: State) -> bool:
    """Tells whether these are weights of X3D under the names of one of the projects."""
    return any(key in state for key in RULES)


def convert_x3d(state: State) -> tuple[dict[str, Tensor], Description]:
    """Turns weights of X3D into entries of our state dict and a description, as `Layout.convert` does."""
    naming = next(key for key in RULES if key in state)
    ours = rename(state, RULES[naming]())
    if naming == MMACTION2 and (last := ours.get("conv6.weight")) is not None:
        ours["conv6.weight"] = last.reshape(*last.shape, *[1] * (5 - last.ndim))  # a linear layer there
    found = blocks_of(ours)
    name = next((name for name in ASSUMED[naming == EFFICIENT] if depths(X3DS[name].depth) == found), None)
    if name is None:
        notes = [f"backbone: X3D with {found} blocks per stage, which does not exist here"]
        return with_prefix(ours), Description(method="clip3d", notes=notes)
    kwargs: dict[str, Any] = {}
    if naming in (PYSLOWFAST, MMACTION2):
        kwargs["first_shortcut_norm"] = True
        kwargs |= {"position_average": "scores"} if naming == PYSLOWFAST else {"crop_size": None}
    description = describe_clip_network(name, ours, kwargs=kwargs)
    row = X3DS[name]
    description.arguments |= {"clip_len": row.frames, "frame_stride": row.stride}
    description.assumed = _CLIP
    description.notes.append(
        f"clip_len and frame_stride: not in the file, and X3D-XS, S and M have the same weights; {row.frames} and "
        f"{row.stride} are assumed, as in {name}"
    )
    return with_prefix(ours), description


def read_name(description: Description, name: str) -> None:
    """Finds out which X3D it is: by its clip, if the file's config tells that, else by the file's name, X3D_XS.pyth."""
    if description.backbone not in X3DS:
        return
    start, depth = description.backbone.rpartition("_")[0], X3DS[description.backbone].depth
    rows = {size: row for size, row in X3DS.items() if size.rpartition("_")[0] == start and row.depth == depth}
    if set(_CLIP) <= set(description.assumed):
        found = _SIZE.search(name)
        if found and (named := f"{start}_{found[1].lower()}") in rows:
            description.backbone, row = named, rows[named]
            description.arguments |= {"clip_len": row.frames, "frame_stride": row.stride}
            description.assumed = ()
            description.notes = [note for note in description.notes if not note.startswith("clip_len")]
            description.notes.append(
                f"clip_len {row.frames} and frame_stride {row.stride}: as in {named}, from the name of the file"
            )
    else:
        clip_len = description.arguments["clip_len"]
        description.backbone = next((size for size in rows if rows[size].frames == clip_len), description.backbone)

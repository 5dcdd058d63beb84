"""Says what makes one doubt that a file still holds the weights that were once written into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.errors import CheckpointError
from utils.files import sha256
from utils.published.sums import known_sum
from utils.torch_file import SUM, not_finite, sum_of

ROUNDED = (torch.float16, torch.bfloat16)
# what begins as zero: adapters, vectors of frames, tokens that read frames. After a training, none is
BEGIN_AT_ZERO = re.compile(
    r"(?:.*\.)?(?:temporal\.(?:(?:\w+\.)?(?:up|time)|embedding)|temporal_cls_token|balance)\.weight"
)
# the bias of one projection of an attention, or of several that are joined, in any project's names
PROJECTION = re.compile(r"(?:.*[._])?(qkv|in_proj|kv|query|key|value|[qkv])(?:_proj)?[._]bias")
BLOCK = re.compile(r"(?<=\.)\d+(?=\.)")
NEVER_TURNED = "qv"  # what biases of a pooler are learned: it knows no places
UNUSED = re.compile(r"(?:.*\.)?(?:\w+_)?(?:decoder|predictor)(?:_\w+)?\..*")  # of a pre-training
FEW = 10  # where more than a tenth of the entries of a kind are all zero, that is usual


def doubts_about(path: Path, contents: Any) -> list[str]:
    """Says that a file is not the one that was once written, or that nothing tells whether it is.

    contents: what was read from it.
    """
    changed = _wrong_sum(contents)
    known, where = known_sum(path)
    if known and not (found := sha256(path)).startswith(known):
        text = f"its SHA-256 begins with {found[:8]}, {where} says {known[:8]}"
        return [f"{text}: it may be another file, changed or cut off", *changed]
    if known or _has_sum(contents):
        return changed
    return [
        f"nothing tells whether these are the weights that were published: no SHA-256 is in its name or beside it in "
        f"{path.name}.sha256, as sha256sum writes it; that of the file begins with {sha256(path)[:8]}"
    ]


def _has_sum(contents: Any) -> bool:
    return isinstance(contents, Mapping) and SUM in contents


def _wrong_sum(contents: Any) -> list[str]:
    """Says that the weights of a checkpoint of ours are not those that were saved."""
    if not _has_sum(contents):
        return []
    state = contents.get("state_dict")
    plain = isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())
    same = plain and sum_of(dict(state)) == contents[SUM]
    return [] if same else ["its weights were changed after the run had saved them"]


def odd_values(state: Mapping[str, Tensor]) -> list[str]:
    """Says which weights look as if they were lost: zeros where networks have none, and rounded numbers."""
    kinds: dict[tuple[str, int], list[str]] = {}
    zero: set[str] = set()
    for key, value in state.items():
        if value.is_floating_point() and not value.is_meta and value.numel() > 1:
            kinds.setdefault((key.rpartition(".")[2], min(value.dim(), 2)), []).append(key)
            if not value.reshape(-1)[0] and not value.any():  # the first number saves reading all of them
                zero.add(key)
    found: list[str] = []
    trained = any(BEGIN_AT_ZERO.fullmatch(key) and key not in zero for key in state)
    for (name, axes), keys in kinds.items():
        empty = [key for key in keys if key in zero]
        lost = [key for key in empty if trained or not BEGIN_AT_ZERO.fullmatch(key)]
        usual = (
            axes < 2 and name != "running_var" and (len(empty) > max(1, len(keys) // FEW) or len(empty) == len(keys))
        )
        found += [] if usual else lost
    rounded = [key for key, value in state.items() if value.dtype in ROUNDED]
    texts = [f"{_some(found)}: all zero, as in a file that has lost them"] if found else []
    return texts + ([f"{_some(rounded)}: rounded to {state[rounded[0]].dtype} in the file"] if rounded else [])


def refuse_lost_biases(state: Mapping[str, Tensor], learned: str) -> None:
    """Raises CheckpointError if one kind of bias is zero in all blocks of a transformer, as it is in none that learned.

    The message has the file's own name of it. Biases outside of blocks may be zero, as those of a new classifier are;
    those of projections are looked at wherever they are.

    state: the file's weights under its own names. learned: see `Layout`.
    """
    kinds: dict[str, list[str]] = {}
    for key, value in state.items() if learned else ():
        if key.endswith("bias") and value.dim() == 1 and not UNUSED.fullmatch(key):
            kinds.setdefault(BLOCK.sub("*", key, count=1), []).append(key)
    for keys in kinds.values():
        parts = _projections(keys[0])
        looked_at = [part for part in parts if part in (learned if "pooler" not in keys[0] else NEVER_TURNED)]
        for part in looked_at if parts else [""] if len(keys) > 1 else []:
            place = max(parts.find(part), 0)
            if not any(state[key].tensor_split(len(parts) or 1)[place].any() for key in keys):
                of = f" ({part} in it)" if len(parts) > 1 else ""
                where = f"in all {len(keys)} blocks" if len(keys) > 1 else "throughout"
                raise CheckpointError(
                    f"{keys[0]}{of}: zero {where}, as in a file that has lost its biases; transformers 5 writes such "
                    f"files where it cannot read one; take the original file"
                )


def _projections(key: str) -> str:
    """Returns the letters of the projections that a bias belongs to, in order: qkv, kv, q, k or v; "" for none."""
    match = PROJECTION.fullmatch(key)
    if match is None:
        return ""
    return {"in_proj": "qkv", "query": "q", "key": "k", "value": "v"}.get(match[1], match[1])


def refuse_not_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raises CheckpointError for weights of a diverged run or a damaged file, because their scores would be NaN."""
    if fault := not_finite(state):
        raise CheckpointError(f"{path}: {fault}; take a checkpoint from before its training diverged")


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more

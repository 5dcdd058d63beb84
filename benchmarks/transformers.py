"""Compares video transformers with the modules of `transformers` and, for Hiera, of its authors, on a CPU.

Both have the same weights and score the same clip by turns, in evaluation; a ratio is the median over the rounds of one
thread's CPU time. It needs their packages: pip install transformers hiera-transformer. `--write` puts the table into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # started as `python benchmarks/transformers.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli
from utils.errors import UserError

HEAD = ["network", "clip", "ms", "theirs", "theirs, ms", "x", "difference"]
LEGEND = (
    "ms: CPU time of one clip. x: how many times as fast as their module, with the attention that it takes by default "
    "(scaled dot product). difference: largest one of a logit, divided by the spread of the logits. On a GPU none of "
    "them has been run or timed."
)


@dataclass(frozen=True)
class Pair:
    """A network here, and their module for it, with its configuration.

    peer: name of the class's beginning in `transformers`; "" for the authors' Hiera.
    clip: (T, H, W). kwargs: of the network here.
    """

    name: str
    backbone: str
    peer: str
    config: dict[str, Any]
    clip: tuple[int, int, int]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """Returns the package that their module is in."""
        return "transformers" if self.peer else "hiera"


PAIRS = (
    Pair("VideoMAE-B, 4 blocks", "videomae_b", "VideoMAE", {"image_size": 112, "num_frames": 16}, (16, 112, 112)),
    Pair(
        "TimeSformer-B, 4 blocks",
        "timesformer_b",
        "Timesformer",
        {"image_size": 112, "num_frames": 8},
        (8, 112, 112),
        {"spatial_size": 112},
    ),
    Pair(
        "ViViT-B, 4 blocks",
        "vivit_b",
        "Vivit",
        {"image_size": 112, "num_frames": 16, "hidden_act": "gelu_fast"},
        (16, 112, 112),
        {"spatial_size": 112},
    ),
    Pair(
        "V-JEPA 2 L, 4 blocks",
        "vjepa2_l",
        "VJEPA2",
        {"crop_size": 128, "frames_per_clip": 16, "hidden_size": 1024, "num_attention_heads": 16},
        (16, 128, 128),
    ),
    Pair(
        "Hiera-B, 8 blocks",
        "hiera_base",
        "",
        {"input_size": (16, 128, 128), "stages": (2, 2, 2, 2)},
        (16, 128, 128),
        {"depths": [2, 2, 2, 2], "spatial_size": 128},
    ),
)
BLOCKS, CLASSES = 4, 400
HIERA = {  # its authors' arguments for clips
    "q_stride": (1, 2, 2),
    "mask_unit_size": (1, 8, 8),
    "patch_kernel": (3, 7, 7),
    "patch_stride": (2, 4, 4),
    "patch_padding": (1, 3, 3),
    "sep_pos_embed": True,
}


def their_module(pair: Pair, package: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Builds their module with random weights; returns it, and what gives its logits for a clip (1, 3, T, H, W)."""
    import torch

    if pair.package == "hiera":
        module = package.Hiera(num_classes=CLASSES, **HIERA, **pair.config).eval()
        module.head.act_func = torch.nn.Identity()  # scores otherwise
        return module, module
    options = {**pair.config, "num_hidden_layers": BLOCKS, "num_labels": CLASSES}
    settings = getattr(package, f"{pair.peer}Config")(**options)
    module = getattr(package, f"{pair.peer}ForVideoClassification")(settings).eval()
    argument = "pixel_values_videos" if pair.peer == "VJEPA2" else "pixel_values"
    return module, lambda clip: module(**{argument: clip.transpose(1, 2).contiguous()}).logits


def measure(pair: Pair, package: Any, *, rounds: int, folder: Path) -> list[str]:
    """Returns one row of the table."""
    import numpy as np
    import torch

    from methods.clip3d import Clip3D
    from networks.checkpoints.load import load_into

    torch.manual_seed(0)
    theirs, scored = their_module(pair, package)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    torch.save(theirs.state_dict(), folder / "peer.pth")
    kwargs = pair.kwargs if "depths" in pair.kwargs else {"depth": BLOCKS, **pair.kwargs}
    ours = Clip3D(backbone=pair.backbone, num_class=CLASSES, clip_len=pair.clip[0], kwargs=kwargs).eval()
    load_into(ours, folder / "peer.pth")
    clip = torch.randn(1, 3, *pair.clip)
    runs: dict[str, Callable[[], Any]] = {"ours": lambda: ours(clip), "theirs": lambda: scored(clip)}
    found: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        expected, logits = runs["theirs"](), runs["ours"]()
        for turn in range(rounds + 1):
            for name in np.random.default_rng(turn).permutation(list(runs)):
                began = time.process_time()
                runs[name]()
                found[name].append(time.process_time() - began)
    own, other = (np.array(found[name][1:]) for name in ("ours", "theirs"))  # the first round warms up
    difference = float((logits - expected).abs().max() / (expected.max() - expected.min()))
    mine, its = (f"{1000 * np.median(seconds):.0f}" for seconds in (own, other))
    size = " x ".join(map(str, pair.clip))
    return [pair.name, size, mine, pair.package, its, f"{np.median(other / own):.2f}", f"{difference:.0e}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.transformers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=positive_int, default=9, help="clips for each (default 9)")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="networks whose name contains one")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)
    import importlib
    import tempfile

    import torch

    from benchmarks._page import table, write_section

    pairs = [one for one in PAIRS if not args.only or any(part.lower() in one.name.lower() for part in args.only)]
    packages = {}
    for name in dict.fromkeys(pair.package for pair in pairs):
        try:
            packages[name] = importlib.import_module(name)
        except ImportError:
            wanted = {"hiera": "hiera-transformer"}.get(name, name)
            raise UserError(f"benchmarks.transformers: {name} is not installed: pip install {wanted}") from None
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs:
            rows.append(measure(pair, packages[pair.package], rounds=args.rounds, folder=Path(folder)))
            print(" | ".join(rows[-1]), flush=True)
    versions = ", ".join(f"{name} {getattr(package, '__version__', '')}".strip() for name, package in packages.items())
    body = f"{versions}, one thread, float32, medians of {args.rounds} rounds taken by turns.\n\n"
    body += table(HEAD, rows) + "\n\n" + LEGEND
    print("\n" + body)
    if args.write:
        write_section("Video transformers on a CPU", f"python -m benchmarks.transformers --rounds {args.rounds}", body)
    return 0


if __name__ == "__main__":
    run_cli(main)

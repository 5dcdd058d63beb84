"""Compares video transformers with the modules of Hugging Face's `transformers`, in evaluation on a CPU.

Both have the same weights and score the same clip by turns; a ratio is the median over the rounds of one thread's CPU
time. It needs the package: pip install transformers. `--write` puts the table into docs/benchmarks.md.
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

HEAD = ["network", "clip", "ms", "transformers, ms", "x", "difference"]
LEGEND = (
    "ms: CPU time of one clip. x: how many times as fast as the module of `transformers` with its default attention "
    "(scaled dot product). difference: largest one of a logit, divided by the spread of the logits."
)


@dataclass(frozen=True)
class Pair:
    """A network here, and the class of `transformers` for it, with its configuration.

    clip: (T, H, W). kwargs: of the network here.
    """

    name: str
    backbone: str
    peer: str
    config: dict[str, Any]
    clip: tuple[int, int, int]
    kwargs: dict[str, Any] = field(default_factory=dict)


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
)
BLOCKS, CLASSES = 4, 400


def measure(pair: Pair, peers: Any, *, rounds: int, folder: Path) -> list[str]:
    """Returns one row of the table."""
    import numpy as np
    import torch

    from methods.clip3d import Clip3D
    from networks.checkpoints.load import load_into

    torch.manual_seed(0)
    options = {**pair.config, "num_hidden_layers": BLOCKS, "num_labels": CLASSES}
    settings = getattr(peers, f"{pair.peer}Config")(**options)
    theirs = getattr(peers, f"{pair.peer}ForVideoClassification")(settings).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    torch.save(theirs.state_dict(), folder / "peer.pth")
    kwargs = {"depth": BLOCKS, **pair.kwargs}
    ours = Clip3D(backbone=pair.backbone, num_class=CLASSES, clip_len=pair.clip[0], kwargs=kwargs).eval()
    load_into(ours, folder / "peer.pth")
    clip = torch.randn(1, 3, *pair.clip)
    frames = clip.transpose(1, 2).contiguous()
    argument = "pixel_values_videos" if pair.peer == "VJEPA2" else "pixel_values"
    runs: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours(clip),
        "theirs": lambda: theirs(**{argument: frames}).logits,
    }
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
    times = [f"{1000 * np.median(seconds):.0f}" for seconds in (own, other)]
    size = " x ".join(map(str, pair.clip))
    return [pair.name, size, *times, f"{np.median(other / own):.2f}", f"{difference:.0e}"]


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

    try:
        peers = importlib.import_module("transformers")
    except ImportError:
        raise UserError("benchmarks.transformers: the package is not installed: pip install transformers") from None
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in PAIRS:
            if not args.only or any(part.lower() in pair.name.lower() for part in args.only):
                rows.append(measure(pair, peers, rounds=args.rounds, folder=Path(folder)))
                print(" | ".join(rows[-1]), flush=True)
    body = f"transformers {peers.__version__}, one thread, float32, medians of {args.rounds} rounds taken by turns.\n\n"
    body += table(HEAD, rows) + "\n\n" + LEGEND
    print("\n" + body)
    if args.write:
        write_section("Video transformers on a CPU", f"python -m benchmarks.transformers --rounds {args.rounds}", body)
    return 0


if __name__ == "__main__":
    run_cli(main)

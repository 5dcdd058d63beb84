"""Compares training and evaluation steps with those of peers, in one run: clips/s, memory, model FLOP/s and ratios.

The peers are (a) the same network as its authors run it: float32, N,C,T,H,W, eager, with the published shift;
(b) torchvision's or, where it is installed, PyTorchVideo's video module, with mixed precision; (c) torchvision's
ResNet-50 on the same frames, which is the limit for a 2-D network.
A second table holds every temporal module, the relations and the neck, against TSN on the same image network; `--table
modules` computes it alone. `--write` puts the tables into docs/benchmarks.md; `--quick` uses small clips and takes a
minute on a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # started as `python benchmarks/step.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import resnet50, video

from benchmarks._page import table, write_section
from methods import METHODS
from methods.base import Method
from networks.prepare import to_channels_last
from networks.temporal import TEMPORAL_MODULES
from networks.temporal.shift import TemporalShift
from utils.cli import Parser, run_cli
from utils.processes.launch import choose_device
from utils.run.flops import multiply_adds
from utils.training.precision import Precision

HEAD = ["network", "step", "clips/s", "GB", "TFLOP/s", "x (a)", "x (b)", "x (c)"]
MODULES_HEAD = ["module", "step", "clips/s", "time / TSN", "multiply-adds / TSN", "beyond them"]
TABLES = ("steps", "modules")
MODULES_BACKBONE = "resnet50"
VIT = "timm/vit_base_patch16_clip_224"
OWN_BACKBONES = {"tea": "timm/res2net50_26w_4s", "st_adapter": VIT, "aim": VIT}  # of modules that do not fit it
# what lets frames see each other, by the name of its row: arguments of TSN
MODULES: dict[str, dict[str, Any]] = {
    **{name: {"temporal": {"name": name}} for name in TEMPORAL_MODULES},
    "trn": {"consensus": "trn"},
    "trn_multiscale": {"consensus": "trn_multiscale"},
    "tpn": {"neck": "tpn"},
}


@dataclass(frozen=True)
class Contest:
    """One of our methods at one clip size, and the networks it is compared with.

    clip: T, H, W.
    module: makes (b), a network that takes clips.
    on_frames: whether it is compared with (c), which takes the same frames.
    """

    name: str
    method: Callable[[], nn.Module]
    clip: tuple[int, int, int]
    batch: int
    module: Callable[[], nn.Module] | None = None
    on_frames: bool = False


class Step:
    """A training or evaluation step of one network, on one batch that stays on the device."""

    def __init__(self, model: nn.Module, clips: Tensor, *, train: bool, amp: str, channels_last: bool) -> None:
        device = clips.device
        self.model = model.to(device).train(train)
        if channels_last:
            to_channels_last(self.model)
            # the memory order that the loader delivers: N,T,H,W,C
            clips = clips.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)
        self.clips, self.train = clips, train
        self.precision = Precision(amp, device)
        self.labels = torch.zeros(len(clips), dtype=torch.int64, device=device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-6, momentum=0.9)

    def __call__(self) -> None:
        """Runs one step."""
        with contextlib.nullcontext() if self.train else torch.no_grad():
            with self.precision.autocast():
                logits = self.model(self.clips)
            if self.train:
                self.optimizer.zero_grad(set_to_none=True)
                labels = self.labels.repeat_interleave(len(logits) // len(self.labels))
                self.precision.backward(nn.functional.cross_entropy(logits.float(), labels))
                self.precision.update(self.optimizer, self.model, clip_gradient=None)


class OnFrames(nn.Module):
    """An image network on each frame of a clip: (B, C, T, H, W) -> (B * T, K)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        """Runs all frames at once."""
        logits: Tensor = self.network(clips.transpose(1, 2).flatten(0, 1))
        return logits


class TwoRates(nn.Module):
    """A network of PyTorchVideo that takes a clip (B, C, T, H, W) as a list of its slow and its fast frames."""

    def __init__(self, network: nn.Module, alpha: int) -> None:
        super().__init__()
        self.network, self.alpha = network, alpha

    def forward(self, clips: Tensor) -> Tensor:
        """Runs the network on every alpha-th frame and on all frames."""
        logits: Tensor = self.network([clips[:, :, :: self.alpha], clips])
        return logits


def pytorchvideo_slowfast() -> Callable[[], nn.Module] | None:
    """Returns what builds PyTorchVideo's SlowFast 8x8 R50; None without `pip install pytorchvideo`."""
    try:
        from pytorchvideo.models.slowfast import create_slowfast  # type: ignore[import-not-found]
    except ImportError:
        return None
    return lambda: TwoRates(create_slowfast(model_num_class=400), alpha=4)


def published_shift(self: TemporalShift, x: Tensor) -> Tensor:
    """Shifts as Lin et al. 2019 describe it: three copies into a tensor of zeros."""
    fold = x.shape[1] // self.shift_div
    clips = x.view(-1, self.num_frames, *x.shape[1:])
    out = torch.zeros_like(clips)
    out[:, :-1, :fold] = clips[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return out.view_as(x)


def as_published(model: nn.Module) -> nn.Module:
    """Returns the same network with the shift as its authors wrote it."""
    for module in model.modules():
        if isinstance(module, TemporalShift):
            module.forward = published_shift.__get__(module)  # type: ignore[method-assign]
    return model


def contests(device: torch.device, *, quick: bool) -> list[Contest]:
    """Returns contests at the published sizes on a GPU; on a CPU, or with `quick`, at sizes that a CPU can manage."""
    big = device.type == "cuda" and not quick
    side, batch = (224, 32) if big else (64, 2)
    small = 112 if big else 56
    frames = 32 if big else 16

    def method(kind: str, **arguments: Any) -> Callable[[], nn.Module]:
        return lambda: METHODS[kind](num_class=400, **arguments)

    return [
        Contest(
            f"TSN R50 8x{side}", method("tsn", backbone="resnet50", num_segments=8), (8, side, side), batch, None, True
        ),
        Contest(
            f"TSM R50 8x{side}", method("tsm", backbone="resnet50", num_segments=8), (8, side, side), batch, None, True
        ),
        Contest(
            f"SlowFast R50 8x8 {frames}x{side}",
            method("slowfast", backbone="resnet50", clip_len=frames, alpha=4, fusion_kernel=7),
            (frames, side, side),
            max(1, batch // 4),
            pytorchvideo_slowfast() if big else None,  # its head only takes clips of the published size
        ),
        Contest(
            f"R(2+1)D-18 16x{small}",
            method("clip3d", backbone="r2plus1d_18", clip_len=16),
            (16, small, small),
            batch,
            video.r2plus1d_18,
        ),
    ]


def measure(contest: Contest, device: torch.device, *, train: bool, rounds: int) -> list[str]:
    """Returns one row of the table: our network and its peers take turns; ratios are medians over the rounds."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(contest.batch, 3, *contest.clip, generator=generator).to(device)
    layout = (
        device.type == "cuda" or contest.on_frames
    )  # as docs/config.md advises: 3-D kernels for it are slow on CPUs
    makers: dict[str, Callable[[], Step]] = {
        "ours": lambda: Step(contest.method(), clips, train=train, amp="auto", channels_last=layout),
        "a": lambda: Step(as_published(contest.method()), clips, train=train, amp="off", channels_last=False),
    }
    if contest.module is not None:
        module = contest.module
        makers["b"] = lambda: Step(module(), clips, train=train, amp="auto", channels_last=False)
    if contest.on_frames:
        makers["c"] = lambda: Step(OnFrames(resnet50()), clips, train=train, amp="auto", channels_last=True)
    steps = {name: make() for name, make in makers.items()}
    memory = {name: peak_memory(step, device) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds):
        for name in np.random.default_rng(turn).permutation(list(steps)):
            seconds[name].append(timed(steps[name], device))
    ours = np.array(seconds["ours"])
    with torch.device("meta"):
        cost = multiply_adds(contest.method(), (1, 3, *contest.clip))
    flops = 2 * cost * contest.batch * (3 if train else 1) / np.median(ours)
    ratios = [f"{np.median(np.array(seconds[name]) / ours):.2f}" if name in seconds else "" for name in ("a", "b", "c")]
    speed = contest.batch / float(np.median(ours))
    gigabytes = f"{memory['ours'] / 1e9:.1f}" if memory["ours"] else ""
    return [contest.name, "train" if train else "eval", f"{speed:.1f}", gigabytes, f"{flops / 1e12:.2f}", *ratios]


def measure_module(name: str, device: torch.device, *, quick: bool, train: bool, rounds: int) -> list[str]:
    """Returns one row of the table of modules: it and TSN take turns, and ratios are medians over the pairs.

    On a CPU one thread computes, and its own seconds are counted, so that other work on the machine counts less.
    """
    if device.type == "cpu":
        torch.set_num_threads(1)  # two that share a core with other work spin while they wait for each other
    big = device.type == "cuda" and not quick
    (side, batch) = (224, 32) if big else (112, 1)
    generator = torch.Generator().manual_seed(0)

    costs, steps = [], []
    for arguments in (MODULES[name], {}):
        with torch.device("meta"):
            network = with_module(name, arguments)
            costs.append(multiply_adds(network, (1, network.clip.in_channels, 8, side, side)))
        clips = torch.randn(batch, network.clip.in_channels, 8, side, side, generator=generator).to(device)
        steps.append(Step(with_module(name, arguments), clips, train=train, amp="auto", channels_last=True))
        steps[-1]()
    pairs = np.empty((rounds, 2))
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for turn in range(rounds):
        for place in np.random.default_rng(turn).permutation(2):
            pairs[turn, place] = timed(steps[place], device, clock)
    speed = batch / float(np.median(pairs[:, 0]))
    slower, dearer = float(np.median(pairs[:, 0] / pairs[:, 1])), costs[0] / costs[1]
    ratios = [f"{value:.2f}" for value in (slower, dearer, slower / dearer)]
    return [name, "train" if train else "eval", f"{speed:.1f}", *ratios]


def with_module(name: str, arguments: dict[str, Any]) -> Method:
    """Builds TSN with these arguments over the image network on which the row `name` is measured."""
    backbone = OWN_BACKBONES.get(name, MODULES_BACKBONE)
    return METHODS["tsn"](num_class=400, backbone=backbone, num_segments=8, **arguments)


def timed(step: Step, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the seconds of one step, including the device's work."""
    wait(device)
    began = clock()
    step()
    wait(device)
    return clock() - began


def peak_memory(step: Step, device: torch.device) -> int:
    """Returns the bytes that the first two steps take on the device; 0 where the device does not report them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    step()
    step()
    wait(device)
    return torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else 0


def wait(device: torch.device) -> None:
    """Waits until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.step", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--rounds", type=int, default=10, help="steps of each network; networks take turns (default 10)"
    )
    parser.add_argument("--quick", action="store_true", help="use small clips and three rounds")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="NAME", help="networks whose name contains one of these"
    )
    parser.add_argument("--table", choices=TABLES, help="compute this table alone")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    args = parser.parse_args(argv)
    if args.only and args.write:
        parser.error("--write with --only would leave the page a part of a table; leave one of them out")
    device = choose_device(args.device, local_rank=0, world_size=1)
    rounds = 3 if args.quick else args.rounds
    wanted = (args.table,) if args.table else TABLES

    def chosen(label: str) -> bool:
        return not args.only or any(part.lower() in label.lower() for part in args.only)

    def printed(row: list[str]) -> list[str]:
        print(" | ".join(row), flush=True)
        return row

    rows = [
        printed(measure(contest, device, train=train, rounds=rounds))
        for contest in contests(device, quick=args.quick)
        if "steps" in wanted and chosen(contest.name)
        for train in (True, False)
    ]
    module_rows = [
        printed(measure_module(name, device, quick=args.quick, train=train, rounds=rounds))
        for name in MODULES
        if "modules" in wanted and chosen(name)
        for train in (True, False)
    ]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    how = f"{where}, mixed precision {Precision('auto', device).name}, medians of {rounds} rounds taken by turns.\n\n"
    command = "python -m benchmarks.step" + (f" --table {args.table}" if args.table else "")
    command += " --quick" if args.quick else ""
    place = "" if device.type == "cuda" else " on a CPU"
    for title, found, text in (
        ("Steps", rows, table(HEAD, rows) + "\n\n" + LEGEND),
        ("Temporal modules", module_rows, table(MODULES_HEAD, module_rows) + "\n\n" + MODULES_LEGEND),
    ):
        if not found:
            continue
        print(f"\n{how}{text}")
        if args.write:
            write_section(title + place, command, how + text)
    return 0


LEGEND = (
    "How many times as fast as (a) the same network in float32, N,C,T,H,W, eager, with the shift as published; (b) the "
    "same network as torchvision's module, SlowFast as PyTorchVideo's, with mixed precision; (c) torchvision's "
    "ResNet-50 on the same frames, mixed precision, channels last: 1.00 would mean that time costs nothing."
)

MODULES_LEGEND = (
    f"Each module in {MODULES_BACKBONE} with clips of 8 frames, channels last; `tea` in {OWN_BACKBONES['tea']}, the "
    f"adapters in {VIT}, all of which is trained. `time / TSN`: how many times as long a step takes as that of the "
    "network without the module; `beyond them`: that, divided by the ratio of multiply-adds."
)

if __name__ == "__main__":
    run_cli(main)

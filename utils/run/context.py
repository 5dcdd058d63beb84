"""Holds what every part of a run needs besides its network: arguments, config, rank, folder, progress."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from utils.config.command_line import OBSOLETE
from utils.config.file import ConfigFile
from utils.config.schema import Common
from utils.processes.launch import Rank
from utils.processes.memory import keep_freed_memory
from utils.run.folder import RunFolder
from utils.run.progress import Progress
from utils.scoring.evaluation import Evaluation
from utils.training.evaluate import ScoredList, evaluate
from utils.training.precision import Precision, only_repeatable


@dataclass(frozen=True)
class Run:
    """One run of main.py in one process.

    args: the command line.
    config: the experiment's config.
    rank: which of the run's processes this is, and its device.
    folder: receives log.txt, events/ and metrics.jsonl.
    progress: shows how far the run is.
    notes: warnings that checkpoints have to keep.
    """

    args: argparse.Namespace
    config: ConfigFile
    rank: Rank
    folder: RunFolder
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def score(self, model: nn.Module, videos: ScoredList, precision: Precision, name: str) -> Evaluation:
        """Scores a list: validation during training and --evaluate both come here. name: what is scored."""
        share = -(-len(videos) // self.rank.world_size)
        batches = self.progress.validation(videos.eval_batches(self.rank), share)
        found = evaluate(model, videos, batches, precision=precision, device=self.rank.device, name=name)
        for fault in found.faults:
            self.folder.warn(f"left out: {fault}")
        return found

    @property
    def common(self) -> Common:
        """Everything below the config's root key."""
        return self.config.common


@contextlib.contextmanager
def open_run(args: argparse.Namespace, config: ConfigFile, rank: Rank) -> Iterator[Run]:
    """Opens the experiment's folder and log, and sets this process up as the config asks."""
    with (
        RunFolder(config.folder, writer=rank.is_first, training=not args.evaluate) as folder,
        Progress(folder.show, shown=rank.is_first, device=rank.device) as progress,
    ):
        folder.log(f"{rank}, torch {torch.__version__}, seed {config.common.seed}")
        for flag in args.obsolete:
            folder.log(f"{flag} is obsolete and does nothing: {OBSOLETE[flag]}")
        if rank.device.type == "cpu":
            keep_freed_memory()
        if config.common.deterministic:
            only_repeatable()
        yield Run(args, config, rank, folder, progress)

"""Holds what every part of a run needs besides its network: arguments, config, rank, folder, progress."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import nn

from utils.config.command_line import OBSOLETE
from utils.config.file import ConfigFile
from utils.config.schema import Common
from utils.processes.launch import Rank
from utils.processes.memory import keep_freed_memory, return_freed_memory
from utils.processes.threads import keep_apart, limit_threads
from utils.run.about import about_run, config_lines, head_lines
from utils.run.failures import explained
from utils.run.folder import RunFolder
from utils.run.progress import Progress
from utils.training.evaluate import ScoredList, evaluate
from utils.training.evaluate_segments import evaluate_segments
from utils.training.precision import Precision, only_repeatable
from utils.training.teacher import Teacher


class Listed(Protocol):
    """A list of videos that says what it holds; `datasets.split.Split` is one."""

    @property
    def name(self) -> str:
        """Its purpose, "train" or "val"."""
        ...

    def about(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps about it."""
        ...


@dataclass(frozen=True)
class Run:
    """One run of main.py in one process.

    args: the command line.
    config: the experiment's config.
    rank: which of the run's processes this is, and its device.
    folder: receives log.txt, events/ and metrics.jsonl.
    progress: shows how far the run is.
    about: what the run says about itself, as utils.run.about.about_run returns it.
    notes: warnings that checkpoints have to keep.
    decided: what the first list has decided for all of them.
    """

    args: argparse.Namespace
    config: ConfigFile
    rank: Rank
    folder: RunFolder
    progress: Progress
    about: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    decided: dict[str, Any] = field(default_factory=dict)

    def with_config(self, config: ConfigFile) -> Run:
        """Returns the same run by another config, such as the one in a checkpoint of --fusion-list."""
        return replace(self, config=config)

    def note(self, text: str) -> None:
        """Warns in the log, and in every checkpoint from here on, where each text stands once."""
        self.folder.warn(text)
        if text not in self.notes:
            self.notes.append(text)

    def about_training(self, cost: Mapping[str, Any], *lists: Listed | None, teacher: Teacher | None) -> dict[str, Any]:
        """Returns the entries of a checkpoint that say what a training runs with: command, lists, teacher, warnings.

        cost: of the network, as utils.run.summary.network_cost returns it.
        """
        return {
            "run": self.about | dict(cost),
            "lists": {part.name: part.about() for part in lists if part is not None},
            "teacher": None if teacher is None else teacher.about,
            "notes": self.notes,
        }

    def prepare(self, model: nn.Module, *lists: Any) -> None:
        """Makes what lists need before their first batch: features of whole videos, where frames are decoded."""
        for part in lists:
            if part is not None:
                part.prepare(model, self.rank.device, self.folder.log, self.decided)

    def score(self, model: nn.Module, videos: ScoredList, precision: Precision, name: str) -> Any:
        """Scores a list: validation during training and --evaluate both come here. name: what is scored."""
        self.prepare(model, videos)
        share = -(-len(videos) // self.rank.world_size)
        batches = self.progress.validation(videos.eval_batches(self.rank, model), share)
        scored = evaluate_segments if videos.protocol.clip.whole_videos else evaluate
        found = scored(model, videos, batches, precision=precision, device=self.rank.device, name=name)
        for fault in found.faults:
            self.folder.warn(f"left out: {fault}")
        return found

    @property
    def common(self) -> Common:
        """Everything below the config's root key."""
        return self.config.common


@contextlib.contextmanager
def open_run(args: argparse.Namespace, config: ConfigFile, rank: Rank, in_force: Mapping[str, Any]) -> Iterator[Run]:
    """Opens the experiment's folder and log, and sets this process up as the config asks.

    in_force: by dotted path, the values of keys that the config leaves open.
    """
    with (
        RunFolder(config.folder, writer=rank.is_first, training=not args.evaluate, track=config.common.track) as folder,
        explained(),
    ):
        progress = Progress(folder, shown=rank.is_first, device=rank.device)
        about = about_run(args, config, rank, in_force)
        head = [f"{rank}, seed {config.common.seed}", *head_lines(about), f"CPU: {limit_threads()}"]
        folder.log("\n".join(head))
        folder.write(["the config sets:", *config_lines(about)])
        for flag in args.obsolete:
            folder.log(f"{flag} is obsolete and does nothing: {OBSOLETE[flag]}")
        if rank.device.type == "cpu":
            return_freed_memory() if config.common.activation_checkpointing else keep_freed_memory()
            keep_apart()  # now, before torch's threads start
        if config.common.deterministic:
            only_repeatable()
        yield Run(args, config, rank, folder, progress, about)

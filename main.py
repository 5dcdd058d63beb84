"""Trains or evaluates one experiment folder.

    python main.py --config exps/<dataset>/<experiment>/config.yaml [common.key=value ...]
    python main.py --config exps/<dataset>/<experiment>/config.yaml --evaluate

Read from the top: the config becomes a method, a list becomes batches, and both go to `train` or `evaluate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from datasets.assemble import Split, check_pipelines, missing, open_split
from methods.assemble import build_method, method_defaults, missing_pretrained, sync_bn_arguments
from methods.base import Method
from networks.freeze import freeze_bn
from networks.group_sync_bn import convert_group_sync_bn, resolve_group_size
from networks.memory_format import to_channels_last
from networks.weights import LoadReport, load_into, load_pretrained
from utils import checkpoint, distributed, dry_run
from utils.arguments import OBSOLETE, parse_arguments
from utils.config import Common
from utils.config_file import ConfigFile, difference, load_config
from utils.engine import Listeners, Scores, TrainPlan, TrainState, evaluate, train
from utils.errors import ConfigError, UserError, run_cli
from utils.interrupt import StopOnSignal
from utils.loss import LabelSmoothCrossEntropy
from utils.lr_scheduler import schedule
from utils.mixup import MixUp
from utils.optim import make_optimizer, parameter_groups
from utils.precision import Precision
from utils.reports import Result, train_line, train_record
from utils.results import write_results
from utils.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the experiment that the arguments name and returns the exit code."""
    args = parse_arguments(argv)
    config = load_config(args.config, args.overrides)
    with config.located():
        if args.dry_run:
            print(plan_in_words(config))
            return 0
        with (
            distributed.session(config.common.device, same={"config": str(config.raw)}) as process,
            RunFolder(config.folder, writer=process.is_first, training=not args.evaluate) as folder,
        ):
            run = Run(config, args, process, folder)
            return run.evaluate() if args.evaluate else run.train()


class Run:
    """One experiment in one process: its method, its lists, its folder."""

    def __init__(
        self, config: ConfigFile, args: argparse.Namespace, process: distributed.Process, folder: RunFolder
    ) -> None:
        self.config, self.args, self.process, self.folder = config, args, process, folder
        self.common: Common = config.common
        self.notes: list[str] = []  # warnings that the checkpoint keeps
        folder.log(f"{process}, torch {torch.__version__}, seed {self.common.seed}")
        for flag in args.obsolete:
            folder.log(f"{flag} is obsolete and does nothing: {OBSOLETE[flag]}")
        torch.manual_seed(self.common.seed)  # the same random weights in every process
        self.method: Method = build_method(self.common.model)
        for warning in convert_group_sync_bn(self.method, **sync_bn_arguments(self.common.model)):
            folder.warn(warning)
        if self.common.frozen_bn or self.common.partial_bn:
            freeze_bn(self.method, keep_first=not self.common.frozen_bn)
        self.precision = Precision(self.common.amp, process.device, args.static_loss_scale)
        self.val = self.open("val") if self.common.val_source else None

    def train(self) -> int:
        """Trains from the newest checkpoint, the given weights or scratch, until the end or a signal."""
        data = self.open("train")
        resumed = self.load_weights(data.class_names)
        self.to_device()
        groups = parameter_groups(
            self.method, no_wd=self.common.no_wd, policy=self.common.policy, fc_lr5=self.common.fc_lr5
        )
        self.optimizer = make_optimizer(self.common, groups)
        self.state = TrainState.fresh(self.common.print_freq)
        if resumed is not None:
            self.restore(resumed)
        self.rates = schedule(self.common.lr_scheduler, len(data) / (self.common.batch_size * self.process.world_size))
        if self.state.step >= len(self.rates):
            self.folder.log(f"nothing left to do: {self.state.step} of {len(self.rates)} steps are done")
            return 0
        self.folder.log(
            dry_run.summary(
                self.common,
                self.method,
                self.method.clip,
                rates=self.rates,
                num_train=len(data),
                world_size=self.process.world_size,
            )
        )
        with StopOnSignal() as stop:
            finished = train(
                distributed.wrap(self.method, self.process),
                data.train_batches(self.process, start=self.state.step, stop=len(self.rates)),
                criterion=LabelSmoothCrossEntropy(self.common.label_smooth),
                optimizer=self.optimizer,
                pipeline=data.pipeline,
                mix_up=MixUp(self.common.augmentation.mix_up, self.common.augmentation.cut_mix),
                precision=self.precision,
                device=self.process.device,
                plan=TrainPlan.of(self.common, self.rates),
                state=self.state,
                listeners=Listeners(
                    printed=self.print,
                    validate=self.validate,
                    save=lambda best: self.save(data, best),
                    fault=lambda text: self.folder.warn(f"left out: {text}"),
                    stop=stop,
                ),
            )
        if not finished:
            self.folder.log(
                f"{stop} after {self.state.step} steps: checkpoint written, the same command goes on from it"
            )
            return stop.exit_code
        best = f", best Prec@1 {self.state.best_prec1:.3f} after {self.state.best_step} steps" if self.val else ""
        self.folder.log(f"done: {self.state.step} steps{best}")
        return 0

    def evaluate(self) -> int:
        """Scores every video of the validation list once and writes reference_result.*; weights: the best, or given."""
        if self.val is None:
            raise ConfigError("common.val_source: this list is what --evaluate scores; it is not set")
        path = Path(self.args.load_path or self.config.folder / checkpoint.BEST)
        if not path.exists() and not self.args.load_path:
            raise UserError(f"{path}: no best checkpoint yet; train first, or name one with --load-path")
        self.folder.log(self.load(path, self.val.class_names).summary())
        self.to_device()
        scores = self.score(self.val)
        result = Result.of(scores, self.val.protocol(scores))
        self.folder.log(result.line())
        if self.process.is_first:
            written = write_results(
                self.config.folder,
                paths=[self.val.path(int(index)) for index in scores.indices],
                labels=scores.labels,
                scores=scores.scores,
                class_names=self.val.class_names,
                protocol=result.protocol,
            )
            self.folder.log(f"written: {', '.join(map(str, written))}")
        return 0

    # --- the parts of the two verbs, in the order of their use

    def open(self, name: str) -> Split:
        """The training or validation list, checked, with everything that turns its records into batches."""
        split = open_split(self.common, name, self.method.clip, fake=self.args.fake)
        self.folder.log(f"{name}: {split}")
        return split

    def load_weights(self, class_names: list[str] | None) -> dict[str, Any] | None:
        """Own checkpoint before --load-path before `pretrained`; returns the checkpoint to go on from, if any."""
        if self.args.fresh and (old := self.folder.set_aside()):
            self.folder.log(f"--fresh: the files of the earlier run are now in {old}")
        found = None if self.args.fresh else checkpoint.load_newest(self.config.folder)
        if found is not None:
            own, path, warning = found
            if warning:
                self.folder.warn(f"{warning}; going on from {path}")
            self.load(path, class_names)
            self.folder.log(f"going on from {path}, {own['step']} steps done")
            for change in difference(own["config"], self.config.raw):
                self.folder.warn(f"the config has changed since: {change}")
            return own
        if self.args.load_path:
            path = Path(self.args.load_path)
            report = self.load(path, class_names)
            self.folder.log(report.summary())
            return checkpoint.load(path) if self.args.recover else None
        if self.common.model.pretrained:
            report = load_pretrained(self.method, self.common.model.pretrained)
            self.notes += report.warnings
            self.folder.log(report.summary())
        return None

    def load(self, path: Path, class_names: list[str] | None) -> LoadReport:
        """Weights of a file of ours or of any published layout; all of them or an error."""
        return load_into(
            self.method,
            path,
            class_names=class_names,
            new_head=self.args.new_head,
            trust_pickle=self.args.trust_pickle,
        )

    def to_device(self) -> None:
        """Moves the method to where it trains."""
        self.method.to(self.process.device)
        if self.common.channels_last:
            to_channels_last(self.method)

    def restore(self, saved: dict[str, Any]) -> None:
        """Optimizer, loss scale, step, meters and best score of a checkpoint, ours or upstream's."""
        self.optimizer.load_state_dict(saved["optimizer"])
        self.precision.load_state_dict(saved.get("scaler", {}))
        self.state.load_state_dict(saved.get("trainer", {"step": saved["step"], "best_prec1": saved["best_prec1"]}))
        self.notes += [note for note in saved.get("notes", []) if note not in self.notes]
        self.folder.rewind_metrics(self.state.step)

    def print(self, values: dict[str, float]) -> None:
        """One line of log.txt, the scalars of events/, one record of metrics.jsonl."""
        step = self.state.step - 1
        self.folder.log(train_line(step, len(self.rates), values))
        tags = {"loss_train": "loss", "acc1_train": "acc1", "acc5_train": "acc5", "lr": "lr"}
        self.folder.scalars(step, {tag: values[name] for tag, name in tags.items()})
        self.folder.metrics(train_record(step, values))

    def validate(self) -> bool:
        """Scores the validation list; True when top-1 is the best so far."""
        if self.val is None:
            return False
        step = self.state.step - 1
        scores = self.score(self.val)
        result = Result.of(scores, self.val.protocol(scores))
        self.folder.log(f"step {step} {result.line()}")
        self.folder.scalars(step, {"loss_val": result.loss, "acc1_val": result.top1, "acc5_val": result.top5})
        self.folder.metrics(result.record(step))
        return self.state.note_best(result.top1)

    def score(self, split: Split) -> Scores:
        """The one evaluation path: validation during training and --evaluate both come here."""
        with distributed.first_buffers(self.method):  # what is scored is what the checkpoint holds
            return evaluate(
                self.method,
                split.eval_batches(self.process),
                pipeline=split.pipeline,
                precision=self.precision,
                device=self.process.device,
                num_videos=len(split),
                average=split.average,
                fault_budget=self.common.bad_frame_budget,
            )

    def save(self, data: Split, best: bool) -> None:
        """Writes ckpt.pth.tar, and ckpt_best.pth.tar when it is the best."""
        if not self.process.is_first:
            return
        contents = {
            "step": self.state.step,
            "arch": self.method.name,
            "state_dict": checkpoint.with_prefix(self.method.state_dict()),
            "best_prec1": self.state.best_prec1,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.state_dict(),
            "trainer": self.state.state_dict(),
            "config": self.config.raw,
            "class_names": data.class_names,
            "preprocessing": (self.val or data).preprocessing,
            "notes": self.notes,
        }
        checkpoint.save(self.config.folder, contents, best=best)


def plan_in_words(config: ConfigFile) -> str:
    """What --dry-run prints: every key and its value in force, what this machine lacks, and what a run would cost."""
    common = config.common
    with torch.device("meta"):
        method = build_method(common.model)
    check_pipelines(common, method.clip)
    lacking, num_train = missing(common, "train")
    world_size = distributed.expected_world_size()
    group_size = sync_bn_arguments(common.model).get("group_size", 1)
    warnings = [
        resolve_group_size(group_size, world_size)[1],
        lacking,
        missing(common, "val")[0],
        missing_pretrained(method, common.model),
    ]
    per_step = common.batch_size * world_size
    rates = schedule(common.lr_scheduler, (num_train or per_step) / per_step)
    return "\n".join(
        [
            dry_run.explain(config, method_defaults(common.model)),
            "",
            *(f"warning: {warning}" for warning in warnings if warning),
            dry_run.summary(common, method, method.clip, rates=rates, num_train=num_train, world_size=world_size),
        ]
    )


if __name__ == "__main__":
    run_cli(main)

"""Trains or evaluates one experiment folder.

    python main.py --config exps/<dataset>/<experiment>/config.yaml [common.key=value ...]
    python main.py --config exps/<dataset>/<experiment>/config.yaml --evaluate

Read from the top: the config becomes a method, a list becomes batches, and both go to `train` or `evaluate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from datasets.protocol import clip_protocol, values_in_force
from datasets.split import Split, check_dataset, evaluation_of, missing, open_split
from methods.build import method_defaults, missing_pretrained, prepared_method
from networks.checkpoints.load import LoadReport, load_into, load_pretrained
from networks.prepare import to_channels_last
from utils.cli import run_cli
from utils.config.command_line import OBSOLETE, parse_arguments
from utils.config.file import ConfigFile, difference, load_config
from utils.errors import ConfigError, UserError
from utils.processes import session
from utils.processes.memory import keep_freed_memory
from utils.run import checkpoint
from utils.run import summary as dry_run
from utils.run.folder import RunFolder
from utils.run.log_lines import Result, record_training, record_validation
from utils.run.pictures import Watch
from utils.run.profiling import profiled
from utils.run.progress import Progress
from utils.run.stop import StopEarly
from utils.scoring.fusion import config_here, fused, read_evaluation
from utils.scoring.result_files import Evaluation
from utils.scoring.task import task_of
from utils.training.loop import evaluate, train
from utils.training.mixup import MixUp
from utils.training.precision import Precision, only_repeatable
from utils.training.schedule import schedule
from utils.training.state import Listeners, TrainPlan
from utils.training.training import Training


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the experiment that the arguments name and returns the exit code."""
    args = parse_arguments(argv)
    config = load_config(args.config, args.overrides)
    with config.located():
        if args.dry_run:
            print(plan_in_words(config))
            return 0
        with (
            session.session(config.common.device, same={"config": str(config.raw)}) as process,
            RunFolder(config.folder, writer=process.is_first, training=not args.evaluate) as folder,
        ):
            run = Run(config, args, process, folder)
            with run.progress:
                return run.evaluate() if args.evaluate else run.train()


class Run:
    """One experiment in one process: its method, its lists, its folder."""

    def __init__(self, config: ConfigFile, args: argparse.Namespace, process: session.Rank, folder: RunFolder) -> None:
        self.config, self.args, self.process, self.folder = config, args, process, folder
        self.common, self.task = config.common, task_of(config.common)
        folder.log(f"{process}, torch {torch.__version__}, seed {self.common.seed}")
        for flag in args.obsolete:
            folder.log(f"{flag} is obsolete and does nothing: {OBSOLETE[flag]}")
        if process.device.type == "cpu":
            keep_freed_memory()
        if self.common.deterministic:
            only_repeatable()
        torch.manual_seed(self.common.seed)  # the same random weights in every process
        self.method, warnings = prepared_method(self.common)
        for warning in warnings:
            folder.warn(warning)
        self.precision = Precision(self.common.amp, process.device, args.static_loss_scale, model=self.method)
        if self.common.amp == "bf16" and self.precision.unsafe:
            folder.warn("bf16 on a CPU can give wrong gradients of convolutions over time: amp: auto avoids it")
        if self.common.amp != "off":
            folder.log(f"mixed precision: {self.precision.name}")
        if args.static_loss_scale and self.precision.name != "fp16":
            folder.warn("--static-loss-scale does nothing without fp16")
        self.val = self.open("val") if self.common.val_source else None
        self.notes: list[str] = []  # warnings that the checkpoint keeps
        self.progress = Progress(folder.show, shown=process.is_first, device=process.device)

    def train(self) -> int:
        """Trains from the newest checkpoint, the given weights or scratch, until the end or until it is stopped."""
        data = self.open("train")
        if self.val is not None:
            self.val.check_labelled()
        resumed = self.load_weights(data.class_names)
        session.barrier()  # all have read: what --load-path names may be set aside now
        if self.args.fresh and (old := self.folder.set_aside()):
            self.folder.log(f"--fresh: the files of the earlier run are now in {old}")
        self.to_device()
        training = Training(self.method, self.common, self.precision)
        if resumed is not None:
            training.load_state_dict(resumed)
            self.notes += [note for note in resumed.get("notes", []) if note not in self.notes]
        self.folder.rewind_metrics(training.state.step)
        world_size, state = self.process.world_size, training.state
        per_epoch = len(data) / self.common.effective_batch(world_size)
        rates = schedule(self.common.lr_scheduler, per_epoch, scale=self.common.lr_scale(world_size))
        if state.step >= len(rates):
            self.folder.log(f"nothing left to do: {state.step} of {len(rates)} steps are done")
            return 0
        self.folder.log(
            dry_run.summary(
                self.common, self.method, self.method.clip, rates=rates, num_train=len(data), world_size=world_size
            )
        )
        if self.common.compile:  # in place, so that names of weights stay as they are
            self.method.compile()
        watch = Watch(
            self.common, self.folder, self.method, state, augment=data.protocol.augment, names=data.class_names
        )
        plan = TrainPlan.of(self.common, rates, per_epoch)
        with (
            StopEarly(self.common.time_limit) as stop,
            profiled(self.args.profile, self.config.folder, self.folder.log) as profiler_step,
            self.progress.training(state, plan, clips=self.common.effective_batch(world_size)) as progress_step,
        ):
            finished = train(
                session.wrap(self.method, self.process),
                data.train_batches(self.process, start=state.step, stop=len(rates), also_validating=self.val),
                criterion=self.task.criterion(self.common, data.labels).to(self.process.device),
                optimizer=training.optimizer,
                augment=data.protocol.augment,
                mix_up=MixUp(self.common.augmentation.mix_up, self.common.augmentation.cut_mix),
                precision=self.precision,
                device=self.process.device,
                plan=plan,
                state=state,
                listeners=Listeners(
                    updated=[training.updated, watch.updated, progress_step, profiler_step],
                    seen=watch.batch,
                    printed=lambda values: record_training(
                        self.folder, state.step - 1, len(rates), values, data.store_counts(), self.task
                    ),
                    validate=lambda: self.validate(training, data, watch),
                    save=lambda best: self.save(training, data, best),
                    fault=lambda text: self.folder.warn(f"left out: {text}"),
                    stop=stop,
                    path=data.path,
                ),
                task=self.task,
            )
        if not finished:
            self.folder.log(f"{stop} after {state.step} steps: checkpoint written, the same command goes on from it")
            return stop.exit_code
        best = f", best {self.task.best_by} {state.best_prec1:.3f} after {state.best_step} steps" if self.val else ""
        self.folder.log(f"done: {state.step} steps{best}")
        return 0

    def evaluate(self) -> int:
        """Scores every video of the validation list once and writes reference_result.*; weights: the best, or given."""
        if self.val is None:
            raise ConfigError("common.val_source: this list is what --evaluate scores; it is not set")
        evaluated = self.fused() if self.args.fusion_list else self.scored()
        self.folder.log(Result.of(evaluated).line())
        if self.process.is_first:
            self.folder.log(f"written: {', '.join(map(str, evaluated.write(self.config.folder)))}")
        return 0

    # --- the parts of the two verbs, in the order of their use

    def open(self, name: str) -> Split:
        """The training or validation list, checked, with everything that turns its records into batches."""
        protocol = clip_protocol(self.common, self.method.clip, train=name == "train")
        split = open_split(self.common, name, protocol, fake=self.args.fake)
        self.folder.log(f"{name}: {split}")
        return split

    def load_weights(self, class_names: list[str] | None) -> dict[str, Any] | None:
        """Own checkpoint before --load-path before `pretrained`; returns the checkpoint to go on from, if any."""
        found = None if self.args.fresh else checkpoint.load_newest(self.config.folder)
        if found is not None:
            own, path, warning = found
            if warning:
                self.folder.warn(f"{warning}; going on from {path}")
            for change in difference(own["config"], self.config.raw):  # said first: it tells why weights do not fit
                self.folder.warn(f"the config has changed since: {change}")
            self.load(path, class_names)
            self.folder.log(f"going on from {path}, {own['step']} steps done")
            return own
        if self.args.load_path:
            path = Path(self.args.load_path)
            self.folder.log(self.load(path, class_names).summary())
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
            strict=not self.args.not_strict,
            trust_pickle=self.args.trust_pickle,
        )

    def to_device(self) -> None:
        """Moves the method to where it trains."""
        self.method.to(self.process.device)
        if self.common.channels_last:
            to_channels_last(self.method)

    def validate(self, training: Training, data: Split, watch: Watch) -> bool:
        """Scores the validation list; True when top-1, or mAP, is the best so far."""
        if self.val is None:
            return False
        if self.common.precise_bn:
            clips = data.clips(self.process, start=training.state.step, count=self.common.precise_bn)
            update_bn(clips, training.scored)
        evaluation = self.score(training.scored, self.val, "training")
        result = Result.of(evaluation)
        record_validation(self.folder, training.state.step - 1, result)
        watch.confusion(training.state.step - 1, evaluation)
        return training.state.note_best(result.best_by)

    def scored(self) -> Evaluation:
        """What the best checkpoint, or the one of --load-path, says of every video."""
        assert self.val is not None
        path = Path(self.args.load_path or self.config.folder / checkpoint.BEST)
        if not path.exists() and not self.args.load_path:
            raise UserError(f"{path}: no best checkpoint yet; train first, or name one with --load-path")
        self.folder.log(self.load(path, self.val.class_names).summary())
        self.to_device()
        return self.score(self.method, self.val, str(path))

    def fused(self) -> Evaluation:
        """The weighted mean of what the checkpoints and results of --fusion-list say."""
        assert self.val is not None
        evaluations = []
        for path in map(Path, self.args.fusion_list):
            if path.is_dir() or path.suffix == ".npz":
                evaluations.append(read_evaluation(path))
            else:
                config = replace(self.config, common=config_here(path, self.common))
                args = argparse.Namespace(**vars(self.args) | {"load_path": str(path), "obsolete": []})
                run = Run(config, args, self.process, self.folder)
                run.progress = self.progress
                evaluations.append(run.scored())
            self.folder.log(f"{path}: {Result.of(evaluations[-1]).line()}")
        return fused(evaluations, self.val.videos(), self.args.fuse_weights, logits=not self.args.fuse_prob)

    def score(self, model: nn.Module, split: Split, name: str) -> Evaluation:
        """The one evaluation path: validation during training and --evaluate both come here."""
        with session.first_buffers(model):  # what is scored is what the checkpoint holds
            scores = evaluate(
                model,
                self.progress.validation(split.eval_batches(self.process), -(-len(split) // self.process.world_size)),
                augment=split.protocol.augment,
                precision=self.precision,
                device=self.process.device,
                num_videos=len(split),
                average=split.protocol.average,
                fault_budget=self.common.bad_frame_budget,
                pad_to=split.protocol.batch_size if self.common.compile else 0,
                task=self.task,
            )
        for fault in scores.faults:
            self.folder.warn(f"left out: {fault}")
        return evaluation_of(split, scores, name)

    def save(self, training: Training, data: Split, best: bool) -> None:
        """Writes ckpt.pth.tar, and ckpt_best.pth.tar when it is the best."""
        if self.process.is_first:
            about = {
                "arch": self.method.name,
                "config": self.config.raw,
                "class_names": data.class_names,
                "preprocessing": (self.val or data).protocol.as_dict(),
                "notes": self.notes,
            }
            checkpoint.save(self.config.folder, training.state_dict() | about, best=best)


def plan_in_words(config: ConfigFile) -> str:
    """What --dry-run prints: every key and its value in force, what this machine lacks, and what a run would cost."""
    common = config.common
    world_size = session.expected_world_size()
    with torch.device("meta"):
        method, warnings = prepared_method(common, world_size=world_size)
    Training(method, common, Precision("off", torch.device("cpu")))
    protocols = [clip_protocol(common, method.clip, train=train) for train in (True, False)]
    for protocol in protocols:
        check_dataset(common, protocol)
    lacking, num_train = missing(common, "train")
    warnings += [
        text for text in (lacking, missing(common, "val")[0], missing_pretrained(method, common.model)) if text
    ]
    per_epoch = (num_train or common.effective_batch(world_size)) / common.effective_batch(world_size)
    rates = schedule(common.lr_scheduler, per_epoch, scale=common.lr_scale(world_size))
    ckpt_freq = {"common.ckpt_freq": TrainPlan.of(common, rates, per_epoch).checkpoint_every}
    return "\n".join(
        [
            dry_run.explain(config, method_defaults(common.model), values_in_force(*protocols) | ckpt_freq),
            "",
            *(f"warning: {warning}" for warning in warnings),
            dry_run.summary(common, method, method.clip, rates=rates, num_train=num_train, world_size=world_size),
        ]
    )


if __name__ == "__main__":
    run_cli(main)

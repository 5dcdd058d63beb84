"""Trains or evaluates one experiment folder.

    python main.py --config exps/<dataset>/<experiment>/config.yaml [--evaluate] [common.key=value ...]

`check` decides all that needs no data, `train` holds the loop, `evaluate` scores the validation list.
"""

from __future__ import annotations

from pathlib import Path

from utils.cli import answer_early, run_cli
from utils.config.command_line import check_command, parse_arguments

if __name__ == "__main__":  # --help and mistakes are answered before torch is imported, which takes seconds
    answer_early(check_command)

from datasets.protocol import values_in_force
from datasets.split import Protocols, Split, check_lists, missing_lists, open_videos
from methods.base import Method
from methods.build import method_defaults, method_on_meta, prepare_method
from methods.members import about_member, as_member
from methods.teacher import check_teacher, open_teacher
from methods.weights import about_network, about_weights, fetch_weights, load_starting_weights, load_weights
from utils.config.file import load_config
from utils.config.schema import Common
from utils.processes.session import expected_world_size, session
from utils.run import checkpoint, resume
from utils.run.context import Run, open_run
from utils.run.fit import check_fit
from utils.run.log_lines import end_line, record_evaluation, record_step, record_validation, validation_line
from utils.run.pictures import EventPictures
from utils.run.profiling import profiled
from utils.run.stop import StopEarly
from utils.run.summary import explain, network_cost, summary
from utils.scoring.evaluation import Evaluation
from utils.scoring.fusion import fused, kept_evaluation
from utils.training.solver import make_trainer


def main(argv: list[str] | None = None) -> int:
    """Runs the experiment that the arguments name, and returns the exit code."""
    args = parse_arguments(argv)
    config = load_config(args.config, args.overrides).for_processes(expected_world_size())
    with config.located():
        method, warnings, protocols = check(config.common, trains_in=None if args.evaluate else config.folder)
        in_force = method_defaults(config.common.model) | values_in_force(**protocols)
        if args.dry_run:
            warnings += about_weights(args, config, method, protocols["val"].as_dict())
            for path in map(Path, args.fusion_list or ()):
                member = as_member(config, path, args)
                warnings += about_member(path, args, member.common, *check(member.common, trains_in=None))
            print(explain(config, method, protocols, in_force, missing_lists(config.common, protocols), warnings))
            return 0
        fetch_weights(args, config, method.arch)
        with (
            session(config.common.device, same={"config": str(config.raw)}) as rank,
            open_run(args, config, rank, in_force) as run,
        ):
            return evaluate(run, protocols) if args.evaluate else train(run, protocols)


def check(common: Common, *, trains_in: Path | None) -> tuple[Method, list[str], Protocols]:
    """Makes every check that needs no data. --dry-run ends after it; a run goes on. trains_in: folder of a training."""
    method, warnings = method_on_meta(common)
    protocols = check_lists(common, method.clip, trains=trains_in is not None)
    check_fit(common, method, protocols if trains_in else {"val": protocols["val"]})
    check_teacher(common, protocols["train"], trains_in)
    return method, warnings, protocols


def train(run: Run, protocols: Protocols) -> int:
    """Trains from the newest checkpoint, from given weights or from scratch, until the end or an early stop."""
    common, rank, folder = run.common, run.rank, run.folder
    method, precision = prepare_method(run)
    val = open_videos(run, "val", protocols) if common.val_source else None
    data = open_videos(run, "train", protocols)
    teacher = open_teacher(run, method, data)  # before --fresh moves anything
    saved = load_starting_weights(method, run, data.class_names, protocols["val"].as_dict())
    run.prepare(method, data, val)
    entries = about_network(method, run.config.raw, protocols["val"].as_dict() | data.decoding, data.class_names)
    entries |= run.about_training(network_cost(method, **protocols), data, val, teacher=teacher)
    trainer = make_trainer(method, common, data, rank=rank, precision=precision, teacher=teacher)
    resume.restore(run, trainer, saved, entries)
    if trainer.is_done:
        folder.log(f"nothing left to do: {trainer.state.step} of {trainer.total} steps are done")
        return 0
    folder.begin(trainer.state.step, entries["run"] | {"config": run.config.raw})
    folder.log(summary(common, trainer.rates, len(data), rank.world_size, entries["run"]))
    pictures = EventPictures(folder, trainer, data.class_names)
    batches = data.train_batches(rank, method, start=trainer.state.step, stop=trainer.total, also_validating=val)
    with StopEarly(common.time_limit) as stop, profiled(run.args.profile, folder) as profiler_step:
        steps = trainer.steps(run.progress.reading(trainer, batches), until=stop)  # each fetches a batch and learns
        for step in run.progress.training(trainer, steps):
            profiler_step()
            record_step(folder, trainer, step, data.store_counts())
            pictures.draw(step)
            if step.validates and val is not None:
                with trainer.validated() as network:
                    evaluation = run.score(network, val, precision, "training")
                record_validation(folder, step, evaluation)
                pictures.confusion(step, evaluation)
                step.is_best = trainer.state.note_best(evaluation.best_by, evaluation.loss)
            if step.saves and (saved := trainer.state_dict()):  # empty in all processes but the first, which writes
                checkpoint.save(folder.path, saved | entries, best=step.is_best)
    folder.log(end_line(trainer, stop, validated=val is not None))
    return 0 if trainer.is_done else stop.exit_code


def evaluate(run: Run, protocols: Protocols) -> int:
    """Scores every video of the validation list once, with one checkpoint or with all of --fusion-list."""
    val = open_videos(run, "val", protocols)
    if not run.args.fusion_list:
        evaluation = score_checkpoint(run, val, Path(run.args.load_path or checkpoint.find_best(run.config.folder)))
    else:
        members = [fusion_member(run, Path(path)) for path in run.args.fusion_list]
        evaluation = fused(members, val.videos(), run.args.fuse_weights, logits=not run.args.fuse_prob)
    record_evaluation(run.folder, evaluation)
    return 0


def fusion_member(run: Run, path: Path) -> Evaluation:
    """Reads the results at a path of --fusion-list, or scores the checkpoint there by the config of as_member."""
    evaluation = kept_evaluation(path)
    if evaluation is None:
        member = run.with_config(as_member(run.config, path, run.args))
        evaluation = score_checkpoint(member, open_videos(member, "val", check(member.common, trains_in=None)[2]), path)
    run.folder.log(f"{path}: {validation_line(evaluation)}")
    return evaluation


def score_checkpoint(run: Run, val: Split, path: Path) -> Evaluation:
    """Scores the validation list with the weights at `path`."""
    method, precision = prepare_method(run)
    run.folder.log(load_weights(method, path, run, val).summary())
    return run.score(method, val, precision, str(path))


if __name__ == "__main__":
    run_cli(main)

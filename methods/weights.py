"""Fills a method with the weights that a run starts from, or that it evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from methods.base import Method
from networks.checkpoints.load import LoadReport, load_into, load_pretrained
from networks.prepare import to_channels_last
from utils.errors import CheckpointError
from utils.processes import session
from utils.run import checkpoint, resume
from utils.run.context import Run


def load_weights(method: Method, path: Path, run: Run, class_names: Sequence[str] | None) -> LoadReport:
    """Fills a method from a file of ours or of any published project, all of its weights or none, for evaluation."""
    report = _load(method, path, run, class_names, new_head=run.args.new_head)
    _to_device(method, run)
    return report


def _load(method: Method, path: Path, run: Run, class_names: Sequence[str] | None, *, new_head: bool) -> LoadReport:
    return load_into(
        method,
        path,
        class_names=class_names,
        new_head=new_head,
        strict=not run.args.not_strict,
        trust_pickle=run.args.trust_pickle,
    )


def starting_weights(method: Method, run: Run, class_names: Sequence[str] | None) -> dict[str, Any] | None:
    """Fills a method before training: the experiment's own checkpoint, else --load-path, else `model.pretrained`.

    With --fresh the files of an earlier run are set aside, once per launch. Adds the warnings that checkpoints have to
    keep to `run.notes`, and returns the checkpoint that training continues from, if any.
    """
    args, folder = run.args, run.folder
    saved: dict[str, Any] | None = None
    fresh = args.fresh and not resume.is_retry(run)
    found = None if fresh else checkpoint.load_newest(run.config.folder)
    if found is not None:
        saved, path, warning = found
        if warning:
            run.note(f"{warning}; continuing from {path}")
        changes = resume.tell_changes(run, saved)  # first, because they explain weights that do not fit
        resume.refuse_other_start(run, saved)
        try:
            _load(method, path, run, class_names, new_head=False)
        except CheckpointError as error:
            raise resume.misfit(error, run, path, changes) from None
        others = f"; --load-path {args.load_path} is not looked at" if args.load_path else ""
        folder.log(f"continuing from {path}, {saved['step']} steps done{others}")
    elif args.load_path:
        path = Path(args.load_path)
        folder.log(_load(method, path, run, class_names, new_head=args.new_head).summary())
        if args.recover:
            saved = checkpoint.load(path)
            resume.tell_changes(run, saved)
    elif run.common.model.pretrained:
        report = load_pretrained(method, run.common.model.pretrained)
        run.notes.extend(report.warnings)
        folder.log(report.summary())
    run.notes.extend(saved.get("notes", []) if saved else [])
    session.barrier()  # every rank has loaded its weights, so --fresh may move the files now
    if fresh and (old := folder.set_aside()):
        folder.log(f"--fresh: the files of the earlier run are now in {old}")
    _to_device(method, run)
    return saved


def _to_device(method: Method, run: Run) -> None:
    method.to(run.rank.device)
    if run.common.channels_last:
        to_channels_last(method)

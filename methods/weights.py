"""Fills a method with the weights that a run starts from, or that it evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from methods.base import Method
from networks.checkpoints.load import LoadReport, load_into, load_pretrained
from networks.prepare import to_channels_last
from utils.config.file import difference
from utils.processes import session
from utils.run import checkpoint
from utils.run.context import Run


def load_weights(method: Method, path: Path, run: Run, class_names: Sequence[str] | None) -> LoadReport:
    """Fills a method from a file of ours or of any published project, all of its weights or none, for evaluation."""
    report = _load(method, path, run, class_names)
    _to_device(method, run)
    return report


def _load(method: Method, path: Path, run: Run, class_names: Sequence[str] | None) -> LoadReport:
    return load_into(
        method,
        path,
        class_names=class_names,
        new_head=run.args.new_head,
        strict=not run.args.not_strict,
        trust_pickle=run.args.trust_pickle,
    )


def starting_weights(method: Method, run: Run, class_names: Sequence[str] | None) -> dict[str, Any] | None:
    """Fills a method before training: the experiment's own checkpoint, else --load-path, else `model.pretrained`.

    With --fresh the files of an earlier run are set aside. Adds the warnings that checkpoints have to keep to
    `run.notes`, and returns the checkpoint that training continues from, if any.
    """
    args, folder = run.args, run.folder
    saved: dict[str, Any] | None = None
    found = None if args.fresh else checkpoint.load_newest(run.config.folder)
    if found is not None:
        saved, path, warning = found
        if warning:
            folder.warn(f"{warning}; continuing from {path}")
        for change in difference(saved["config"], run.config.raw):  # first, because it explains weights that do not fit
            folder.warn(f"the config has changed since: {change}")
        _load(method, path, run, class_names)
        folder.log(f"continuing from {path}, {saved['step']} steps done")
    elif args.load_path:
        path = Path(args.load_path)
        folder.log(_load(method, path, run, class_names).summary())
        saved = checkpoint.load(path) if args.recover else None
    elif run.common.model.pretrained:
        report = load_pretrained(method, run.common.model.pretrained)
        run.notes.extend(report.warnings)
        folder.log(report.summary())
    run.notes.extend(saved.get("notes", []) if saved else [])
    session.barrier()  # every rank has loaded its weights, so --fresh may move the files now
    if args.fresh and (old := folder.set_aside()):
        folder.log(f"--fresh: the files of the earlier run are now in {old}")
    _to_device(method, run)
    return saved


def _to_device(method: Method, run: Run) -> None:
    method.to(run.rank.device)
    if run.common.channels_last:
        to_channels_last(method)

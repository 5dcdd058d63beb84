"""Evaluates published weights by their published protocol, for tools/verify_published.py."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import main
from networks.checkpoints.file import load_checkpoint_file
from tools.importing.experiment import CONFIG, config_text
from tools.importing.own_config import config_of
from tools.listing.weights import SCORES, scores_of
from utils.config.file import stored_config
from utils.config.schema import Common
from utils.errors import UserError
from utils.published.files import fetch
from utils.published.registry import Published, entry
from utils.scoring.evaluation import Evaluation
from utils.scoring.fusion import read_evaluation

OURS = {"top1": "acc1", "top5": "acc5", "mAP": "mAP"}  # published score -> Task.val_numbers
VIEWS = {"clips": "num_clips", "crops": "num_crops", "size": "input_size"}  # of a protocol -> key of `test`


def run(args: argparse.Namespace) -> int:
    """Prints the published and the measured scores, and returns the exit code."""
    published = entry(args.name)
    if not published.metrics:
        raise UserError(f"{published.id}: no score was published for it, so there is nothing to compare with")
    if not args.list.is_file():
        raise UserError(f"{args.list}: no such list")
    if args.out and args.out.exists():
        raise UserError(f"{args.out}: already exists; name a new folder")
    raw, notes = config_of(load_checkpoint_file(fetch(published)))
    protocol = chosen_protocol(published, stored_config(raw, Path(published.name)))
    raw = raw if published.relation == "published" else with_views(raw, protocol)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        folder.mkdir(exist_ok=True)
        (folder / CONFIG).write_text(config_text(raw, f"# {published.id}: {'; '.join(notes)}\n"), encoding="utf-8")
        root = args.root or args.list.resolve().parent.parent
        places = [f"common.val_source={args.list.resolve()}", f"common.val_root={root.resolve()}"]
        start = ["--config", str(folder / CONFIG), "--evaluate", "--load-path", published.id]
        code = main.main([*start, *places, *args.overrides])
        if code:
            return code
        print("\n".join(compared(published, protocol, read_evaluation(folder))))
    return 0


def chosen_protocol(published: Published, common: Common) -> Mapping[str, Any]:
    """Returns the published scores to compare with: those of the config's views, or else those of the most views.

    Scores on the data set of the classifier go before others.
    """
    wanted = (common.test.num_clips or 1, common.crops)

    def rank(row: Mapping[str, Any]) -> tuple[bool, bool, int]:
        views = (row.get("clips", 1), row.get("crops", 1))
        return "dataset" not in row, views == wanted, views[0] * views[1]

    return max(published.metrics, key=rank)


def with_views(raw: Mapping[str, Any], protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config whose test looks at videos as a published protocol says, as far as it says it."""
    common = dict(raw["common"])
    test = dict(common.get("test", {})) | {key: protocol[name] for name, key in VIEWS.items() if name in protocol}
    if common["model"]["type"] == "tsn" and "frames" in protocol:
        test["num_frames"] = protocol["frames"]
    return {**raw, "common": {**common, "test": test}}


def compared(published: Published, protocol: Mapping[str, Any], found: Evaluation) -> list[str]:
    """Returns the published scores, the measured ones and their difference, each in a line."""
    both = {key: found.numbers[name] for key, name in OURS.items() if name in found.numbers and key in protocol}
    if not both:
        raise UserError(f"{published.id}: its published score is of another kind than those measured here")
    measured = ", ".join(f"{value:.2f} {SCORES[key]}" for key, value in both.items())
    difference = ", ".join(f"{value - protocol[key]:+.2f} {SCORES[key]}" for key, value in both.items())
    return [
        f"published   {scores_of(protocol, published.dataset)}",
        f"here        {measured}; {found.protocol}",
        f"difference  {difference}",
    ]

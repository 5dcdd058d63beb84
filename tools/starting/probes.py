"""Makes the two probes of tools/start.py from the features of one backbone, and tests them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import torch

from anal_tools.experiment import Experiment, open_experiment
from datasets.protocol import clip_protocol
from methods.build import build_method
from methods.probe import Probe
from methods.weights import about_network
from networks.checkpoints.load import load_pretrained
from tools.listing.splits import fold_split, group_names
from tools.starting.features import Features, head_inputs, read_features
from tools.starting.heads import cross_validate, fit
from utils.config.file import ConfigFile
from utils.errors import UserError
from utils.processes.launch import Rank
from utils.run.checkpoint import BEST, save_weights
from utils.scoring.metrics import topk_accuracy
from utils.scoring.result_files import write_results


@dataclass(frozen=True)
class DataFeatures:
    """Holds the features of both lists of a data set.

    features: of all videos, those that train first.
    trained: number of videos of the training list.
    groups: what each video was cut from.
    notes: what the checkpoints of its heads have to keep about the weights.
    """

    features: Features
    trained: int
    groups: list[str]
    notes: list[str]


def see_videos(config: ConfigFile, rank: Rank, *, class_names: Sequence[str], group_regex: str | None) -> DataFeatures:
    """Reads the features of both lists of a config once, each video as an evaluation sees it."""
    common = config.common
    probe, notes = filled_probe(config)
    probe.to(rank.device)
    protocol = clip_protocol(common, probe.clip, train=False)
    as_val = common.model_copy(update={"val_root": common.train_root, "val_source": common.train_source})
    parts = [read_features(one, probe, protocol, rank) for one in (as_val, common)]
    labels = torch.cat([part.labels for part in parts])
    paths = [path for part in parts for path in part.paths]
    names = [PurePosixPath(path).stem if PurePosixPath(path).suffix else PurePosixPath(path).name for path in paths]
    groups = group_names(names, [class_names[label] for label in labels.tolist()], regex=group_regex)
    features = Features(paths, labels, torch.cat([part.frames for part in parts]))
    return DataFeatures(features, len(parts[0]), groups, notes)


def filled_probe(config: ConfigFile) -> tuple[Probe, list[str]]:
    """Builds the probe of a config with its published weights; returns it and what to keep in mind about them."""
    model = config.common.model
    with config.located():
        probe = build_method(model)
    assert isinstance(probe, Probe)
    if not model.pretrained:
        raise UserError(f"{config.path}: model.pretrained is False, and random features tell nothing")
    report = load_pretrained(probe, model.pretrained)
    return probe.eval(), report.warnings


def make_probe(
    config: ConfigFile, seen: DataFeatures, *, class_names: Sequence[str], folds: int, seed: int
) -> Experiment:
    """Solves the head of one probe and tests it; writes the checkpoint and the results into its folder.

    With folds every video is tested once, by a head that has not seen its fold, and the head in the checkpoint is that
    of all videos. Without, the training list trains and the validation list tests.
    """
    probe, _ = filled_probe(config)
    inputs, labels = head_inputs(probe, seen.features.frames), seen.features.labels
    given: Mapping[str, int] = {"num_class": len(class_names), "seed": seed}
    if folds:
        sets = [[class_names[label]] for label in labels.tolist()]
        places = fold_split(sets, seen.groups, folds=folds, seed=seed)
        tested = np.arange(len(labels))
        scores = cross_validate(inputs, labels, seen.groups, places, **given)
        head = fit(inputs, labels, seen.groups, **given)
    else:
        tested = np.arange(seen.trained, len(labels))
        head = fit(inputs[: seen.trained], labels[: seen.trained], seen.groups[: seen.trained], **given)
        scores = head.scores(inputs[seen.trained :])
    probe.head.load_state_dict({"weight": head.weight, "bias": head.bias})
    truth = labels.numpy()[tested]
    protocol = clip_protocol(config.common, probe.clip, train=False)
    contents = {
        **about_network(probe, config.raw, protocol.as_dict(), list(class_names)),
        "state_dict": probe.state_dict(),
        "best_prec1": topk_accuracy(scores, truth),
        "notes": seen.notes,
    }
    save_weights(config.folder / BEST, contents)
    write_results(
        config.folder,
        paths=[seen.features.paths[row] for row in tested],
        labels=truth,
        scores=scores,
        class_names=class_names,
        protocol=f"{protocol}{f', {folds} folds' if folds else ''}, {len(truth)} videos",
    )
    return open_experiment(config.folder)

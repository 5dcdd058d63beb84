"""Runs the steps from a folder of videos to a report, for tools/start.py."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anal_tools.experiment import Experiment
from methods.build import method_on_meta
from tools.starting.choices import VAL_SHARE, Choices, check_given, choose
from tools.starting.configs import FINE_TUNE, Lists, Network, flip_labels, quoted, write_config
from tools.starting.network import check_network, find_network
from tools.starting.probes import call, make_probe
from tools.starting.survey import Survey, find, look
from tools.starting.truth import UNSEEN, accuracy_text, advice, order_matters
from utils.config.file import load_config
from utils.errors import ConfigError, UserError
from utils.files import ROOT, atomic_write
from utils.run.checkpoint import BEST, NEWEST

BLIND, AWARE, ONLY = "order_blind", "order_aware", "probe"
HEADS = {BLIND: "linear", AWARE: "ordered", ONLY: "linear"}  # experiment -> model.head
KNOWS = {
    BLIND: "does not know the order of the frames",
    AWARE: "knows the order of the frames",
    ONLY: "reads what the video network tells of a clip",
}
REPORT, NOTES, FEATURES = "report.html", "notes.txt", "features"


@dataclass(frozen=True)
class Plan:
    """Holds what the last steps have in common.

    network: the backbone.
    out: folder of everything that is written.
    lists: the training and the validation list.
    class_names: in the order of the labels.
    values: what all configs say.
    """

    args: argparse.Namespace
    network: Network
    choices: Choices
    out: Path
    lists: Lists
    class_names: list[str]
    values: Mapping[str, Any]


def run(args: argparse.Namespace) -> int:
    """Runs all steps; returns the exit code."""
    began = time.monotonic()
    out = _shown(args.out or ROOT / "exps" / args.videos.resolve().name)
    videos, notes = find(args.videos)
    splitting = {"folds": args.folds, "group_regex": args.group_regex, "seed": args.seed}
    check_given(args.videos, videos, out, **splitting)
    check_network(args.backbone, args.weights, num_frames=args.frames)
    survey = look(args.videos, videos, notes, num_frames=args.frames, workers=args.workers)
    network, weights = find_network(args.backbone, args.weights)
    choices = choose(survey, out, network, num_frames=args.frames, workers=args.workers, **splitting)
    kind = "video" if network.sees_clips else "image"
    chosen = [*choices.reasons, f"{network.backbone} is the {kind} network, with the weights {weights.name}"]
    for title, lines in (("found", survey.lines()), ("chosen", chosen)):
        for line in lines:
            print(f"{title}: {line}", flush=True)
    lists = make_data(args, survey, choices, out)
    found = [*survey.lines(), *not_decoded(survey, lists, folds=choices.folds)]
    plan = Plan(args, network, choices, out, lists, lists.class_names(), _values(args, choices, network, lists))
    probes = make_probes(plan)
    told = [f"a head that {KNOWS[name]}: {accuracy_text(one)}" for name, one in probes.items()]
    best = ONLY
    if not network.sees_clips:
        word, about_order = order_matters(probes[BLIND], probes[AWARE])
        told.append(about_order)
        best = BLIND if word == UNSEEN else AWARE
    tuning = write_fine_tuning(plan, best)
    then = [advice(probes[best], plan.args.group_regex), *following(plan, best, tuning)]
    _write_notes(out / NOTES, {"Found": found, "Chosen": chosen, "Seen": told, "Next": then})
    made = [str(out / name) for name in probes]
    call("anal_tools.report", "-e", *made, "-o", str(out / REPORT), "--notes", str(out / NOTES))
    print("", *told, "", *then, "", sep="\n")
    report = (out / REPORT).resolve().as_uri()
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; the report, for a browser: {report}")
    return 0


def make_data(args: argparse.Namespace, survey: Survey, choices: Choices, out: Path) -> Lists:
    """Dumps the videos if that was chosen, writes all lists and checks them.

    Raises: UserError if something is wrong with them.
    """
    data = out / "data"
    if choices.dumps:
        done = call("tools.dump_frames", str(survey.folder), str(data), "--workers", str(args.workers))
        if done == 1:
            print("warning: the videos named above are left out")
    root = data if choices.dumps else survey.folder
    common = ["--val-ratio", str(VAL_SHARE), "--seed", str(args.seed), "--lists", str(data / "lists")]
    common += [] if choices.dumps else ["--videos"]
    common += ["--group-regex", args.group_regex] if args.group_regex else []
    for more in [[], ["--folds", str(choices.folds)]] if choices.folds else [[]]:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            call("tools.make_lists", str(root), *common, *more)
        print(said.getvalue().partition("in the config: ")[0], end="")  # the configs are written below
    lists = Lists(root, data / "lists", encoded=not choices.dumps)
    # whatever was dumped now has been decoded now
    depth = ["--quick"] if choices.dumps else []
    if call("tools.check_data", str(lists.folder), "--root", str(root), "--workers", str(args.workers), *depth):
        raise UserError(f"{lists.folder}: the check found the faults above; mend the videos in {survey.folder}")
    return lists


def not_decoded(survey: Survey, lists: Lists, *, folds: int) -> list[str]:
    """Returns a line about videos that could be read, but not decoded, if there are any; the lists lack them."""
    if lists.encoded:  # not decoded before they are trained on
        return []
    listed = sum(lists.length(name) for name in (["all"] if folds else ["train", "val"]))
    lost = len(survey.readable) - listed
    where = f"{lists.root}/manifest.jsonl says why"
    return [f"{lost} of these cannot be decoded and {'is' if lost == 1 else 'are'} left out: {where}"] if lost else []


def make_probes(plan: Plan) -> dict[str, Experiment]:
    """Trains and tests each kind of head; returns them by the names of their folders."""
    made: dict[str, Experiment] = {}
    for name, head in HEADS.items():
        if (name == ONLY) != plan.network.sees_clips:
            continue
        special = {
            "title": f"A probe that {KNOWS[name]}",
            "head": head,
            "features": quoted(plan.out / FEATURES),
            "group_regex": "null" if plan.args.group_regex is None else quoted(plan.args.group_regex),
        }
        made[name] = make_probe(plan.out / name, {**plan.values, **special}, plan.lists, folds=plan.choices.folds)
    return made


def write_fine_tuning(plan: Plan, best: str) -> Path:
    """Writes the experiment that goes on by training the whole network; returns its folder.

    A video network goes on as it is. Of an image network it makes TSM where the order of frames helped, if that can be
    built, else TSN.

    best: the name of the best probe.
    """
    folder = plan.out / "fine_tune"
    run = f"{folder}/train.sh local 1" if _has_scripts(folder) else f"python main.py --config {folder}/config.yaml"
    ordered = best == AWARE
    kinds = [("tsm", "because the order of frames helped the probe; tsn ignores it")] if ordered else []
    kinds += [("tsn", "because no sign was found that the order of frames matters; tsm sees it")]
    if ordered:
        kinds[1] = "tsn", f"tsm would see the order of frames, but cannot be built on {plan.args.backbone}"
    if plan.network.sees_clips:
        kinds = [(plan.network.method, "the method of the published weights")]
    for method, why in kinds:
        special = {"method": method, "why": why, "run": run, "lists": plan.lists.text("train", "val")}
        special |= {"flip_labels": flip_labels(plan.class_names)}
        write_config(folder, FINE_TUNE.format_map({**plan.values, **special}))
        try:
            method_on_meta(load_config(folder / "config.yaml").common)
            break
        except ConfigError:
            if method == kinds[-1][0]:
                raise
            (folder / "config.yaml").unlink()
    return folder


def following(plan: Plan, best: str, tuning: Path) -> list[str]:
    """Returns what to do next, with the commands to type."""
    run = f"{tuning}/train.sh local 1" if _has_scripts(tuning) else f"python main.py --config {tuning}/config.yaml"
    weights = plan.out / best / (NEWEST if plan.choices.folds else BEST)
    return [
        f"name the class of a video: python -m tools.predict {weights} VIDEO",
        f"train the whole network, on a GPU: {run}",
        f"try another network: {_command(plan.args)} --backbone NAME --out FOLDER",
    ]


def _values(args: argparse.Namespace, choices: Choices, network: Network, lists: Lists) -> dict[str, Any]:
    """Returns what all configs say."""
    return network.values(choices.num_frames) | {
        "command": _command(args),
        "num_class": len(lists.class_names()),
        "seed": args.seed,
        "workers": args.workers,
    }


def _command(args: argparse.Namespace) -> str:
    return f"python -m tools.start {shlex.quote(str(args.videos))}"


def _shown(path: Path) -> Path:
    """Returns a path as configs have it: below the project, from where its scripts start, else absolute."""
    path = path.absolute()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) and Path.cwd() == ROOT else path


def _has_scripts(folder: Path) -> bool:
    return folder.absolute().is_relative_to(ROOT)  # train.sh looks for the project above itself


def _write_notes(path: Path, sections: Mapping[str, Sequence[str]]) -> None:
    with atomic_write(path, "w") as file:
        for title, lines in sections.items():
            file.write(f"# {title}\n" + "".join(f"{line}\n" for line in lines) + "\n")

"""Runs the steps from a folder of videos to a report, for tools/start.py."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anal_tools.experiment import Experiment
from methods.build import method_on_meta
from tools.starting.choices import VAL_SHARE, Choices, choose
from tools.starting.configs import FINE_TUNE, PROBE, Lists, Network, flip_labels, write_config
from tools.starting.network import find_network
from tools.starting.probes import make_probe, see_videos
from tools.starting.survey import Survey, check_lengths, find, look
from tools.starting.truth import UNSEEN, accuracy_text, advice, order_matters
from utils.config.file import ConfigFile, load_config
from utils.errors import ConfigError, UserError
from utils.files import ROOT, atomic_write, sha256
from utils.processes.session import session
from utils.run.checkpoint import BEST

BLIND, AWARE = "order_blind", "order_aware"
HEADS = {BLIND: "linear", AWARE: "ordered"}  # experiment -> model.head
KNOWS = {BLIND: "does not know the order of the frames", AWARE: "knows the order of the frames"}
REPORT, NOTES = "report.html", "notes.txt"


@dataclass(frozen=True)
class Plan:
    """Holds what the last steps have in common.

    out: folder of everything that is written.
    lists: the training and the validation list.
    class_names: in the order of the labels.
    values: what all configs say.
    """

    args: argparse.Namespace
    choices: Choices
    out: Path
    lists: Lists
    class_names: list[str]
    values: Mapping[str, Any]


def run(args: argparse.Namespace) -> int:
    """Runs all steps; returns the exit code."""
    began = time.monotonic()
    videos = find(args.videos)
    network, weights = find_network(args.backbone, args.weights)
    survey = look(args.videos, *videos, workers=args.workers)
    out = _shown(args.out or ROOT / "exps" / args.videos.resolve().name)
    choices = choose(
        survey, out, num_frames=args.frames, folds=args.folds, group_regex=args.group_regex, workers=args.workers
    )
    check_lengths(survey, choices.num_frames)
    chosen = [*choices.reasons, f"{network.backbone} is the image network, with the weights {weights.name}"]
    for title, lines in (("found", survey.lines()), ("chosen", chosen)):
        for line in lines:
            print(f"{title}: {line}", flush=True)
    lists = make_data(args, survey, choices, out)
    plan = Plan(args, choices, out, lists, lists.class_names(), _values(args, choices, network, lists))
    probes = make_probes(plan)
    word, about_order = order_matters(probes[BLIND], probes[AWARE])
    tuning = write_fine_tuning(plan, ordered=word != UNSEEN)
    told = [f"a head that {KNOWS[name]}: {accuracy_text(one)}" for name, one in probes.items()]
    told.append(about_order)
    best = BLIND if word == UNSEEN else AWARE
    then = [advice(probes[best], plan.args.group_regex), *following(plan, best, tuning)]
    _write_notes(out / NOTES, {"Found": survey.lines(), "Chosen": chosen, "Seen": told, "Next": then})
    both = [str(out / name) for name in HEADS]
    call("anal_tools.report", "-e", *both, "-o", str(out / REPORT), "--notes", str(out / NOTES))
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
    with contextlib.redirect_stdout(io.StringIO()) as said:
        call("tools.make_lists", str(root), *common)
    print(said.getvalue().partition("in the config: ")[0], end="")  # the configs are written below
    lists = Lists(root, data / "lists", encoded=not choices.dumps)
    # whatever was dumped now has been decoded now
    depth = ["--quick"] if choices.dumps else []
    if call("tools.check_data", str(lists.folder), "--root", str(root), "--workers", str(args.workers), *depth):
        raise UserError(f"{lists.folder}: the check found the faults above; mend the videos in {survey.folder}")
    return lists


def make_probes(plan: Plan) -> dict[str, Experiment]:
    """Reads the features of all videos once, then solves and tests each kind of head on them."""
    configs = {name: _write_probe(plan, name) for name in HEADS}
    made: dict[str, Experiment] = {}
    with session(configs[BLIND].common.device) as rank:
        regex, names = plan.args.group_regex, plan.class_names
        seen = see_videos(configs[BLIND], rank, class_names=names, group_regex=regex)
        for name, config in configs.items():
            began = time.monotonic()
            made[name] = make_probe(config, seen, class_names=names, folds=plan.choices.folds, seed=plan.args.seed)
            print(f"{config.folder}: trained and tested in {time.monotonic() - began:.1f} s", flush=True)
    return made


def _write_probe(plan: Plan, name: str) -> ConfigFile:
    folder = plan.out / name
    special = {
        "title": f"A probe that {KNOWS[name]}",
        "about": f"Lists {_digest(plan.lists)}; {_tested(plan.choices)}",
        "head": HEADS[name],
        "data": plan.lists.text(),
    }
    write_config(folder, PROBE.format_map({**plan.values, **special}))
    return load_config(folder / "config.yaml")


def _tested(choices: Choices) -> str:
    if choices.folds:
        return f"{BEST} has learned from both lists, and was tested in {choices.folds} folds of them"
    return f"{BEST} has learned from the training list, and was tested on the validation list"


def write_fine_tuning(plan: Plan, *, ordered: bool) -> Path:
    """Writes the experiment that goes on by training the whole network; returns its folder.

    It is TSM where the order of frames helped and the network can be a TSM, else TSN.
    """
    folder = plan.out / "fine_tune"
    run = f"{folder}/train.sh local 1" if _has_scripts(folder) else f"python main.py --config {folder}/config.yaml"
    kinds = [("tsm", "because the order of frames helped the probe; tsn ignores it")] if ordered else []
    kinds += [("tsn", "because no sign was found that the order of frames matters; tsm sees it")]
    if ordered:
        kinds[1] = "tsn", f"tsm would see the order of frames, but cannot be built on {plan.args.backbone}"
    for method, why in kinds:
        special = {"method": method, "why": why, "run": run, "data": plan.lists.text()}
        special |= {"about": f"Lists {_digest(plan.lists)}", "flip_labels": flip_labels(plan.class_names)}
        write_config(folder, FINE_TUNE.format_map({**plan.values, **special}))
        try:
            method_on_meta(load_config(folder / "config.yaml").common)
            break
        except ConfigError:
            if method == "tsn":
                raise
            (folder / "config.yaml").unlink()
    return folder


def following(plan: Plan, best: str, tuning: Path) -> list[str]:
    """Returns what to do next, with the commands to type."""
    run = f"{tuning}/train.sh local 1" if _has_scripts(tuning) else f"python main.py --config {tuning}/config.yaml"
    return [
        f"name the class of a video: python -m tools.predict {plan.out / best / BEST} VIDEO",
        f"train the whole network, on a GPU: {run}",
        f"try another image network: {_command(plan.args)} --backbone NAME --out FOLDER",
    ]


def call(module: str, *argv: str) -> int:
    """Prints a command that anybody can type, runs its main in this process, and returns its exit code."""
    shown = "main.py" if module == "main" else f"-m {module}"
    print(f"\n$ python {shown} {shlex.join(argv)}", flush=True)
    return int(importlib.import_module(module).main(argv) or 0)


def _values(args: argparse.Namespace, choices: Choices, network: Network, lists: Lists) -> dict[str, Any]:
    """Returns what all configs say."""
    return network.values() | {
        "command": _command(args),
        "num_frames": choices.num_frames,
        "num_class": len(lists.class_names()),
        "seed": args.seed,
        "workers": args.workers,
    }


def _command(args: argparse.Namespace) -> str:
    return f"python -m tools.start {shlex.quote(str(args.videos))}"


def _digest(lists: Lists) -> str:
    """Returns a few digits that change with the lists, so that an experiment of other lists is not mistaken for one."""
    return "-".join(sha256(lists.source(side))[:8] for side in ("train", "val"))


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

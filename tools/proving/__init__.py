"""Proves what temporal modules do in image networks, and trains them, for tools/matrix.py."""

from pathlib import Path

KEPT = Path("docs/matrix_cells.jsonl")  # in the repository, so that another machine goes on with them
LIKE = Path("exps/motion8/tsm_resnet18/config.yaml")
RUNS = Path("data/matrix")

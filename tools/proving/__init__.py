"""Proves what temporal modules do in image networks, and trains them, for tools/matrix.py."""

from pathlib import Path

KEPT = Path("data/matrix/cells.jsonl")
LIKE = Path("exps/motion8/tsm_resnet18/config.yaml")
RUNS = Path("data/matrix")

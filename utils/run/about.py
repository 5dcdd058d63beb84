"""Collects what a run has to say about itself: command, code, machine, versions, and every value in force.

Log, checkpoint and metrics.jsonl keep it, and the tools that show a run read it there: config.yaml may have been edited
since, and does not know what the command line changed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from utils.config.file import ConfigFile
from utils.files import ROOT
from utils.processes.launch import Rank, launch_id
from utils.processes.session import code_digest

GIT_SECONDS = 10  # after which a slow disk is not waited for


def about_run(args: argparse.Namespace, config: ConfigFile, rank: Rank, in_force: Mapping[str, Any]) -> dict[str, Any]:
    """Returns plain values about a run that begins now.

    in_force: by dotted path, the values of keys that the config leaves open.
    """
    rows = rows_in_force(config, in_force)
    about = {
        "command": args.command,
        "began": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit(),
        "code": code_digest(),
        "machine": platform.node(),
        "device": device_name(rank.device),
        "processes": rank.world_size,
        "versions": {
            **{"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
            **{"opencv": cv2.__version__, "av": av.__version__},  # which decode what is trained on
        },
        "launch": launch_id(),
        "values": {key: value for key, value, _ in rows},
        "set": {key: origin for key, _, origin in rows if origin != "default"},
    }
    return as_json(about)


def rows_in_force(config: ConfigFile, in_force: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Returns (dotted path, plain value, "default" or where it was set) for every key, those of the method included."""
    rows = [
        (key, in_force.get(key, value) if value is None or value == {} else value, origin)
        for key, value, origin in config.explain()
    ]
    named = {key for key, _, _ in rows}
    place = next(i for i, (key, _, _) in enumerate(rows) if not key.startswith("common.model"))
    own = [key for key in in_force if key.startswith("common.model.") and key not in named]
    rows[place:place] = [(key, in_force[key], "default") for key in own]
    return [(key, as_json(value), origin) for key, value, origin in rows]


def as_json(value: Any) -> Any:
    """Returns a value as JSON would hold it, so that checkpoints and pages can keep it."""
    return json.loads(json.dumps(value, default=str))


def head_lines(about: Mapping[str, Any]) -> list[str]:
    """Returns the lines with which a log begins."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"command: {about['command']}",
        f"code: {about['commit'] or 'no git commit'}, digest {about['code']}",
        f"machine: {about['machine']}, {about['device']}, {about['processes']} process(es), {versions}",
    ]


def config_lines(about: Mapping[str, Any]) -> list[str]:
    """Returns a line for each value that was set, with its place: what config.yaml and the command line said."""
    return [f"  {key}: {about['values'][key]}  ({origin})" for key, origin in about["set"].items()]


def commit(root: Path = ROOT) -> str:
    """Returns git's commit of the code, with a word if files differ from it; "" where there is no git."""
    top, _, named = _git(root, "rev-parse", "--show-toplevel", "HEAD").partition("\n")
    if not named or not Path(top).samefile(root):  # a copy inside of another project
        return ""
    return named + (" with changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """Returns the name of the GPU, or the type of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

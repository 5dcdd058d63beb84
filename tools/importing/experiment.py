"""Writes a new experiment folder: config.yaml with its header, and the two scripts that every experiment has."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from utils.config.file import load_config
from utils.errors import ConfigError, UserError
from utils.files import ROOT, atomic_write

CONFIG = "config.yaml"
SCRIPTS = ROOT / "exps" / "template" / "tsm_resnet50"
_LIST = "tag:yaml.org,2002:seq"


class _Dumper(yaml.SafeDumper):
    """Writes mappings in blocks and lists in one line, as in our configs."""


# a text None gets quotes, because configs read None as null
_Dumper.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^None$"), ["N"])
_Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence(_LIST, value, flow_style=True))


def config_text(raw: Mapping[str, Any], header: str) -> str:
    """Returns the text of a config: the comment lines of `header`, then {"common": ...} in the given order."""
    return header + yaml.dump(dict(raw), Dumper=_Dumper, sort_keys=False, indent=4, width=120)


def checked(raw: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """Returns `raw` with the overrides `common.key=value`. Raises: ConfigError, as main.py would for this config."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG
        path.write_text(config_text(raw, ""), encoding="utf-8")
        try:
            return load_config(path, overrides).raw
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), CONFIG)) from None


def write_experiment(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes train.sh, eval.sh and then the files `texts` (name -> text) in their order.

    When the last of them exists, all do. Raises: UserError when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for script in ("train.sh", "eval.sh"):
            with atomic_write(folder / script) as file:
                file.write((SCRIPTS / script).read_bytes())
            shutil.copymode(SCRIPTS / script, folder / script)
        for name, text in texts.items():
            with atomic_write(folder / name, "w") as file:
                file.write(text)
    except OSError as error:
        raise UserError(f"{folder}: cannot write here: {error.strerror}; name another folder") from None

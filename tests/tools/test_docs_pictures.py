"""The pictures of docs/ are small, and all of them are shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.requirements import ROOT
from tools.docs_pictures import IMAGES, LARGEST, write_config, write_small
from utils.config.file import load_config
from utils.errors import UserError


def test_every_picture_is_small_and_shown() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"\]\(images/([\w.]+)\)", pages))
    assert shown == {path.name for path in IMAGES.iterdir()}
    assert max(path.stat().st_size for path in IMAGES.iterdir()) <= LARGEST


@pytest.mark.whole
def test_a_picture_that_is_too_large_is_not_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    with pytest.raises(UserError, match="pictures in docs/ have at most 150000; show less in it"):
        write_small(Image.fromarray(noise), tmp_path / "noise.png")
    assert not list(tmp_path.iterdir())
    assert write_small(Image.fromarray(noise[:20]), tmp_path / "small.png") == (tmp_path / "small.png").stat().st_size


def test_the_experiment_behind_them_is_a_valid_config_without_paths_of_a_machine(tmp_path: Path) -> None:
    write_config(tmp_path)
    assert load_config(tmp_path / "config.yaml").common.model.num_class == 8
    text = yaml.safe_dump(yaml.safe_load((tmp_path / "config.yaml").read_text()))
    assert str(ROOT) not in text and "build/docs/data/lists/val.txt" in text

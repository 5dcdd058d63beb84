from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.protocol import clip_protocol
from datasets.split import open_split
from methods.build import build_method
from tests.helpers.experiment import make_experiment
from tools import browse_data
from tools.checking.browse_data import rows
from utils.config.file import load_config
from utils.errors import UserError
from utils.plots.contact_sheet import CAPTION, GAP


@pytest.mark.parametrize(("arguments", "views"), [([], 1), (["--val", "common.val_dense=true"], 10)])
def test_the_sheet_has_a_row_for_every_view(tmp_path: Path, arguments: list[str], views: int) -> None:
    config = make_experiment(tmp_path)
    out = tmp_path / "sheet.png"
    assert browse_data.main([str(config), *arguments, "--count", "3", "--out", str(out)]) == 0
    with Image.open(out) as image:
        assert image.height == 3 * views * (32 + CAPTION + GAP)
        assert image.width > 2 * (32 + GAP)  # captions longer than a row of pictures are not cut off


def test_the_frames_shown_are_those_whose_indices_are_written(tmp_path: Path) -> None:
    """Frame n of the tiny videos is n grey levels brighter, so a mean tells the frame."""
    config = make_experiment(tmp_path, augmentation={"input_size": 32, "flip": False})
    file = load_config(config)
    clip = build_method(file.common.model).clip
    protocol = clip_protocol(file.common, clip, train=True)
    split = open_split(file.common, "train", protocol)
    for epoch in range(3):
        indices = split.dataset.shown((epoch, 1))
        (caption, frames), *_ = rows(split, 1, epoch)
        assert indices is not None and caption == f"bright  {split.path(1)}  {indices[0].tolist()}"
        levels = frames.reshape(len(frames), -1).mean(1)
        step = np.diff(levels)[0] / np.diff(indices[0])[0]
        assert step == pytest.approx(1.0, abs=0.7)


def test_an_unreadable_frame_is_an_error_and_no_sheet(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    for frame in (tmp_path / "frames" / "dark" / "train 0").iterdir():
        frame.write_bytes(b"not a picture")
    with pytest.raises(UserError, match="train 0"):
        browse_data.main([str(config), "--out", str(tmp_path / "sheet.png")])
    assert not (tmp_path / "sheet.png").exists()

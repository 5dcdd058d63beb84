"""Strips show frames of the named video and stay small; a missing frame is reported, not replaced."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from anal_tools.experiment import read_config
from anal_tools.strips import HEIGHT, NUM_FRAMES, make_strips, strip_indices
from tests.helpers.results import make_config, make_data

PATHS = ["a/v 1", "b/<v>", "c/視"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_data(tmp_path / "data", PATHS, np.array([0, 1, 1]), frames=12, side=160)
    make_config(tmp_path, tmp_path / "data", 2)
    return tmp_path


def picture(uri: str) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_a_strip_has_the_videos_own_frames_in_order(data: Path) -> None:
    strips = make_strips(read_config(data).common, PATHS, budget=10**6)
    assert set(strips.pictures) == set(PATHS) and strips.problem is None and strips.left_out == 0
    image = picture(strips.pictures["b/<v>"])
    assert image.shape[:2] == (HEIGHT, NUM_FRAMES * HEIGHT + 2 * (NUM_FRAMES - 1))
    for place, frame in enumerate(strip_indices(12)):
        colour = image[HEIGHT // 2, place * (HEIGHT + 2) + HEIGHT // 2]
        assert np.abs(colour.astype(int) - (37, (frame + 1) * 30 % 256, 90)).max() < 12


def test_indices_are_inside_and_in_the_middle_of_equal_parts() -> None:
    assert strip_indices(12).tolist() == [1, 3, 5, 7, 9, 11]
    assert strip_indices(300).tolist() == [25, 75, 125, 175, 225, 275]
    for count in (1, 2, 5, 7):
        indices = strip_indices(count)
        assert len(indices) == min(NUM_FRAMES, count) and len(set(indices.tolist())) == len(indices)
        assert indices.min() >= 0 and indices.max() < count


def test_the_byte_budget_is_kept(data: Path) -> None:
    every = make_strips(read_config(data).common, PATHS, budget=10**6)
    some = make_strips(read_config(data).common, PATHS, budget=every.size() - 1)
    assert some.left_out == 1 and some.size() < every.size()


def test_a_missing_frame_is_reported(data: Path) -> None:
    for frame in (data / "data/frames/a/v 1").iterdir():
        frame.unlink()
    strips = make_strips(read_config(data).common, [*PATHS, "unlisted"], budget=10**6)
    assert set(strips.pictures) == set(PATHS[1:])
    assert strips.problem is not None and "a/v 1" in strips.problem


def test_frames_that_are_gone_are_one_note(data: Path) -> None:
    (data / "data/frames").rename(data / "elsewhere")
    strips = make_strips(read_config(data).common, PATHS, budget=10**6)
    assert not strips.pictures and strips.problem is not None and "not found" in strips.problem
    assert "no config" in str(make_strips(None, PATHS, budget=1).problem)


def test_a_video_of_the_training_list_is_found_where_folds_have_scored_it(data: Path) -> None:
    (data / "data/lists/val.txt").write_text("a/v 1 12 0\n")
    strips = make_strips(read_config(data).common, PATHS, budget=10**6)
    assert set(strips.pictures) == set(PATHS) and strips.problem is None

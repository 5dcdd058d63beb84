"""The results of several folds become those of one experiment, and their sums follow from all videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anal_tools.experiment import open_experiment
from anal_tools.fold_results import sum_up, together
from tests.helpers.results import make_results, scores_of
from tests.helpers.run_tool import run_tool
from utils.errors import UserError
from utils.scoring.metrics import wilson_interval
from utils.scoring.result_files import read_results, write_results

NAMES = ["run", "jump", "wave"]


def fold(folder: Path, number: int, *, videos: int = 8, names: list[str] = NAMES, how: str = "1 clip(s)") -> Path:
    """Results of one fold, whose videos carry its number."""
    folder.mkdir(parents=True)
    labels = np.arange(videos) % len(names)
    scores = scores_of(labels, len(names), seed=number, sharpness=1.5)
    paths = [f"v{number}_{index}" for index in range(videos)]
    protocol = f"{how}, {videos} videos"
    write_results(folder, paths=paths, labels=labels, scores=scores, class_names=names, protocol=protocol)
    return folder


def test_each_video_counts_once_and_the_interval_is_that_of_all(tmp_path: Path) -> None:
    folders = [fold(tmp_path / str(number), number, videos=8 + number) for number in range(3)]
    folds = [open_experiment(folder) for folder in folders]
    whole = together(folds)
    found = sum_up(folds, whole)
    right = sum(int((one.results.predicted == one.results.labels).sum()) for one in folds)
    assert 0 < right < 27 == len(whole.results)
    assert found.whole == pytest.approx(100 * right / 27)
    assert (found.low, found.high) == pytest.approx(tuple(float(end) for end in wilson_interval(right, 27)))
    assert found.mean == pytest.approx(np.mean(found.each)) and found.mean != pytest.approx(found.whole)
    said = run_tool("folds", "-e", *folders, "-o", tmp_path / "all", folder="anal_tools").stdout
    assert f"top-1 {found.text} over 27 videos" in said and f"mean of 3 folds: {found.mean:.2f} %" in said
    written = read_results(tmp_path / "all")
    assert written.paths == whole.results.paths and written.protocol == "1 clip(s), 3 folds, 27 videos"
    assert np.array_equal(written.labels, whole.results.labels)


def test_folds_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = open_experiment(fold(tmp_path / "a", 0))
    for folder, said in (
        (fold(tmp_path / "b", 0), "v0_0 is in the fold"),
        (fold(tmp_path / "c", 1, names=["x", "y", "z"]), "has other classes than"),
        (fold(tmp_path / "d", 2, how="10 clip(s)"), "was scored by 10 clip"),
    ):
        with pytest.raises(UserError, match=said) as error:
            together([first, open_experiment(folder)])
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="v0_0 is in the fold"):
        together([first, first])
    with pytest.raises(UserError, match="one fold sums up to itself"):
        together([first])
    make_results(tmp_path / "e", NAMES)
    (tmp_path / "e" / "reference_scores.npz").unlink()
    with pytest.raises(UserError, match="has no scores"):
        together([first, open_experiment(tmp_path / "e")])

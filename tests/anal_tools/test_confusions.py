"""Confusions are counted once, have a fixed order, and are forgiven only as the file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anal_tools.confusions import confused_pairs, forgiven_count, read_forgiven
from utils.errors import UserError
from utils.scoring.metrics import confusion_matrix

NAMES = ["dance", "hip hop dance", "run, fast", "7", "ski-jump"]


def test_pairs_hold_every_error_once(rng: np.random.Generator) -> None:
    predicted, labels, top = rng.integers(0, 5, 300), rng.integers(-1, 5, 300), rng.random(300)
    pairs = confused_pairs(predicted, labels, top)
    matrix = confusion_matrix(predicted, labels, num_class=5)
    assert {(p.truth, p.predicted): p.count for p in pairs} == {
        (t, p): matrix[t, p] for t in range(5) for p in range(5) if t != p and matrix[t, p]
    }
    assert sum(pair.share for pair in pairs) == pytest.approx(100)
    videos = np.concatenate([pair.videos for pair in pairs])
    assert sorted(videos) == np.flatnonzero((labels >= 0) & (labels != predicted)).tolist()
    for pair in pairs:
        assert (np.diff(top[pair.videos]) <= 0).all()


def test_pairs_are_ordered_by_count_then_class() -> None:
    predicted, labels = np.array([1, 1, 0, 2, 0]), np.array([0, 0, 1, 1, 2])
    pairs = confused_pairs(predicted, labels, np.ones(5))
    assert [(p.truth, p.predicted, p.count) for p in pairs] == [(0, 1, 2), (1, 0, 1), (1, 2, 1), (2, 0, 1)]
    assert [pair.count for pair in confused_pairs(predicted, labels, np.ones(5), limit=1)] == [2]


def test_no_errors_are_no_pairs() -> None:
    assert confused_pairs(np.array([0, 1]), np.array([0, 1]), np.ones(2)) == []
    assert confused_pairs(np.empty(0, int), np.empty(0, int), np.empty(0)) == []


@pytest.mark.parametrize(
    "line",
    [
        *("hip hop dance\tdance", "hip hop dance,dance", "hip hop dance -> dance", "1 0", "1,0", "hip hop dance 0"),
        *('"hip hop dance","dance"', "  hip hop dance ;  dance "),
    ],
)
def test_a_pair_is_understood_in_many_spellings(tmp_path: Path, line: str) -> None:
    (tmp_path / "pairs.txt").write_text(f"# child parent\n\n{line}\n")
    assert read_forgiven(tmp_path / "pairs.txt", NAMES) == [(1, 0)]


def test_names_with_commas_and_numbers_as_names_are_found(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("run, fast,7\nski-jump 7\n")
    assert read_forgiven(tmp_path / "pairs.txt", NAMES) == [(2, 3), (4, 3)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hip hop danse\tdance", r"pairs\.txt:1: 'hip hop danse' is not a class; did you mean 'hip hop dance'"),
        ("dance\t9", "'9' is not a class"),
        ("nonsense", "is not a pair of classes"),
        ("x y", "is not a pair of classes"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "pairs.txt").write_text(line)
    with pytest.raises(UserError, match=message):
        read_forgiven(tmp_path / "pairs.txt", NAMES)


def test_a_line_with_two_readings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("a b c\n")
    with pytest.raises(UserError, match="several ways"):
        read_forgiven(tmp_path / "pairs.txt", ["a", "a b", "b c", "c"])


def test_only_parents_predicted_for_their_children_are_forgiven() -> None:
    confusion = np.array([[5, 2, 0], [3, 4, 1], [0, 0, 6]])
    assert forgiven_count(confusion, [(1, 0)]) == 3
    assert forgiven_count(confusion, [(1, 0), (1, 0), (0, 0)]) == 3
    assert forgiven_count(confusion, [(1, 0), (0, 1)]) == 5

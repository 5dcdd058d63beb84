"""The verdict about the order of frames is as sure as the videos allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anal_tools.experiment import Experiment, open_experiment
from tools.starting.truth import CERTAIN, POSSIBLE, UNSEEN, accuracy_text, advice, order_matters
from utils.scoring.result_files import write_results


def answers(folder: Path, right: str) -> Experiment:
    """Results of as many videos as `right` has letters; y: the answer is right."""
    folder.mkdir()
    labels = np.arange(len(right)) % 2
    guess = np.where(np.array(list(right)) == "y", labels, 1 - labels)
    paths = [f"v{number}" for number in range(len(right))]
    scores = np.eye(2, dtype=np.float32)[guess]
    write_results(folder, paths=paths, labels=labels, scores=scores, class_names=["a", "b"], protocol="p, n videos")
    return open_experiment(folder)


@pytest.mark.parametrize(
    ("blind", "aware", "word", "said"),
    [
        ("n" * 10 + "y" * 10, "y" * 20, CERTAIN, "the order of frames matters for your classes: "),
        ("nnnnn" + "y" * 15, "y" * 20, POSSIBLE, "on the border of chance"),
        ("nn" + "y" * 18, "ynn" + "y" * 17, UNSEEN, "no sign that the order of frames matters for your classes: "),
        ("y" * 20, "n" * 10 + "y" * 10, UNSEEN, "differs by -50.0 points"),
        ("ny" * 10, "ny" * 10, UNSEEN, "both heads have the same videos right"),
    ],
)
def test_order_matters_where_chance_is_unlikely(tmp_path: Path, blind: str, aware: str, word: str, said: str) -> None:
    found, sentence = order_matters(answers(tmp_path / "blind", blind), answers(tmp_path / "aware", aware))
    assert found == word and said in sentence


def test_an_accuracy_comes_with_its_interval_and_with_chance(tmp_path: Path) -> None:
    text = accuracy_text(answers(tmp_path / "one", "y" * 15 + "n" * 5))
    assert text == "75.0 % of 20 videos right (95 % interval 53.1 to 88.8; guessing: 50.0 %)"


@pytest.mark.parametrize(
    ("right", "regex", "said"),
    [
        ("yyyn", None, "look at the wrong answers"),
        ("yyyy", None, "too good to be true; --group-regex"),
        ("yyyy", "(.*)_", "whether the background alone shows the class"),
    ],
)
def test_what_to_look_at_first_depends_on_what_is_wrong(
    tmp_path: Path, right: str, regex: str | None, said: str
) -> None:
    assert said in advice(answers(tmp_path / "tested", right), regex)

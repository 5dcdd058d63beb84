"""McNemar's test has its textbook values, and videos are paired by what they are, not by where they stand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anal_tools.compare import ABSENT, compare, config_differences, mcnemar
from anal_tools.experiment import Config, open_experiment
from tests.helpers.results import make_results
from utils.errors import UserError
from utils.scoring.result_files import TEXT


def write(folder: Path, lines: list[str]) -> Path:
    folder.mkdir()
    (folder / TEXT).write_text("".join(line + "\n" for line in lines))
    return folder


def test_mcnemar_has_known_values() -> None:
    # binomial(10, 1/2): P(X <= 1) = 11/1024; airline ratings of Fagerland et al. 2013: 1 against 7
    assert mcnemar(1, 9) == (2 * 11 / 1024, (2 * 11 - 10) / 1024)
    exact, mid = mcnemar(1, 7)
    assert exact == pytest.approx(0.0703, abs=1e-4) and mid == pytest.approx(0.0391, abs=1e-4)
    assert mcnemar(0, 0) == (1.0, 1.0)
    assert mcnemar(5, 5) == (1.0, 1.0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric_and_exact(first: int, second: int) -> None:
    exact, mid = mcnemar(first, second)
    assert (exact, mid) == mcnemar(second, first)
    total, low = first + second, min(first, second)
    tail = sum(math.comb(total, i) for i in range(low + 1))
    assert exact == min(1.0, 2 * tail / 2**total)
    assert 0 < mid <= exact <= 1


def test_mcnemar_of_many_thousand_videos_is_finite() -> None:
    exact, mid = mcnemar(4000, 16000)
    assert 0 <= mid <= exact < 1e-300
    assert mcnemar(9950, 10050)[0] == pytest.approx(0.484, abs=0.002)


def test_videos_are_paired_by_path_and_repetition(tmp_path: Path) -> None:
    one = write(
        tmp_path / "one", ["a 1.00 0 0", "b 1.00 0 1", "b 1.00 1 1", "c 1.00 0 0", "only 1.00 1 1", "t 1.00 0 0"]
    )
    two = write(tmp_path / "two", ["t 1.00 1 1", "c 1.00 1 0", "b 1.00 1 1", "b 1.00 1 1", "a 1.00 0 0"])
    result = compare(open_experiment(one), open_experiment(two))
    assert (result.both, result.only_first, result.only_second, result.neither) == (2, 1, 1, 0)
    assert result.broken == [(3, 1)] and result.fixed == [(1, 2)]
    assert result.unpaired == 3  # `z`, and `t` twice: its truth differs
    assert result.difference == 0 and result.low < 0 < result.high


def test_an_experiment_compared_to_itself_differs_nowhere(tmp_path: Path) -> None:
    make_results(tmp_path, ["a", "b", "c"])
    one = open_experiment(tmp_path)
    result = compare(one, one)
    assert result.only_first == result.only_second == 0 and result.exact_p == 1.0 and not result.fixed
    assert result.videos == len(one.results)


def test_different_classes_or_lists_cannot_be_compared(tmp_path: Path) -> None:
    make_results(tmp_path / "one", ["a", "b"])
    make_results(tmp_path / "two", ["a", "c"])
    one, two = open_experiment(tmp_path / "one"), open_experiment(tmp_path / "two")
    with pytest.raises(UserError, match="classes differ"):
        compare(one, two)
    three = open_experiment(write(tmp_path / "three", ["x 1.00 1 1"]))
    four = open_experiment(write(tmp_path / "four", ["y 1.00 1 1"]))
    with pytest.raises(UserError, match="no labelled video is in both"):
        compare(three, four)


def test_config_differences_name_what_is_absent() -> None:
    first, second = {"a": 1, "b": 2}, {"b": 3, "c": None}
    expected = [("a", 1, ABSENT), ("b", 2, 3), ("c", ABSENT, None)]
    assert config_differences(Config(None, first, {}, None), Config(None, second, {}, None)) == expected
    ran = [Config(None, {}, {}, None, in_force=values) for values in (first, second)]
    assert config_differences(*ran) == expected
    assert config_differences(Config(None, first, {}, None), ran[1]) == [("a", 1, ABSENT), ("b", 2, ABSENT)]

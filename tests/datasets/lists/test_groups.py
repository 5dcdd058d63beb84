"""Groups of videos stay whole, and folds share every class."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.lists.groups import fold_split, group_names
from tests.helpers.groups import labels_and_groups
from utils.errors import UserError


def test_groups_of_ucf_101_belong_to_their_class() -> None:
    names = ["v_A_g01_c01", "v_A_g01_c02", "v_A_g02_c01", "v_B_g01_c01", "plain"]
    assert group_names(names, ["A", "A", "A", "B", "B"], regex=None) == ["A/01", "A/01", "A/02", "B/01", "single 4"]


def test_groups_of_a_regex_reach_over_classes() -> None:
    names = ["person01_walk", "person01_run", "person02_run"]
    assert group_names(names, ["walk", "run", "run"], regex=r"person(\d+)_") == ["01", "01", "02"]
    assert group_names(names, ["walk", "run", "run"], regex=r"person\d+") == ["person01", "person01", "person02"]
    with pytest.raises(UserError, match="matches no video"):
        group_names(names, ["walk", "run", "run"], regex="subject")
    with pytest.raises(UserError, match="--group-regex"):
        group_names(names, ["walk", "run", "run"], regex="(")


@pytest.mark.whole
@settings(max_examples=60)
@given(
    sizes=st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=12), min_size=1, max_size=5),
    folds=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_folds_keep_groups_whole_and_share_every_class(sizes: list[list[int]], folds: int, seed: int) -> None:
    labels, groups = labels_and_groups(sizes)
    sets = [[label] for label in labels]
    if len(set(groups)) < folds:
        with pytest.raises(UserError, match="give fewer folds"):
            fold_split(sets, groups, folds=folds, seed=seed)
        return
    places = fold_split(sets, groups, folds=folds, seed=seed)
    assert set(places) <= set(range(folds))
    assert len(set(zip(groups, places, strict=True))) == len(set(groups))
    for c, counts in enumerate(sizes):
        held = Counter(place for label, place in zip(labels, places, strict=True) if label == f"c{c}")
        spread = [held[place] for place in range(folds)]
        assert max(spread) < sum(counts)  # each fold trains on every class
        assert max(spread) - min(spread) <= max(counts)


def test_folds_without_groups_are_equal_and_the_same_for_the_same_seed() -> None:
    labels, groups = [["a"]] * 12 + [["b"]] * 9, [f"g{n}" for n in range(21)]
    places = fold_split(labels, groups, folds=3, seed=0)
    assert Counter(places[:12]) == dict.fromkeys(range(3), 4) and Counter(places[12:]) == dict.fromkeys(range(3), 3)
    assert places == fold_split(labels, groups, folds=3, seed=0) != fold_split(labels, groups, folds=3, seed=1)


def test_a_class_with_one_video_cannot_be_divided_into_folds() -> None:
    with pytest.raises(UserError, match="class 'b' has one video or group of videos"):
        fold_split([["a"], ["a"], ["b"]], ["x", "y", "z"], folds=2, seed=0)

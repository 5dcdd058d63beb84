from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.groups import labels_and_groups
from tools.listing.splits import SplitRow, ratio_split, read_split
from utils.errors import ListError, UserError


def ucf(folder: Path, *, train: str, test: str, classes: str = "1 Archery\n2 Yo Yo\n") -> Path:
    for name, text in (("trainlist01.txt", train), ("testlist01.txt", test), ("classInd.txt", classes)):
        (folder / name).write_text(text)
    return folder


def test_ucf_101_labels_count_from_1_and_its_test_list_has_none(tmp_path: Path) -> None:
    folder = ucf(
        tmp_path,
        train="Archery/v_Archery_g08_c01.avi 1\nYo Yo/v_Yo Yo_g08_c02.avi 2\r\n\n",
        test="Yo Yo/v_Yo Yo_g01_c01.avi\nArchery/v_Archery_g01_c01.avi\n",
    )
    split = read_split(folder, number=1)
    assert split.classes == ("Archery", "Yo Yo")
    assert split.rows == (
        SplitRow("Archery", "v_Archery_g08_c01", "train"),
        SplitRow("Yo Yo", "v_Yo Yo_g08_c02", "train"),
        SplitRow("Yo Yo", "v_Yo Yo_g01_c01", "val"),
        SplitRow("Archery", "v_Archery_g01_c01", "val"),
    )
    assert read_split(folder / "testlist01.txt", number=1) == split


@pytest.mark.parametrize(
    ("train", "classes", "said"),
    [
        ("Archery/a.avi 2\n", "1 Archery\n2 Yo Yo\n", "trainlist01.txt:1: label 2 is 'Yo Yo'"),
        ("Archery/a.avi 1\nDiving/a.avi 1\n", "1 Archery\n2 Yo Yo\n", "trainlist01.txt:2"),
        ("Archery/a.avi " + "9" * 5000 + "\n", "1 Archery\n2 Yo Yo\n", "trainlist01.txt:1: the class of"),
        ("Archery/a.avi 3\n", "1 Archery\n2 Yo Yo\n", "trainlist01.txt:1"),
        ("Archery/a.avi 1\n", "1 Archery\n3 Yo Yo\n", "classInd.txt"),
    ],
)
def test_ucf_101_files_that_disagree_are_an_error_with_a_line(
    train: str, classes: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ListError) as error:
        read_split(ucf(tmp_path, train=train, test="Archery/b.avi\n", classes=classes), number=1)
    assert said in str(error.value)


def test_hmdb_51_takes_1_for_training_2_for_testing_and_leaves_0_out(tmp_path: Path) -> None:
    (tmp_path / "brush_hair_test_split2.txt").write_text("a #1 (x).avi 1 \nb.avi 2 \nc.avi 0 \n")
    (tmp_path / "cartwheel_test_split2.txt").write_text("d.avi 2 \n")
    split = read_split(tmp_path, number=2)
    assert split.classes == ("brush_hair", "cartwheel")
    assert split.rows == (
        SplitRow("brush_hair", "a #1 (x)", "train"),
        SplitRow("brush_hair", "b", "val"),
        SplitRow("cartwheel", "d", "val"),
    )
    (tmp_path / "cartwheel_test_split2.txt").write_text("d.avi 3\n")
    with pytest.raises(ListError, match=r"cartwheel_test_split2\.txt:1: 'd.avi 3' is not `video 0|1|2`"):
        read_split(tmp_path, number=2)


def test_a_folder_without_split_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither trainlist03"):
        read_split(tmp_path, number=3)
    with pytest.raises(UserError, match="no such split"):
        read_split(tmp_path / "x", number=1)


@pytest.mark.whole
@settings(max_examples=60)
@given(
    sizes=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=12), min_size=1, max_size=5),
    ratio=st.floats(0.05, 0.6),
    seed=st.integers(0, 1000),
)
def test_ratio_keeps_groups_whole_and_its_share_of_every_class(sizes: list[list[int]], ratio: float, seed: int) -> None:
    labels, groups = labels_and_groups(sizes)
    sets = [[label] for label in labels]
    sides = ratio_split(sets, groups, ratio=ratio, seed=seed)
    where = defaultdict(set)
    for group, side in zip(groups, sides, strict=True):
        where[group].add(side)
    assert all(len(found) == 1 for found in where.values())
    val = Counter(label for label, side in zip(labels, sides, strict=True) if side == "val")
    for c, counts in enumerate(sizes):
        total = sum(counts)
        assert val[f"c{c}"] < total  # something is left to train on
        if len(counts) > 1:
            assert val[f"c{c}"] >= 1
            assert abs(val[f"c{c}"] - ratio * total) <= 4  # the largest group
        else:
            assert val[f"c{c}"] == 0


def test_ratio_is_exact_without_groups_and_the_same_for_the_same_seed() -> None:
    labels = ["a"] * 50 + ["b"] * 30
    groups = [f"g{n}" for n in range(80)]
    sets = [[label] for label in labels]
    sides = ratio_split(sets, groups, ratio=0.2, seed=3)
    assert Counter(zip(labels, sides, strict=True)) == {
        ("a", "val"): 10, ("a", "train"): 40, ("b", "val"): 6, ("b", "train"): 24,
    }  # fmt: skip
    assert sides == ratio_split(sets, groups, ratio=0.2, seed=3) != ratio_split(sets, groups, ratio=0.2, seed=4)
    order = np.random.default_rng(0).permutation(80)
    shuffled = ratio_split([[labels[n]] for n in order], [groups[n] for n in order], ratio=0.2, seed=3)
    assert [sides[n] for n in order] == shuffled


def test_people_who_appear_in_many_classes_are_never_in_both_sets() -> None:
    labels = [label for _ in range(25) for label in ("walk", "run", "wave")]
    groups = [f"person{p}" for p in range(25) for _ in range(3)]
    sets = [[label] for label in labels]
    sides = ratio_split(sets, groups, ratio=0.2, seed=0)
    assert len({(group, side) for group, side in zip(groups, sides, strict=True)}) == 25
    assert sides.count("val") == 15

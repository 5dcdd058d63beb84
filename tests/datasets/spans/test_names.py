"""Class names are matched whatever their spelling, and each difference is said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.lists.class_names import Classes
from datasets.spans.names import match_classes, one_spelling
from datasets.spans.span import SpanTable
from tests.datasets.spans.examples import video

FILE = Path("classInd.txt")


def table(*labels: str) -> SpanTable:
    spans = [(float(number), number + 1.0, label) for number, label in enumerate(labels)]
    return SpanTable((video("a", *spans),), tuple(sorted(set(labels))))


def labels_of(found: SpanTable) -> list[str]:
    return [span.label for span in found.spans]


def test_the_spelling_that_is_used_most_is_taken_for_all() -> None:
    found, notes = one_spelling(table("Long Jump", "long_jump", "Long Jump", "LONG-JUMP", "run"))
    assert labels_of(found) == ["Long Jump"] * 4 + ["run"] and found.classes == ("Long Jump", "run")
    assert sorted(notes) == [
        "class 'LONG-JUMP' (1 span) is taken as 'Long Jump' (2 spans)",
        "class 'long_jump' (1 span) is taken as 'Long Jump' (2 spans)",
    ]


@pytest.mark.parametrize("names", [("1 12", "11 2"), ("lift 1-10", "lift 11-0"), ("-1", "1"), ("3 12", "312")])
def test_numbers_that_differ_are_no_spellings_of_each_other(names: tuple[str, str]) -> None:
    found, notes = one_spelling(table(*names))
    assert labels_of(found) == list(names) and not notes


def test_numbers_may_have_other_separators() -> None:
    assert len(one_spelling(table("lift 1-10", "Lift 1_10", "lift_1 10"))[0].classes) == 1


def test_labels_get_the_names_of_the_class_file() -> None:
    found, notes, faults = match_classes(
        table("longjump", "longjump", "Run"), Classes(["Walk", "run", "Long Jump"], FILE)
    )
    assert labels_of(found) == ["Long Jump", "Long Jump", "run"] and found.classes == ("Walk", "run", "Long Jump")
    assert notes == ["class 'Run' is taken as 'run'", "class 'longjump' is taken as 'Long Jump'"] and not faults


def test_an_unknown_class_is_a_fault_that_names_the_nearest_one() -> None:
    found, _, faults = match_classes(table("runing", "runing"), Classes(["walk", "running"], FILE))
    assert labels_of(found) == ["runing"] * 2
    assert [fault.message.partition(": ")[2] for fault in faults] == [
        "class 'runing' (2 spans) is not in classInd.txt; perhaps 'running' is meant; rename it, or add it to the "
        "class file"
    ]


def test_nothing_is_guessed_where_two_classes_have_the_same_letters() -> None:
    _, _, faults = match_classes(table("RUN"), Classes(["run", "Run"], FILE))
    assert "perhaps 'run' or 'Run' is meant" in faults[0].message


def test_numbers_and_codes_stand_for_the_lines_of_a_class_file() -> None:
    found, _, faults = match_classes(table("0", "2"), Classes(["a", "b", "c"], FILE))
    assert labels_of(found) == ["a", "c"] and not faults
    found, _, faults = match_classes(table("1", "3"), Classes(["a", "b", "c"], FILE, first=1))
    assert labels_of(found) == ["a", "c"] and not faults
    assert match_classes(table("0", "7"), Classes(["a", "b"], FILE))[2]
    found, _, faults = match_classes(table("c001"), Classes(["c000 Holding clothes", "c001 Putting clothes"], FILE))
    assert labels_of(found) == ["c001 Putting clothes"] and not faults

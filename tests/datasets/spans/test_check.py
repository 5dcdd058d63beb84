"""What is wrong with spans, and what --fix makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.spans.check import check
from datasets.spans.files import read_labels, read_spans
from datasets.spans.span import LabeledVideo, Span, SpanTable
from tests.datasets.spans.examples import video
from utils.errors import ListError

HEADER = "video,label,start,end\n"


def checked(*spans: tuple, duration: float | None = 10.0) -> tuple[list[tuple[float, float]], list[tuple[str, str]]]:
    """The spans as they are mended, and each fault with its remedy."""
    table, faults = check(SpanTable((video("a", *spans, duration=duration),), ("x",)))
    return [(span.start, span.end) for span in table.spans], [(fault.message, fault.fix) for fault in faults]


@pytest.mark.parametrize(
    ("span", "mended", "message", "fix"),
    [
        ((3.0, 2.0, "x"), [(2.0, 3.0)], "ends before it begins; exchange the two", "start and end are exchanged"),
        ((2.0, 2.0, "x"), [], "has no length", "the span is left out"),
        ((-2.0, -1.0, "x"), [], "lies outside of the video, which lasts 10.00 s", "the span is left out"),
        ((11.0, 12.0, "x"), [], "lies outside of the video", "the span is left out"),
        ((-1.0, 2.0, "x"), [(0.0, 2.0)], "begins before the video", "it begins at 0"),
        ((9.0, 10.2, "x"), [(9.0, 10.0)], "ends behind the end of the video, which lasts", "it ends with the video"),
    ],
)
def test_a_span_that_cannot_be_is_found_and_mended(
    span: tuple, mended: list[tuple[float, float]], message: str, fix: str
) -> None:
    found, faults = checked(span)
    assert found == mended and len(faults) == 1
    assert faults[0][0].startswith(f"a: 'x' from {span[0]:g} to {span[1]:g} s {message}") and faults[0][1] == fix


def test_a_swapped_span_behind_the_end_has_two_faults() -> None:
    found, faults = checked((12.0, 9.0, "x"))
    assert found == [(9.0, 10.0)] and len(faults) == 2


def test_a_duration_that_is_rounded_is_no_fault() -> None:
    assert checked((9.0, 10.05, "x")) == ([(9.0, 10.05)], [])
    assert checked((9.0, 99.0, "x"), duration=None)[1] == []


def test_a_span_that_is_there_twice_counts_once() -> None:
    found, faults = checked((1.0, 2.0, "x"), (1.0, 2.0, "x"), (1.0, 2.0, "y"))
    assert found == [(1.0, 2.0)] * 2 and faults[0][0].endswith(
        "'x' from 1 to 2 s is there twice; remove one of the two"
    )


def test_the_length_of_a_video_is_its_frames_where_no_duration_is_known() -> None:
    one = LabeledVideo("a", (Span(1.0, 9.0, "x"),), fps=10.0, num_frames=50)
    table, faults = check(SpanTable((one,), ("x",)))
    assert [span.end for span in table.spans] == [5.0] and len(faults) == 1


def test_times_that_are_none_are_faults_with_their_line(tmp_path: Path) -> None:
    rows = 'a,x,"1,5",2\na,x,nan,2\na,x,1,inf\na,x,one,2\na,x,"0:01,5",0:02\n'
    (tmp_path / "l.csv").write_text(HEADER + rows)
    labels = read_labels([tmp_path / "l.csv"])
    assert [(span.start, span.end) for span in labels.table.spans] == [(1.5, 2.0)] * 1
    said = [fault.message.removeprefix(f"{tmp_path}/l.csv:").partition(";")[0] for fault in labels.faults]
    assert said == [
        "2: start '1,5' has a comma",
        "3: start 'nan' is not a time",
        "4: end 'inf' is not a time",
        "5: start 'one' is not a time",
        "6: start '0:01,5' has a comma",
        "6: 'x' from 1.5 to 2 s is there twice",
    ]
    assert [bool(fault.fix) for fault in labels.faults] == [True, False, False, False, True, True]


def test_numbers_that_json_has_and_time_has_not_are_faults(tmp_path: Path) -> None:
    for text in ("NaN", "1e999", "true", "null", "[1]", "9" * 5000):
        (tmp_path / "l.json").write_text(
            f'{{"database": {{"a": {{"annotations": [{{"label": "x", "segment": [0, {text}]}}]}}}}}}'
        )
        with pytest.raises(ListError, match=r"is not a time|begins like JSON"):
            read_spans([tmp_path / "l.json"])


def test_two_files_that_disagree_about_a_video_are_named(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text(f"{HEADER}a.mp4,x,1,2\nb.mp4,x,1,2\n")
    (tmp_path / "2.csv").write_text(f"{HEADER}a.mp4,x,1,2\nb.mp4,x,1,3\n")
    labels = read_labels([tmp_path / "1.csv", tmp_path / "2.csv"])
    (fault,) = labels.faults
    assert fault.message == (
        f"{tmp_path}/1.csv and {tmp_path}/2.csv disagree about b.mp4: 'x' from 1 to 2 s is only in the first, "
        f"{tmp_path}/1.csv:3; leave out one of the files, or correct it"
    )
    assert labels.notes == ["in several files, with the same labels: 1 video"]


def test_two_files_that_spell_a_class_differently_agree(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text(f"{HEADER}a.mp4,high jump,1,2\nb.mp4,high jump,1,2\n")
    (tmp_path / "2.csv").write_text(f"{HEADER}a.mp4,High_Jump,1,2\n")
    labels = read_labels([tmp_path / "1.csv", tmp_path / "2.csv"])
    assert labels.faults == [] and labels.table.classes == ("high jump",)
    (tmp_path / "2.csv").write_text(f"{HEADER}a.mp4,High_Jump,1,2\na.mp4,High_Jump,5,6\n")
    (fault,) = read_labels([tmp_path / "1.csv", tmp_path / "2.csv"]).faults
    assert "'High_Jump' from 5 to 6 s is only in the second" in fault.message


def test_a_video_in_two_subsets_is_named(tmp_path: Path) -> None:
    for subset in ("training", "validation"):
        (tmp_path / f"{subset}.csv").write_text(f"video,label,start,end,subset\na.mp4,x,1,2,{subset}\n")
    with pytest.raises(ListError, match=r"disagree about a\.mp4: subset training and validation"):
        read_spans([tmp_path / "training.csv", tmp_path / "validation.csv"])


def test_facts_that_contradict_each_other_in_one_file_are_an_error(tmp_path: Path) -> None:
    for key, values in (("subset", ("training", "validation")), ("duration", (10.0, 20.0))):
        rows = "".join(f"a.mp4,x,{place},{place + 1},{value}\n" for place, value in enumerate(values))
        (tmp_path / "l.csv").write_text(f"video,label,start,end,{key}\n{rows}")
        with pytest.raises(ListError, match=rf"l\.csv:3: a\.mp4 has {key} {values[0]} and {values[1]} in one file"):
            read_spans([tmp_path / "l.csv"])


def test_what_only_the_second_file_knows_of_a_video_is_kept(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("video,label,start,end,subset\na.mp4,x,1,2,val\n")
    (tmp_path / "2.csv").write_text("video,label,start,end,duration,fps\na.mp4,x,1,2,9,25\n")
    table = read_spans([tmp_path / "1.csv", tmp_path / "2.csv"])
    assert table.videos == (video("a.mp4", (1.0, 2.0, "x"), subset="val", duration=9.0, fps=25.0),)


def test_files_of_single_classes_add_up(tmp_path: Path) -> None:
    for name in ("Walk", "Run"):
        (tmp_path / f"{name}.txt").write_text("v 1.0 2.0\n")
    table = read_spans([tmp_path / "Walk.txt", tmp_path / "Run.txt"])
    assert table == SpanTable((video("v", (1.0, 2.0, "Run"), (1.0, 2.0, "Walk")),), ("Run", "Walk"))

"""Every format: the spans of files as the tools write them, round trips, and what a format cannot hold."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from datasets.lists.class_names import Classes
from datasets.spans.document import Document
from datasets.spans.files import read_labels, read_spans, texts_of, write_spans
from datasets.spans.format import Format, losses
from datasets.spans.formats import FORMATS, find_format
from datasets.spans.span import LabeledVideo, Span, SpanTable, in_order
from tests.datasets.spans.examples import EXAMPLES, Example, video
from utils.errors import UserError
from utils.files import ROOT

FPS = 25.0
LABELS = ["run", "jump high", "öffnen & <schließen>", "a, b", "12"]
OWN_LABELS = {"epic_kitchens": ["3 12", "0 4"], "finegym": ["vault", "uneven bars"]}


def same(one: float, other: float) -> bool:
    return one == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_a_file_as_its_tool_writes_it_is_read(example: Example, tmp_path: Path) -> None:
    path = example.write(tmp_path)
    assert find_format(Document(path)) == example.form
    labels = read_labels([path], fps=example.fps)
    assert not labels.faults
    found = labels.table.videos
    assert [replace(one, spans=()) for one in found] == [replace(one, spans=()) for one in example.videos]
    for one, other in zip(found, example.videos, strict=True):
        assert [(span.label, span.score) for span in one.spans] == [(span.label, span.score) for span in other.spans]
        for span, wanted in zip(one.spans, other.spans, strict=True):
            assert same(span.start, wanted.start) and same(span.end, wanted.end)


def test_every_format_has_an_example() -> None:
    assert {example.form for example in EXAMPLES.values()} == set(FORMATS)


@st.composite
def tables(draw: st.DrawFn, name: str) -> SpanTable:
    """Tables with times that every format keeps: whole frames, which are whole milliseconds."""
    labels = st.sampled_from(OWN_LABELS.get(name, LABELS))
    exact = FORMATS[name].tick == 0.0
    moments = st.floats(0, 1e5) if exact else st.integers(0, 100_000).map(lambda frame: frame / FPS)
    spans = st.builds(
        lambda start, length, label, score: Span(start, start + length, label, score),
        moments,
        moments.filter(lambda seconds: seconds > 0.01),
        labels,
        st.none() | st.floats(0, 1),
    )
    names = st.sampled_from(["a.mp4", "sub/b c.mp4", "d/ü.avi", "P01_01", "-x_E_1"])
    chosen = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    videos = []
    for number, one in enumerate(sorted(chosen)):
        own = draw(st.lists(spans, min_size=not number, max_size=4, unique_by=lambda s: (s.start, s.end, s.label)))
        about = {
            "duration": draw(st.none() | st.floats(3e5, 1e6)),
            "num_frames": draw(st.none() | st.integers(10**7, 10**8)),
        }
        videos.append(LabeledVideo(one, in_order(own), fps=FPS, subset=draw(st.sampled_from(["val", "test"])), **about))
    used = {span.label for one in videos for span in one.spans}
    return SpanTable(tuple(videos), tuple(draw(st.permutations(sorted(used)))))


def kept(table: SpanTable, form: Format) -> SpanTable:
    """What the table is after it has been written and read, by what the format says that it holds."""
    videos = []
    for one in table.videos:
        about = {key: None for key in ("duration", "fps", "num_frames") if key not in form.holds}
        if "subset" not in form.holds:
            about["subset"] = ""
        spans = one.spans if "score" in form.holds else [replace(span, score=None) for span in one.spans]
        if spans or "empty" in form.holds:
            videos.append(replace(one, name=form.name_as(one.name), spans=in_order(spans), **about))
    classes = table.classes if "classes" in form.holds else sorted({span.label for span in table.spans})
    return SpanTable(tuple(sorted(videos, key=lambda one: one.name)), tuple(classes))


def rounded(table: SpanTable) -> SpanTable:
    """The table with times to a microsecond, as sums of hours, minutes and seconds are not exact."""
    videos = [
        replace(one, spans=tuple(replace(s, start=round(s.start, 6), end=round(s.end, 6)) for s in one.spans))
        for one in table.videos
    ]
    return replace(table, videos=tuple(videos))


@pytest.mark.whole
@pytest.mark.parametrize("name", FORMATS)
def test_a_round_trip_loses_only_what_the_format_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    form = FORMATS[name]

    @given(tables(name))
    @settings(max_examples=5, derandomize=True)
    def check(table: SpanTable) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                files = write_spans(table, Path(folder) / "out", name)
            except UserError as error:
                assert name == "finegym" and "same whole seconds" in str(error)
                reject()
            assert {find_format(Document(file)) for file in files} == {name}
            labels = read_labels(files, fps=FPS)
        assert not labels.faults
        found, wanted = labels.table, kept(table, form)
        if form.tick != 0.0:
            found, wanted = rounded(found), rounded(wanted)
        assert found == wanted

    check()


def test_what_a_format_cannot_hold_is_said() -> None:
    table = SpanTable(
        (
            video("d/a.mp4", (0.1234, 1.0, "run", 0.5), duration=9.0, fps=25.0, num_frames=225, subset="val"),
            video("d/b.mp4"),
        ),
        ("walk", "run"),
    )
    assert losses(table, FORMATS["srt"]) == [
        "SRT cannot hold the scores of 1 span",
        "SRT cannot hold the subsets of 1 video",
        "SRT cannot hold the durations of 1 video",
        "SRT cannot hold the frame rates of 1 video",
        "SRT cannot hold the numbers of frames of 1 video",
        "SRT cannot hold 1 video without spans",
        "SRT cannot hold the order of 2 classes, and those without spans",
        "SRT names 2 videos otherwise: d/a.mp4 is a",
        "SRT rounds 1 time to milliseconds, by 0.4 ms at most",
    ]
    assert losses(table, FORMATS["label_studio"])[-1] == "Label Studio rounds 1 time to whole frames, by 3.4 ms at most"
    assert losses(replace(table, classes=("run",)), FORMATS["csv"]) == []


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        (
            "label_studio",
            SpanTable((video("a", (0.0, 1.0, "x")),), ("x",)),
            "how many a second there are; give --videos",
        ),
        ("thumos14", SpanTable((video("a", (0.0, 1.0, "x")),), ("x",)), "its subset is 'unknown'; write multithumos"),
        ("multithumos", SpanTable((video("a", (0.0, 1.0, "a/b")),), ("a/b",)), "is no name of a file"),
        ("multithumos", SpanTable((video("a", (0.0, 1.0, "a_val")),), ("a_val",)), "is no name of a file"),
        ("charades", SpanTable((video("a", (0.0, 1.0, "a;b")),), ("a;b",)), "separates actions by semicolons"),
        ("epic_kitchens", SpanTable((video("a", (0.0, 1.0, "run")),), ("run",)), "two numbers such as '3 12'"),
        ("finegym", SpanTable((video("a", (0.0, 1.0, "run")),), ("run",)), "names events only"),
        ("srt", SpanTable((video("a", (0.0, 1.0, "a --> b")),), ("a --> b",)), "cannot hold an arrow"),
        ("fiftyone", SpanTable((video("a.avi"), video("a.mp4")), ()), "FiftyOne would call two videos a; rename one"),
        ("multithumos", SpanTable((video("a,b", (0.0, 1.0, "x")),), ("x",)), "cannot name this video: its name has a"),
        ("multithumos", SpanTable((video("a 1", (0.0, 1.0, "x")),), ("x",)), "a number behind its name may be a start"),
        ("srt", SpanTable((video("a", (0.0, 1.0, "x")), video("b/a", (0.0, 1.0, "x"))), ("x",)), "two videos"),
        *(
            (name, SpanTable((video("a", (1.0, 1.0004, "x")),), ("x",)), "too short for")
            for name in ("srt", "vtt", "elan")
        ),
        ("srt", SpanTable((video("a", (1.0, 2.0, "x"), (1.0, 2.0001, "x")),), ("x",)), "are the same in SRT"),
        (
            "label_studio",
            SpanTable((video("a", (1.0, 1.01, "x"), (1.011, 1.02, "x"), fps=25.0),), ("x",)),
            "'x' from 1.011 to 1.02 s and another span are the same in Label Studio",
        ),
        ("csv", SpanTable((video("a", (0.0, 1.0, "nan")),), ("nan",)), "every span needs the name of a class"),
        ("csv", SpanTable((video("a", (0.0, 1.0, "-1")),), ("-1",)), "every span needs the name of a class"),
        ("csv", SpanTable((video("a", (0.0, 1.0, "2.0")),), ("2.0",)), "class '2.0': would be read as '2'; rename it"),
        ("srt", SpanTable((video("a"),), ()), "no span that SRT could hold"),
    ],
)
def test_what_cannot_be_written_is_an_error_and_nothing_is_written(
    name: str, table: SpanTable, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        write_spans(table, tmp_path / "out", name)
    assert not list(tmp_path.iterdir())


def test_several_videos_make_a_folder_and_one_a_file(tmp_path: Path) -> None:
    one, two = video("a.mp4", (0.0, 1.0, "x")), video("b.mp4", (0.0, 1.0, "x"))
    assert write_spans(SpanTable((one,), ("x",)), tmp_path / "a.eaf", "elan") == [tmp_path / "a.eaf"]
    assert write_spans(SpanTable((one,), ("x",)), tmp_path / "a.srt", "srt") == [tmp_path / "a.srt"]
    with pytest.raises(UserError, match=r"call it a\.srt, or give a folder"):
        write_spans(SpanTable((one,), ("x",)), tmp_path / "film.srt", "srt")
    files = write_spans(SpanTable((one, two), ("x",)), tmp_path / "both", "elan")
    assert files == [tmp_path / "both" / "a.eaf", tmp_path / "both" / "b.eaf"]
    assert read_spans(files).videos == (one, two)


def test_overlapping_spans_of_a_class_get_tiers_of_their_own(tmp_path: Path) -> None:
    table = SpanTable((video("a", (0.0, 2.0, "x"), (1.0, 3.0, "x"), (2.0, 4.0, "x")),), ("x",))
    (file,) = write_spans(table, tmp_path / "a.eaf", "elan")
    assert _tiers(file) == ["x", "x 2"]
    named_alike = SpanTable((video("a", (0.0, 2.0, "x"), (1.0, 3.0, "x"), (2.0, 4.0, "x 2")),), ("x", "x 2"))
    assert _tiers(write_spans(named_alike, tmp_path / "a.eaf", "elan")[0]) == ["x", "x 3", "x 2"]


def _tiers(file: Path) -> list[str]:
    return [tier.attrib["TIER_ID"] for tier in Document(file).xml.findall("TIER")]  # type: ignore[union-attr]


def test_webvtt_is_unescaped_and_loses_its_tags_and_srt_stays_as_it_is(tmp_path: Path) -> None:
    cue = "00:00:01.000 --> 00:00:02.500\n<v Anna><b>cut &amp; run</b> &lt;3\n"
    (tmp_path / "a.vtt").write_text(f"WEBVTT\n\n{cue}")
    (tmp_path / "a.srt").write_text(f"1\n{cue}")
    assert read_spans([tmp_path / "a.vtt"]).classes == ("cut & run <3",)
    assert read_spans([tmp_path / "a.srt"]).classes == ("<v Anna><b>cut &amp; run</b> &lt;3",)
    (out,) = write_spans(
        SpanTable((video("b", (0.0, 1.0, "a --> b & c")),), ("a --> b & c",)), tmp_path / "b.vtt", "vtt"
    )
    assert "a --&gt; b &amp; c" in out.read_text() and read_spans([out]).classes == ("a --> b & c",)


def test_a_number_with_a_fraction_of_zero_is_the_same_class(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("00:00:01,000 --> 00:00:02,500\n2.0\n\n00:00:03,000 --> 00:00:04,000\n2\n")
    assert read_spans([tmp_path / "a.srt"]).classes == ("2",)
    classes = Classes(["a", "b", "c"], Path("classInd.txt"))
    assert [span.label for span in read_spans([tmp_path / "a.srt"], classes=classes).spans] == ["c", "c"]


def test_times_in_seconds_count_where_a_table_also_has_frames(tmp_path: Path) -> None:
    header = "video,label,start_time,end_time,start_frame,end_frame\n"
    (tmp_path / "l.csv").write_text(f"{header}a.mp4,x,2,4,50,100\n")
    assert read_spans([tmp_path / "l.csv"], fps=25).videos == (video("a.mp4", (2.0, 4.0, "x")),)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    notes = []
    for example in ("label_studio", "via", "hacs_clips", "finegym", "epic_kitchens_numbers", "csv_clocks"):
        (tmp_path / example).mkdir()
        notes += read_labels([EXAMPLES[example].write(tmp_path / example)], fps=25).notes
    said = [note.partition(": ")[2] for note in notes]
    assert said[:4] == [
        "1 results of type choices have no times and are not read",
        "1 regions and single moments are not read",
        "1 clips that do not show their class (label -1) are not read",
        "2 elements have no label here; read gym99_train_element.txt or another list of elements from the same folder "
        "for them",
    ]
    assert said[4].startswith("labels are the numbers of verb and noun") and said[5:] == [
        "columns that are not read: note"
    ]


def test_the_page_says_what_each_format_holds() -> None:
    words = {0.0: "exact", 1e-6: "microseconds", 1e-3: "milliseconds", None: "frames"}
    keys = ("score", "subset", "duration", "fps", "num_frames", "empty", "classes")
    wanted = {
        name: (words[form.tick], ", ".join(key for key in keys if key in form.holds)) for name, form in FORMATS.items()
    }
    page = (ROOT / "docs" / "segments.md").read_text(encoding="utf-8")
    table = page.partition("\n## Formats\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| `")
    ]
    formats = [row for row in rows if len(row) == 4]
    found = {name: (times, holds) for names, _, times, holds in formats for name in names.replace("`", "").split(", ")}
    assert found | {"vtt": (found["vtt"][0], "empty"), "srt": (found["srt"][0], "")} == wanted
    assert found["vtt"][1] == "`vtt`: empty"


@pytest.mark.parametrize("name", ["csv", "hacs_clips", "charades"])
@pytest.mark.parametrize("label", ["=1+1", "+cmd", "@x", "-x()"])
def test_a_class_that_a_spreadsheet_would_compute_is_refused(name: str, label: str) -> None:
    table = SpanTable((LabeledVideo("v", (Span(0.0, 1.0, label),)),), (label,))
    with pytest.raises(UserError, match="rename it"):
        texts_of(table, Path("out.csv"), name)


def test_activitynet_without_a_database_is_read_with_numbers_in_quotes_and_an_unknown_duration(tmp_path: Path) -> None:
    about = {"duration_second": "12.5", "duration_frame": 375, "annotations": [{"segment": ["1.5", 3], "label": "x"}]}
    nothing = {"duration": 0, "annotations": {"segment": [0, "2"], "label": "x"}}
    (tmp_path / "a.json").write_text(json.dumps({"v_1": about, "v_2": nothing}))
    first, second = read_spans([tmp_path / "a.json"]).videos
    assert (first.duration, first.num_frames, second.duration) == (12.5, 375, None)
    assert [(span.start, span.end) for span in (*first.spans, *second.spans)] == [(1.5, 3.0), (0.0, 2.0)]

"""The command that shows, mends, converts and lists spans."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from datasets.lists.tables import read_videos
from datasets.spans.check import overlapping
from datasets.spans.files import read_spans
from tests.datasets.spans.examples import video
from tests.helpers.make_video import make_video
from tests.helpers.run_tool import run_tool
from tools.listing.spans import covered

HEADER = "video,label,start,end\n"


def labels(folder: Path, rows: str, header: str = HEADER) -> Path:
    (folder / "l.csv").write_text(header + rows)
    return folder / "l.csv"


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("spans", ["{}"], "cannot be read: it is a named pipe; give a file"),
        ("score_segments", ["{}", "{}"], "cannot be read: it is a named pipe"),
        ("make_lists", ["{}/..", "--videos", "--csv", "{}"], "it is a named pipe"),
        ("make_lists", ["{}/..", "--videos", "--class-names", "{}"], "cannot be read (it is a named pipe"),
        ("warm_cache", ["{}"], "cannot be read: it is a named pipe"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_a_pipe_that_nobody_writes_to_is_no_label_file(
    tmp_path: Path, tool: str, arguments: list[str], words: str, suffix: str
) -> None:
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.mp4").touch()
    given = [text.format(pipe).replace(f"{pipe}/..", str(tmp_path)) for text in arguments]
    err = run_tool(tool, *given, code=2).stderr
    assert words in err and err.count("\n") == 1


def test_a_summary_counts_videos_spans_and_seconds(tmp_path: Path) -> None:
    rows = "a.mp4,run,1,3,10\na.mp4,jump,2,4,10\nb.mp4,,,,10\nc.mp4,run,0,1,\n"
    out, _ = run_tool("spans", labels(tmp_path, rows, "video,label,start,end,duration\n"))
    assert out.splitlines() == [
        "1 file of CSV",
        "3 videos, 3 spans of 5.0 s in all, 2 classes",
        "  jump      1 span         2.0 s",
        "  run      2 spans         3.0 s",
        "overlaps: 1 span of 3 begin before an earlier one has ended",
        "background: 85.0 % of 20.0 s, of the 2 videos with a known duration",
    ]


def test_seconds_under_several_spans_count_once() -> None:
    spans = video("a", (0.0, 5.0, "x"), (1.0, 2.0, "x"), (4.0, 6.0, "x"), (6.0, 7.0, "x")).spans
    assert covered(spans) == 7.0 and len(list(overlapping(spans))) == 2


def test_nothing_is_written_of_labels_that_are_wrong(tmp_path: Path) -> None:
    file = labels(tmp_path, "a.mp4,run,3,1\na.mp4,run,x,2\n")
    out, _ = run_tool("spans", file, "--to", "srt", tmp_path / "out", code=2)
    assert "wrong: " in out and "[--fix: start and end are exchanged]" in out and "2 faults; nothing was written" in out
    out, _ = run_tool("spans", file, "--fix", "--to", "srt", tmp_path / "out", code=2)
    assert "; mended: start and end are exchanged" in out and "1 fault; nothing was written" in out
    assert not (tmp_path / "out").exists()


def test_fix_mends_and_the_file_that_was_read_stays(tmp_path: Path) -> None:
    file = labels(tmp_path, "a.mp4,run,3,1\na.mp4,run,5,5\n")
    before = file.read_text()
    out, _ = run_tool("spans", file, "--fix", "--to", "csv", tmp_path / "mended.csv")
    assert out.count("; mended: ") == 2 and file.read_text() == before
    assert (tmp_path / "mended.csv").read_text() == HEADER + "a.mp4,run,1.0,3.0\n"


def test_a_conversion_says_what_is_not_kept(tmp_path: Path) -> None:
    file = labels(tmp_path, "a.mp4,run,1,3,0.5\n", "video,label,start,end,score\n")
    out, _ = run_tool("spans", file, "--to", "vtt", tmp_path / "out")
    assert "not kept: WebVTT cannot hold the scores of 1 span\n" in out and f"wrote {tmp_path}/out/a.vtt" in out
    out, _ = run_tool("spans", file, "--to", "label_studio", tmp_path / "tasks.json", "--fps", 25)
    assert "not kept" not in out and json.loads((tmp_path / "tasks.json").read_text())[0]["data"]["fps"] == 25


def test_a_class_file_and_wrong_words_of_a_user(tmp_path: Path) -> None:
    file = labels(tmp_path, "a.mp4,Long_Jump,1,3\n")
    (tmp_path / "classInd.txt").write_text("0 run\n1 long jump\n")
    out, _ = run_tool("spans", file, "--classes", tmp_path / "classInd.txt", "--to", "csv", tmp_path / "o.csv")
    assert "class 'Long_Jump' is taken as 'long jump'" in out and "long jump,1.0" in (tmp_path / "o.csv").read_text()
    for arguments, message in (
        (("--to", "elna", "o"), "elna: no such format; there are csv, label_studio, cvat"),
        (("--split", "0.8"), "--split divides the videos of lists: add --lists FOLDER"),
        (("--lists", tmp_path / "lists"), "its subset is 'unknown', which does not say whether it trains"),
        (("--videos", tmp_path / "none"), "no such folder; --videos is the folder of the videos"),
        (("--from", "srt"), "is not of SRT; expected text with cues 00:00:01,000 --> 00:00:02,500"),
    ):
        assert message in run_tool("spans", file, *arguments, code=2).stderr


@pytest.mark.whole
@pytest.mark.parametrize("split", [True, False], ids=["split", "subsets"])
def test_lists_keep_the_spans_of_a_video_together_and_are_read_by_main(tmp_path: Path, split: bool) -> None:
    rows = "".join(
        f"v{n},{label},{start},{start + 1},{'training' if n < 6 else 'validation'}\n"
        for n in range(8)
        for start, label in enumerate(("run", "jump"))
    )
    (tmp_path / "videos/x").mkdir(parents=True)
    make_video(tmp_path / "videos/x/v0.mp4", frames=30, fps=10)
    for n in range(1, 8):
        (tmp_path / f"videos/x/v{n}.mp4").hardlink_to(tmp_path / "videos/x/v0.mp4")
    file = labels(tmp_path, rows, "video,label,start,end,subset\n")
    lists = tmp_path / "lists"
    how = ("--split", "0.75") if split else ()
    out, _ = run_tool("spans", file, "--videos", tmp_path / "videos", "--lists", lists, *how)
    assert "12 spans of 6 videos" in out and "4 spans of 2 videos" in out and "num_class: 2" in out
    there = {}
    for side in ("train", "val"):
        records, names = read_videos(lists / f"{side}.csv", root=tmp_path / "videos")
        assert names == ["jump", "run"] and records.spans is not None
        there[side] = {records.path(place) for place in range(len(records))}
        spans = {(records.path(n), int(records.labels[n]), *records.spans[n]) for n in range(len(records))}
        assert spans == {(path, *part) for path in there[side] for part in ((1, 0.0, 1.0), (0, 1.0, 2.0))}
    assert not there["train"] & there["val"] and len(there["train"]) == 6
    assert (split or there["val"] == {"x/v6.mp4", "x/v7.mp4"}) and min(there["train"]).startswith("x/v")


def test_ids_need_the_folder_of_the_videos_for_lists(tmp_path: Path) -> None:
    file = labels(tmp_path, "a,run,1,3\nb,run,1,3\n")
    err = run_tool("spans", file, "--lists", tmp_path / "lists", "--split", "0.5", code=2).stderr
    assert "is not the path of a video; give --videos" in err


def test_nothing_is_written_where_one_of_both_outputs_cannot_be(tmp_path: Path) -> None:
    file = labels(tmp_path, "a,run,1,3\n")
    run_tool("spans", file, "--to", "csv", tmp_path / "o.csv", "--lists", tmp_path / "l", "--split", "0.5", code=2)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_was_read_is_not_written(tmp_path: Path) -> None:
    file = labels(tmp_path, "a.mp4,run,3,1\n")
    before = file.read_text()
    err = run_tool("spans", file, "--fix", "--to", "csv", tmp_path / "." / file.name, code=2).stderr
    assert "is a file of labels that was read, and stays as it is" in err and file.read_text() == before


def test_numbers_as_classes_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    file = labels(tmp_path, "a.mp4,10,1,3\nb.mp4,2,1,3\nb.mp4,02,3,4\n")
    out, _ = run_tool("spans", file, "--lists", tmp_path / "l", "--split", "0.5")
    assert (tmp_path / "l/classInd.txt").read_text() == "".join(f"{number} {number}\n" for number in range(11))
    assert "9 of the classes 0 to 10 have no video; name them with --classes" in out and "num_class: 11" in out
    rows = "".join(path.read_text() for path in (tmp_path / "l").glob("*.csv"))
    assert rows.count(".mp4,2,") == 2 and rows.count(".mp4,10,") == 1


def test_lists_that_are_not_written_are_said(tmp_path: Path) -> None:
    header = "video,label,start,end,subset\n"
    lists = tmp_path / "l"
    out, _ = run_tool("spans", labels(tmp_path, "a.mp4,run,1,3,\n", header), "--lists", lists, "--split", "0.5")
    assert "csv: 1 video at --split 0.5 leave none for it" in out
    (lists / "train.csv").write_text("old")
    out, _ = run_tool("spans", labels(tmp_path, "a.mp4,run,1,3,testing\n", header), "--lists", lists)
    assert f"{lists}/train.csv is of an earlier run, and stays" in out and (lists / "test.csv").exists()


def test_videos_without_spans_are_listed_where_that_is_asked_for(tmp_path: Path) -> None:
    header = "video,label,start,end,subset\n"
    file = labels(tmp_path, "a.mp4,run,1,3,train\nb.mp4,,,,train\nc.mp4,,,,val\n", header)
    out, _ = run_tool("spans", file, "--lists", tmp_path / "l")
    assert (
        "2 videos without spans: not in the lists; --empty lists them" in out and not (tmp_path / "l/val.csv").exists()
    )
    out, _ = run_tool("spans", file, "--lists", tmp_path / "l", "--empty")
    assert "1 span of 1 video, 1 video without spans" in out
    assert (tmp_path / "l/train.csv").read_text() == "path,label,start,end\na.mp4,run,1.0,3.0\nb.mp4,,,\n"
    assert (tmp_path / "l/val.csv").read_text() == "path,label,start,end\nc.mp4,,,\n"
    assert "--empty is about lists" in run_tool("spans", file, "--empty", code=2).stderr


def test_no_lists_are_made_of_no_spans(tmp_path: Path) -> None:
    (tmp_path / "empty.xml").write_text("<annotations></annotations>")
    _, error = run_tool("spans", tmp_path / "empty.xml", "--lists", tmp_path / "l", "--split", "0.5", code=2)
    assert "empty.xml: has no span, so there is nothing to write lists of" in error and not (tmp_path / "l").exists()


@pytest.mark.whole
def test_two_spellings_of_a_path_are_one_video(tmp_path: Path) -> None:
    make_video(tmp_path / "videos/c.mp4", frames=30, fps=10)
    file = labels(tmp_path, "c.mp4,run,0,1\n/home/u/c.mp4,run,1,2\n")
    out, _ = run_tool("spans", file, "--videos", tmp_path / "videos", "--to", "csv", tmp_path / "o.csv")
    assert "1 video, 2 spans" in out
    assert read_spans([tmp_path / "o.csv"]).videos[0].spans == video("c", (0.0, 1.0, "run"), (1.0, 2.0, "run")).spans


def test_what_the_command_writes_is_what_the_reader_reads(tmp_path: Path) -> None:
    file = labels(tmp_path, "a.mp4,run,1,3\nb.mp4,jump,0.5,0.75\n")
    run_tool("spans", file, "--to", "elan", tmp_path / "out")
    assert read_spans(sorted((tmp_path / "out").iterdir())) == read_spans([file])

"""Lists of encoded videos beyond those of test_video_dataset.py."""

from __future__ import annotations

from pathlib import Path

from datasets.video_lists import read_videos


def test_a_csv_without_a_header_is_a_plain_list(tmp_path: Path):
    source = tmp_path / "train.csv"
    for text in ("run/a b.mp4 1\nrun/c.avi 0\n", "run/a b.mp4,1\nrun/c.avi,0\n"):
        source.write_text(text)
        records, names = read_videos(source, root=tmp_path, num_class=2)
        assert [records.path(i) for i in range(2)] == ["run/a b.mp4", "run/c.avi"] and names is None
        assert records.labels.tolist() == [1, 0]

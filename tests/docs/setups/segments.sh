# shellcheck shell=bash
# videos/ with ten small films; labels of Label Studio, of ELAN, and a table with mistakes; ckpt_best.pth.tar and new.mp4
python - <<'PYTHON'
import json
from pathlib import Path

from datasets.spans.files import write_spans
from datasets.spans.span import LabeledVideo, Span, SpanTable
from tests.helpers.make_video import make_video
from tests.helpers.trained import TSN, write_checkpoint

videos = []
for number in range(10):
    make_video(Path(f"videos/film_{number}.mp4"), frames=60, fps=12)
    spans = tuple(Span(start, start + 1.5, label) for start, label in ((0.5, "jump"), (2.5, "run")))
    videos.append(LabeledVideo(f"film_{number}.mp4", spans, fps=12.0))
table = SpanTable(tuple(videos), ("jump", "run"))
write_spans(table, Path("project-1.json"), "label_studio")
write_spans(SpanTable((videos[0],), ("jump", "run")), Path("film_0.eaf"), "elan")
Path("labels.csv").write_text(
    'video,label,start,end\nfilm_1.mp4,jump,0.5,2\nfilm_1.mp4,Run,4,2.5\nfilm_1.mp4,run,"4,5",9\n'
)
classes = ["nothing", "jump", "run"]
write_checkpoint(Path("trained"), TSN, class_names=classes, num_class=len(classes)).rename("ckpt_best.pth.tar")
Path("trained").rmdir()
make_video(Path("new.mp4"), frames=60, fps=12)
PYTHON

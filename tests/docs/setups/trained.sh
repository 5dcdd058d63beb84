# shellcheck shell=bash
# ckpt_best.pth.tar of a small TSM that reads only the past, videos for it, and results of evaluations to fuse
python - <<'PYTHON'
import shutil
from pathlib import Path

import numpy as np

from tests.helpers.make_video import make_video
from tests.helpers.trained import UNI, write_checkpoint
from utils.scoring.result_files import write_results

CLASSES = ["clap", "jump", "run", "wave"]

write_checkpoint(Path("run"), UNI, class_names=CLASSES).rename("ckpt_best.pth.tar")
make_video(Path("video.mp4"))
make_video(Path("match.mp4"), frames=240)
make_video(Path("videos/clap.mp4"))
make_video(Path("videos/jump.mp4"), frames=30)

rng = np.random.default_rng(0)
labels = np.arange(40) % len(CLASSES)
for folder in ("exps/ucf101/rgb", "exps/ucf101/flow", "TEST_RGB", "TEST_FLOW", "VAL_RGB", "VAL_FLOW"):
    scores = rng.dirichlet(np.ones(len(CLASSES)), len(labels)) + np.eye(len(CLASSES))[labels]
    Path(folder).mkdir(parents=True)
    write_results(
        folder,
        paths=[f"{CLASSES[label]}/v_{index}" for index, label in enumerate(labels)],
        labels=labels,
        scores=scores / scores.sum(1, keepdims=True),
        class_names=CLASSES,
        protocol="1 clip x 1 crop",
    )
shutil.rmtree("run")
PYTHON

"""Runs inside the peer's own environment and imports nothing of ours: mmaction2's frame reader, driven over stdin.

The first line describes the work; each further line is a reader's name and the videos of one batch, answered by wall
and CPU seconds.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
from mmaction.datasets.transforms import (  # type: ignore[import-not-found]
    Flip,
    FormatShape,
    MultiScaleCrop,
    PackActionInputs,
    RawFrameDecode,
    Resize,
    SampleFrames,
)

cv2.setNumThreads(0)
torch.set_num_threads(1)


def main() -> None:
    """Answers until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the libraries print must not mix with the answers
    work = json.loads(sys.stdin.readline())
    size = work["input_size"]
    steps = [
        SampleFrames(clip_len=1, frame_interval=1, num_clips=work["segments"]),
        RawFrameDecode(decoding_backend="cv2"),
        MultiScaleCrop(input_size=size, scales=(1, 0.875, 0.75, 0.66), max_wh_scale_gap=1, num_fixed_crops=13),
        Resize(scale=(size, size), keep_ratio=False),
        Flip(flip_ratio=0.5),
        FormatShape(input_format="NCHW"),
        PackActionInputs(),
    ]

    def mmaction2(videos: list[int]) -> None:
        clips = []
        for video in videos:
            path, total = work["videos"][video]
            result = {
                "frame_dir": str(Path(work["root"]) / path),
                "filename_tmpl": work["template"],
                "total_frames": total,
                "start_index": work["first_frame"],
                "label": 0,
                "modality": "RGB",
            }
            for step in steps:
                result = step(result)
            clips.append(result["inputs"])
        torch.stack(clips)

    cache: dict[int, list[bytes]] = {}

    def simple_jpeg(videos: list[int]) -> None:
        for video in videos:
            for data in cache[video]:
                simplejpeg.decode_jpeg(data)

    readers = {"mmaction2": mmaction2, "simplejpeg": simple_jpeg}
    np.random.seed(0)
    random.seed(0)
    answers.write("ready\n")
    for line in sys.stdin:
        name, videos = json.loads(line)
        for video in videos if name == "simplejpeg" else ():
            if video not in cache:
                path, total = work["videos"][video]
                places = np.linspace(0, total - 1, work["segments"]).astype(int) + work["first_frame"]
                names = [work["template"].format(place) for place in places]
                cache[video] = [(Path(work["root"]) / path / name).read_bytes() for name in names]
        wall, cpu = time.perf_counter(), time.process_time()
        readers[name](videos)
        answers.write(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]) + "\n")


main()

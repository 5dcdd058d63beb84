"""Times mmaction2's frame reader inside the peer's own environment, driven over stdin. Imports nothing of ours.

The first line describes the work. Each further line has a reader's name and the videos of one batch; the answer is wall
and CPU seconds. For the name "N workers" and the videos of many batches, they are the seconds after the first 2 N
batches.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def pipeline(segments: int, size: int) -> list[Callable[[dict[str, Any]], dict[str, Any]]]:
    """Returns mmaction2's training transforms of TSN, from a video's entry to a clip of size x size."""
    return [
        SampleFrames(clip_len=1, frame_interval=1, num_clips=segments),
        RawFrameDecode(decoding_backend="cv2"),
        MultiScaleCrop(input_size=size, scales=(1, 0.875, 0.75, 0.66), max_wh_scale_gap=1, num_fixed_crops=13),
        Resize(scale=(size, size), keep_ratio=False),
        Flip(flip_ratio=0.5),
        FormatShape(input_format="NCHW"),
        PackActionInputs(),
    ]


def main() -> None:
    """Answers until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the libraries print must not mix with the answers
    work = json.loads(sys.stdin.readline())
    steps = pipeline(work["segments"], work["input_size"])

    def clip(video: int) -> torch.Tensor:
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
        return result["inputs"]

    def mmaction2(videos: list[int]) -> None:
        torch.stack([clip(video) for video in videos])

    class Clips(torch.utils.data.Dataset):
        def __init__(self, videos: list[int]) -> None:
            self.videos = videos

        def __len__(self) -> int:
            return len(self.videos)

        def __getitem__(self, index: int) -> torch.Tensor:
            return clip(self.videos[index])

    def by_workers(videos: list[int], workers: int) -> tuple[float, float]:
        loader = torch.utils.data.DataLoader(Clips(videos), work["batch_size"], num_workers=workers)
        for number, _ in enumerate(loader, 1):
            if number == 2 * workers:
                start = time.perf_counter(), time.process_time()
        return time.perf_counter() - start[0], time.process_time() - start[1]

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
        if name.endswith(" workers"):
            answers.write(json.dumps(by_workers(videos, int(name.split()[0]))) + "\n")
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        readers[name](videos)
        answers.write(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]) + "\n")


main()

"""Reads videos as other projects do, inside the peers' own environment, driven over stdin. Imports nothing of ours.

Each line has a reader's name, a file and frame numbers; the answer is wall and CPU seconds. With a file to write to,
the pictures are written there, so that somebody can look whether they are the right ones.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

torch.set_num_threads(1)


def decord(path: str, indices: list[int]) -> np.ndarray:
    """Reads with decord and nothing else."""
    import decord as library  # type: ignore[import-not-found]

    return library.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()


def mmaction2(path: str, indices: list[int]) -> np.ndarray:
    """Reads with the transforms DecordInit and DecordDecode, which its configs for videos begin with."""
    from mmaction.datasets.transforms import DecordDecode, DecordInit  # type: ignore[import-not-found]

    result: dict[str, Any] = DecordInit(num_threads=1).transform({"filename": path})
    result["frame_inds"] = np.array(indices)
    return np.stack(DecordDecode(mode="accurate").transform(result)["imgs"])


def pytorchvideo(path: str, indices: list[int]) -> np.ndarray:
    """Decodes all frames of a span with its EncodedVideo, and takes those that are wanted."""
    from pytorchvideo.data.encoded_video import EncodedVideo  # type: ignore[import-not-found]

    video = EncodedVideo.from_path(path, decode_audio=False, decoder="pyav")
    rate = float(video._container.streams.video[0].average_rate)
    first, last = min(indices), max(indices)
    clip = video.get_clip((first - 0.25) / rate, (last + 0.75) / rate)["video"]  # (C, T, H, W), float32
    frames = clip.permute(1, 2, 3, 0)[[index - first for index in indices]]
    video.close()
    return frames.to(torch.uint8).numpy()


READERS: dict[str, Callable[[str, list[int]], np.ndarray]] = {
    "decord": decord,
    "mmaction2": mmaction2,
    "PyTorchVideo": pytorchvideo,
}


def main() -> None:
    """Answers until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the libraries print must not mix with the answers
    for line in sys.stdin:
        name, path, indices, out = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            pictures = READERS[name](path, indices)
        except Exception as error:  # a codec that it does not know, for example
            answers.write(json.dumps(f"{type(error).__name__}: {error}") + "\n")
            continue
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        if out:
            np.save(out, pictures)
        answers.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()

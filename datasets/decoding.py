"""Chooses where frames are decoded, in the workers or on the GPU: `data.decode: auto` measures both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

from datasets.frame_dataset import Key, SampleDataset
from datasets.video_dataset import VideoDataset
from datasets.videos.reader import lacks_torchcodec
from utils.processes.session import gather_objects
from utils.system import cores
from utils.transforms.gpu_decode import COLOURS, DECODED

BATCHES = 4  # that are decoded in both ways; the first one, which also loads libraries, is not counted


def choose_decoder(
    dataset: SampleDataset,
    batches: Sequence[Sequence[Key]],
    device: torch.device,
    log: Callable[[str], None],
    *,
    workers: int,
    before: str | None = None,
) -> Literal["cpu", "cuda"]:
    """Returns where batches are ready sooner, the same in all processes, and logs why.

    batches: the first ones. device, workers: of this process.
    before: where a checkpoint's frames were decoded, which holds where it can: colours differ.
    """
    said = "data.decode: auto chooses cpu: "
    if device.type != "cuda":
        log(f"{said}this run has no GPU")
        return "cpu"
    if dataset.clip.modality == "flow":
        log(f"{said}a GPU decodes frames in colour, not optical flow")
        return "cpu"
    if isinstance(dataset, VideoDataset) and (why := lacks_torchcodec()):
        log(f"{said}torchcodec, which decodes videos on a GPU, cannot be used: {why}")
        return "cpu"
    if before in DECODED:
        log(f"data.decode: auto takes {before}, as the checkpoint has it")
        return "cuda" if before == "cuda" else "cpu"
    measured = gather_objects(measure(dataset, batches, workers=workers, device=device))
    in_workers, on_gpu = np.mean(measured, axis=0).tolist()
    chosen: Literal["cpu", "cuda"] = "cuda" if on_gpu < in_workers else "cpu"
    log(
        f"data.decode: auto chooses {chosen}: a batch takes {in_workers * 1000:.0f} ms in the workers of a process and "
        f"{on_gpu * 1000:.0f} ms on its GPU; {COLOURS}, so set decode: {chosen} to keep it"
    )
    return chosen


def measure(
    dataset: SampleDataset, batches: Sequence[Sequence[Key]], *, workers: int, device: torch.device
) -> tuple[float, float]:
    """Returns the seconds from one batch to the next that workers decode, and that the device decodes: medians.

    One process does everything here, so its times are divided by the number of workers that have a core. The device
    decodes while workers plan the batches to come.
    """
    share, before = max(1, min(workers, cores())), dataset.encoded
    times: list[tuple[float, float]] = []
    try:
        for keys in batches:
            clock = [time.perf_counter()]
            dataset.encoded = False
            dataset.__getitems__(keys)
            clock.append(time.perf_counter())
            dataset.encoded = True
            planned = dataset.__getitems__(keys)
            clock.append(time.perf_counter())
            planned.to(device)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            clock.append(time.perf_counter())
            decoded, planned_in, on_device = np.diff(clock).tolist()
            times.append((decoded / share, max(planned_in / share, on_device)))
    finally:
        dataset.encoded = before
    workers_take, device_takes = np.median(times[1:], axis=0).tolist()
    return workers_take, device_takes

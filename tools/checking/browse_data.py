"""Collects what tools/browse_data.py shows: the clips of some videos with their captions, as the network gets them."""

from __future__ import annotations

import argparse

import numpy as np
import torch

from datasets.protocol import clip_protocol
from datasets.split import Split, open_split
from methods.build import build_method
from utils.config.file import load_config
from utils.errors import UserError
from utils.files import atomic_write
from utils.plots.contact_sheet import sheet
from utils.scoring.task import in_words


def run(args: argparse.Namespace) -> int:
    """Writes the contact sheet; returns the exit code."""
    config = load_config(args.config, args.overrides)
    with config.located():
        with torch.device("meta"):
            clip = build_method(config.common.model).clip
        if clip.whole_videos:
            raise UserError(
                f"{args.config}: model.type: {config.common.model.type} sees features of whole videos, and no clips "
                "that could be drawn"
            )
        protocol = clip_protocol(config.common, clip, train=not args.val)
        split = open_split(config.common, "val" if args.val else "train", protocol)
    chosen = np.unique(np.linspace(0, len(split) - 1, args.count).astype(np.int64)).tolist()
    image = sheet([row for index in chosen for row in rows(split, index, args.epoch)])
    with atomic_write(args.out) as file:
        image.save(file, format="PNG")
    print(f"wrote {args.out}: {len(chosen)} of {len(split)} videos, {split.description}")
    return 0


def rows(split: Split, index: int, epoch: int) -> list[tuple[str, np.ndarray]]:
    """Returns (caption, uint8 frames (T, H, W, 3)) for every view of one video, as the network gets them."""
    batch = split.dataset.__getitems__([(epoch, index)]).to("cpu")
    if batch.faults[0]:
        raise UserError(batch.faults[0])
    frames = split.protocol.augment.pixels(split.protocol.augment.apply(batch.clips, batch.augment)).numpy()
    name = in_words(batch.labels[0].numpy(), split.class_names)
    indices = split.dataset.shown((epoch, index))
    captions = [f"{name}  {split.path(index)}" for _ in frames]
    if indices is not None:
        crops = len(frames) // len(indices)
        captions = [f"{text}  {indices[view // crops].tolist()}" for view, text in enumerate(captions)]
    return list(zip(captions, frames, strict=True))

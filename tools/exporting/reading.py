"""Says in an exported file how a video becomes its input, in words and by examples, for readers without this code."""

from __future__ import annotations

import inspect
from typing import Any

from datasets.protocol import ClipProtocol
from datasets.sampling.rules import get_rule
from utils.transforms.resize import INTERPOLATIONS

LENGTHS = (5, 30, 100, 301)
PICTURES = ((1080, 1920), (1920, 1080))  # height, width


def preprocessing(protocol: ClipProtocol) -> dict[str, Any]:
    """Returns all that a reader of an exported file needs to make its input from a video, in plain values."""
    resize = inspect.getdoc(INTERPOLATIONS[protocol.transform.interpolation]) or ""
    words = {"steps": _steps(protocol), "interpolation": resize.replace("\n\n", "\n").replace("\n", " ")}
    return protocol.as_dict() | {"words": words, "examples": _examples(protocol)}


def _steps(protocol: ClipProtocol) -> list[str]:
    pixels = "x and y of the flow, as grey pictures" if protocol.clip.modality == "flow" else "RGB"
    height, width = protocol.transform.size
    return [
        _choice(protocol),
        f"Decode them to {pixels}, 0 to 255, and resize each to the size in examples.pictures (height, width).",
        f"Cut pieces of {height}x{width} (height x width) at each top and left, and mirror them where it says so.",
        f"Divide by {255 / protocol.augment.value_range:g}, subtract mean and divide by std, for each channel.",
        f"Stack the frames of one piece to (channels, frames, height, width){_places(protocol)}; "
        "these are one entry of the batch.",
        f"Average the {protocol.average} of all pieces of all clips; {protocol.task.scores} makes scores of logits.",
    ]


def _choice(protocol: ClipProtocol) -> str:
    """Says which frames of a video make its clips."""
    sampling, clip = protocol.video_sampling, protocol.clip
    if sampling.sampler is None:
        which = f"examples.frames has those of videos of {_listed(LENGTHS)} frames, from 0"
        if sampling.fps is None:
            return f"Choose the frames of each clip; {which}."
        return (
            f"Bring the video to {sampling.fps:g} frames per second, each the one on the screen at its time, "
            f"and choose the frames of each clip from these; {which}."
        )
    places = clip.num_frames * clip.frame_stride
    seconds = sampling.clip_seconds or (places / sampling.fps if sampling.fps else None)
    length = f"{places} frames" if seconds is None else f"{seconds:g} s"
    spread = f"{protocol.num_clips} of them, evenly from the start of the video to its end"
    if sampling.sampler == "uniform":
        spread = "each where the last one ends" if sampling.stride is None else f"one every {sampling.stride:g} s"
    shown = f"{clip.num_frames} of its frames, evenly from the first to the last one"
    if sampling.fps:
        shown = (
            f"the {clip.num_frames} frames on the screen every {clip.frame_stride / sampling.fps:g} s from its start"
        )
    return f"Take spans of {length}, {spread}; the clip of a span is {shown}."


def _places(protocol: ClipProtocol) -> str:
    """Returns what is said about the windows of a clip, and about pictures that lie in the channels of one place."""
    clip = protocol.clip
    windows = f", {clip.segments} windows of the video one behind the other" if clip.segments > 1 else ""
    if clip.length == 1:
        return windows
    what = {
        "rgb": f"the {clip.length} frames",
        "flow": f"x and y of the {clip.length} fields",
        "rgbdiff": f"the {clip.stack} differences of {clip.length} frames, each less the one before it,",
    }[clip.modality]
    return f"{windows}, with {what} of each place one behind the other in its channels"


def _examples(protocol: ClipProtocol) -> dict[str, Any]:
    plans = {f"{height}x{width}": protocol.transform.draw(height, width, None)[0] for height, width in PICTURES}
    pictures = {
        name: {
            "resize": list(plan.resize),
            "crops": [
                {"top": top, "left": left, "mirrored": mirrored}
                for (top, left), mirrored in zip(plan.crops, plan.mirrored, strict=True)
            ],
        }
        for name, plan in plans.items()
    }
    if protocol.video_sampling.sampler is not None:  # it counts in seconds, which video_sampling names
        return {"pictures": pictures}
    rule = get_rule(protocol.clip.sampling)
    frames = {str(length): rule.pick(length, protocol.clip, protocol.num_clips).tolist() for length in LENGTHS}
    return {"frames": frames, "pictures": pictures}


def _listed(numbers: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"

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
        f"Choose the frames of each clip; examples.frames has those of videos of {_listed(LENGTHS)} frames, from 0.",
        f"Decode them to {pixels}, 0 to 255, and resize each to the size in examples.pictures (height, width).",
        f"Cut pieces of {height}x{width} (height x width) at each top and left, and mirror them where it says so.",
        f"Divide by {255 / protocol.augment.value_range:g}, subtract mean and divide by std, for each channel.",
        f"Stack the frames of one piece to (channels, frames, height, width){_places(protocol)}; "
        "these are one entry of the batch.",
        f"Average the {protocol.average} of all pieces of all clips; {protocol.task.scores} makes scores of logits.",
    ]


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

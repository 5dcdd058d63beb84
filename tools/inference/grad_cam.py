"""Shows where in a clip a network finds a class: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) at any map.

The tokens of transformers are maps too where their places are known; attention rollout is another way to look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base import Method
from methods.build import build_method
from methods.slowfast import SlowFast
from networks.checkpoints.load import TRUNK
from networks.clip.slowfast import SLOW_FRAMES
from tools.inference.channels import channel_axes
from tools.inference.features import by_clip, find_layer
from tools.inference.recognizer import Recognizer
from tools.inference.rollout import TITLE, rollout
from tools.inference.token_maps import in_the_picture, last_tokens
from utils.errors import UserError

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
ATTENTION = ("attention", "attn")  # in the class names of torchvision's and timm's attention layers
TOKENS = "layer {}: it holds attention over tokens; Grad-CAM needs a map of channels, or all tokens of the clip"


@dataclass(frozen=True, eq=False)
class Explanation:
    """The maps that show where one clip speaks for one class.

    label: the class that is explained.
    score: its score in this clip alone.
    maps: float32 (T, H, W) by layer, 0..1 of the clip's largest value; all 0 where nothing speaks for the class.
    """

    label: int
    score: float
    maps: dict[str, np.ndarray]


def explain(recognizer: Recognizer, clip: np.ndarray, layers: Sequence[str], label: int | None = None) -> Explanation:
    """Computes Grad-CAM of one clip (T, H, W, 3), uint8 or float32 0..255, as cut by `recognizer.protocol.transform`.

    A channel's weight is the mean of the logit's gradient over the channel's map: over H and W of each frame in image
    networks, over T, H and W in 3-D ones.

    label: the class to explain; None for the one with the best score.
    Raises: UserError for a layer that does not exist or gives no map.
    """
    modules = {name: find_layer(recognizer.method, name) for name in layers}
    with _watch(modules) as caught, channel_axes(recognizer.method, modules) as axes:
        logits = recognizer.method(recognizer.normalise(clip[None]))[0]
    outputs = {name: _only_output(name, caught.get(name, [])) for name in layers}
    put = {
        name: _in_the_picture(recognizer.method, name, modules[name], output, axes[name], clip.shape[:3])
        for name, output in outputs.items()
    }
    label = int(logits.argmax()) if label is None else label
    score = float(recognizer.average_views(logits.detach()[None])[label])
    gradients = torch.autograd.grad(logits[label], list(outputs.values()), allow_unused=True)
    maps = {}
    for (name, output), gradient in zip(outputs.items(), gradients, strict=True):
        if gradient is None:
            raise UserError(f"layer {name}: the logits do not depend on it")
        coarse = _weighted(put[name](output.detach()), put[name](gradient))
        places = _frame_places(recognizer.method, name, len(clip), len(coarse))
        maps[name] = _enlarge(coarse, places, clip.shape[:3])
    return Explanation(label, score, maps)


def explain_by_rollout(recognizer: Recognizer, clip: np.ndarray) -> Explanation:
    """Computes attention rollout of one clip (T, H, W, 3), as `explain` takes it, for the class with the best score.

    The network is one of which `rolls_out` is true.
    """
    logits, coarse = rollout(recognizer.method, recognizer.normalise(clip[None]))
    label = int(logits.argmax())
    places = _frame_places(recognizer.method, "", len(clip), len(coarse))
    score = float(recognizer.average_views(logits[None])[label])
    return Explanation(label, score, {TITLE: _enlarge(coarse, places, clip.shape[:3])})


def default_layers(recognizer: Recognizer) -> list[str]:
    """Returns the layers to look at when none is named: the outermost modules whose maps meet no further convolution.

    This is the last stage in most networks, and that of both pathways in SlowFast. They are found on a copy of the
    network without weights.
    A transformer whose tokens have known places has a block instead.
    Raises: UserError for another network of attention, because no rule can put its tokens back into the picture.
    """
    if (block := last_tokens(recognizer.method)) is not None:
        return [block]
    if _attends(recognizer.method):
        raise UserError(
            f"{recognizer.method.name}: attends to tokens behind its convolutions; name a layer with --layer"
        )
    with torch.device("meta"):
        method = build_method(recognizer.common.model).eval().requires_grad_(False)
        clip = torch.zeros(1, *recognizer.clip_shape)
    modules = {name: module for name, module in method.named_modules() if name and _makes_maps(module, method.head)}
    with _watch(modules) as caught:
        method(clip)
    maps: dict[str, Tensor] = {name: outputs[0] for name, outputs in caught.items() if _is_map(outputs)}
    outer = {name: output for name, output in maps.items() if not any(name.startswith(f"{up}.") for up in maps)}
    return [name for name in outer if not _feeds_another(name, outer)]


def layer_title(method: Method, layer: str) -> str:
    """Returns a layer's name for people; in SlowFast it names the pathway too."""
    inside, name = _inside(method, layer)
    part = name.removeprefix("network.").partition(".")[0]
    return f"the {part} pathway, {layer}" if isinstance(inside, SlowFast) and part in ("slow", "fast") else layer


def _inside(method: Method, layer: str) -> tuple[Method, str]:
    """Returns the video network of a probe and the layer's name in it; of any other network both as they are."""
    return (method, layer) if method.trunk is None else (method.trunk, layer.removeprefix(TRUNK))


def _makes_maps(module: nn.Module, head: nn.Module) -> bool:
    parts = list(module.modules())
    return head not in parts and any(isinstance(part, CONVOLUTIONS) for part in parts)


def _feeds_another(name: str, maps: dict[str, Tensor]) -> bool:
    others = torch.stack([output.sum() for other, output in maps.items() if other != name] or [torch.zeros(())]).sum()
    if not others.requires_grad:
        return False
    return torch.autograd.grad(others, maps[name], allow_unused=True, retain_graph=True)[0] is not None


def _attends(module: nn.Module) -> bool:
    return any(word in type(part).__name__.lower() for part in module.modules() for word in ATTENTION)


@contextmanager
def _watch(modules: dict[str, nn.Module]) -> Iterator[dict[str, list[Any]]]:
    """Collects the outputs of modules while it is open, in a form that has gradients."""
    caught: dict[str, list[Any]] = {}

    def hook(name: str) -> Any:
        def keep(module: nn.Module, given: Any, output: Any) -> Any:
            # the graph begins at the first of these modules: what lies before needs neither gradients nor memory
            if isinstance(output, Tensor) and not output.requires_grad:
                output = output.detach().requires_grad_()
            caught.setdefault(name, []).append(output)
            return output.clone() if isinstance(output, Tensor) else output  # a ReLU behind it may work in place

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        with torch.enable_grad():
            yield caught
    finally:
        for handle in handles:
            handle.remove()


def _is_map(outputs: Sequence[Any]) -> bool:
    return len(outputs) == 1 and isinstance(outputs[0], Tensor) and outputs[0].dim() in (4, 5)


def _only_output(name: str, outputs: Sequence[Any]) -> Tensor:
    if len(outputs) != 1:
        raise UserError(f"layer {name}: it runs {len(outputs)} times in one pass; Grad-CAM needs one map")
    if not isinstance(outputs[0], Tensor):
        raise UserError(f"layer {name}: answers {type(outputs[0]).__name__}, not a map (C, H, W) or (C, T, H, W)")
    output: Tensor = outputs[0]
    return output


def _in_the_picture(
    method: Method, name: str, module: nn.Module, output: Tensor, axis: int | None, size: Any
) -> Callable[[Tensor], Tensor]:
    """Returns what turns a layer's output into a map. Raises: UserError if nothing does."""
    maps = in_the_picture(method, name, output, axis, size)
    if maps is None and _attends(module):
        raise UserError(TOKENS.format(name))
    if maps is None or not _is_map([maps]):
        raise UserError(f"layer {name}: answers {tuple(output.shape[1:])}, not a map (C, H, W) or (C, T, H, W)")
    return lambda tokens: cast(Tensor, in_the_picture(method, name, tokens, axis, size))


def _weighted(output: Tensor, gradient: Tensor) -> Tensor:
    """Weights a layer's output (T, C, H, W) or (1, C, T, H, W) by its gradient -> float32 (T', H', W') on the CPU."""
    weights = gradient.mean(dim=tuple(range(2, gradient.dim())), keepdim=True)
    found = by_clip((weights * output).sum(1, keepdim=True), 1).float().cpu().relu()
    return found.flatten(0, -3)


def _frame_places(method: Method, name: str, num_frames: int, length: int) -> np.ndarray:
    """Returns at which of the clip's frames the maps of a layer lie, float64 (length,)."""
    method, name = _inside(method, name)
    if isinstance(method, SlowFast) and name.startswith("network.slow."):
        chosen = SLOW_FRAMES[str(method.settings["slow_frames"])](num_frames, int(method.settings["alpha"]))
        if len(chosen) == length:
            return np.array(chosen, np.float64)
    return (np.arange(length) + 0.5) * num_frames / length - 0.5  # equal parts, as in space


def _enlarge(coarse: Tensor, places: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Enlarges (T', H', W') -> float32 (T, H, W), linearly; the largest value becomes 1 unless all are 0."""
    between = [np.interp(np.arange(size[0]), places, row) for row in np.eye(len(places))]  # (T', T)
    frames = np.tensordot(np.stack(between, axis=1), coarse.numpy(), axes=1).astype(np.float32)
    fine = F.interpolate(torch.from_numpy(frames)[None], size=size[1:], mode="bilinear", align_corners=False)[0].numpy()
    largest = float(fine.max())
    return fine / largest if largest > 0 else fine

"""Changes colours, erases and normalises whole batches on the device. No pixels are sent back to the host.

Parameters are small arrays drawn in the worker from the sample's own generator (`draw`), so workers and restarts
never change the data; `apply` only carries them out. Colour arithmetic is in color.py and rand_augment.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from utils.clip_spec import CLIP_DIMS, MODALITIES
from utils.errors import ConfigError
from utils.transforms import rand_augment as ra
from utils.transforms.color import HUE, compiled_jitter_batch, jitter_batch, jitter_clip
from utils.transforms.flow import to_colours

# AlexNet's colour PCA of ImageNet (Krizhevsky et al. 2012, sec. 4.1): eigenvalues and, as columns, eigenvectors
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
)
_ERASE_TRIES = 100
FLOW_ZERO = 128  # grey level of optical flow that does not move: 127.5, rounded as OpenCV and NumPy round


class Augment:
    """Colour -> erasing -> normalisation -> differences and stacks.

    mean, std: per channel of a picture, of pixels in 0..value_range.
    colorjitter: [brightness, contrast, saturation, hue] as torchvision's ColorJitter takes them.
    random_erasing: [probability, min area, max area, min aspect] (Zhong et al. 2017, arXiv 1708.04896); the rectangle
        becomes `erase_fill`, RGB 0..255, before normalisation; in optical flow, the value for no motion.
    erase_with: colour, or noise: what is erased becomes normally distributed after normalisation, each pixel of each
        frame anew, and the logarithm of the aspect is drawn evenly instead of the aspect, as in timm.
    colorold: PCA lighting, True for a standard deviation of 0.1, or that number.
    rand_augment: [operations, magnitude] (Cubuk et al. 2019, arXiv 1909.13719), True for [2, 9], or timm's text.
    consistent: one draw per clip; False draws for each frame.
    modality, stack: a method's (utils/clip_spec.py). Optical flow has no colour to change, and the frames of a
        difference cannot each have their own.
    compiled: whether torch.compile fuses colour jitter on a device.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        value_range: float = 1.0,
        colorjitter: Sequence[float] | None = None,
        random_erasing: Sequence[float] | None = None,
        colorold: bool | float | None = None,
        rand_augment: bool | str | Sequence[int] | None = None,
        consistent: bool = True,
        erase_fill: Sequence[int] = (152, 142, 127),
        erase_with: str = "colour",
        modality: str = "rgb",
        stack: int = 1,
        compiled: bool = False,
    ) -> None:
        self.colorjitter = _checked_jitter(colorjitter)
        self.random_erasing = _checked_erasing(random_erasing)
        self.noise = erase_with == "noise"
        self.lighting = 0.1 if colorold is True else float(colorold or 0.0)
        self.rand_augment = ra.checked(rand_augment)
        self.consistent = consistent
        self.modality, self.stack = modality, stack
        self.compiled = compiled
        self._check_modality()
        self.mean, self.std, self.value_range = tuple(mean), tuple(std), float(value_range)
        # (x / 255 * range - mean) / std as one multiply and one add
        self._scale = torch.tensor([value_range / 255 / s for s in std])
        self._bias = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])
        fill = [FLOW_ZERO] * 2 if modality == "flow" else list(erase_fill)
        self._fill = torch.tensor(fill) * self._scale + self._bias
        self._moved: tuple[Tensor, Tensor, Tensor] | None = None  # the same on the device that was asked for last

    def _check_modality(self) -> None:
        colours = {"colorjitter": self.colorjitter, "colorold": self.lighting, "rand_augment": self.rand_augment}
        given = [key for key, value in colours.items() if value]
        if self.modality == "flow" and given:
            raise ConfigError(f"common.augmentation.{given[0]}: optical flow has no colour; take it out of the config")
        compares = self.modality == "rgbdiff" or (self.modality == "rgb" and self.stack > 1)
        if compares and not self.consistent and (given or self.random_erasing):
            raise ConfigError(
                "common.augmentation.consistent: False draws for every frame anew, which differences between frames "
                "would take for motion; leave it at True where a network sees such differences"
            )
        if compares and self.noise and self.random_erasing:
            raise ConfigError(
                "common.augmentation.erase_with: noise is another one in each frame, which differences between frames "
                "would take for motion; take colour where a network sees such differences"
            )

    def draw(
        self, rng: np.random.Generator, views: int, num_frames: int, height: int, width: int
    ) -> dict[str, np.ndarray]:
        """Draws one sample's parameters; each array starts with (V, F), F = 1 if consistent, else T.

        color_order int64 (V, F, 4), color_factors float32 (V, F, 4), lighting float32 (V, F, 3) in 0..1, erase int64
        (V, F, 4) as top, left, height, width (all 0: nothing), erase_seed int64 (V, F) of the noise that fills them,
        rand_ops int64 and rand_magnitudes float32 (V, F, n).
        The same switches give the same names and shapes for every sample.
        """
        shape = views, 1 if self.consistent else num_frames
        drawn: dict[str, np.ndarray] = {}
        if self.rand_augment:
            drawn["rand_ops"], drawn["rand_magnitudes"] = self.rand_augment.draw(rng, shape)
        if self.colorjitter:
            drawn["color_order"] = rng.permuted(np.broadcast_to(np.arange(4), (*shape, 4)), axis=-1)
            low, high = zip(*self.colorjitter, strict=True)
            drawn["color_factors"] = rng.uniform(low, high, (*shape, 4)).astype(np.float32)
        if self.lighting:
            strength = rng.normal(0, self.lighting, (*shape, 3)) * _EIGENVALUES
            drawn["lighting"] = (strength @ _EIGENVECTORS.T).astype(np.float32)
        if self.random_erasing:
            boxes = [self._draw_box(rng, height, width) for _ in range(shape[0] * shape[1])]
            drawn["erase"] = np.array(boxes, np.int64).reshape(*shape, 4)
            if self.noise:
                drawn["erase_seed"] = rng.integers(2**63, size=shape)
        return drawn

    def _draw_box(self, rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
        assert self.random_erasing is not None
        probability, min_area, max_area, min_aspect = self.random_erasing
        if rng.random() >= probability:
            return 0, 0, 0, 0
        for _ in range(_ERASE_TRIES):
            area = height * width * rng.uniform(min_area, max_area)
            low, high = min_aspect, 1 / min_aspect
            aspect = math.exp(rng.uniform(math.log(low), math.log(high))) if self.noise else rng.uniform(low, high)
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < h < height and 0 < w < width:
                return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
        return 0, 0, 0, 0

    def apply(
        self, clips: Tensor, params: Mapping[str, Tensor] | None = None, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Carries out what was drawn, normalises, and puts what belongs to one place of a clip into its channels.

        clips: uint8, or float32 in 0..255, (N, V, C, T, H, W), best with its memory as N,V,T,H,W,C. params: what `draw`
        returned, stacked to (N, V, F, ...), on the device of `clips`; None or empty only normalises.

        Returns (N*V, C, T, H, W) of `dtype`, with its memory as N,T,H,W,C: channels-last also after folding T into N.
        With stacks, C and T are the method's: from stack * T fields of 2 channels or frames of 3, or for differences
        from (stack + 1) * T frames.
        Colour operations work on whole grey levels, so they round float clips first.
        Features, (N, V, T', ...), stay what they are: (N*V, T', ...).
        """
        if clips.dim() != 1 + CLIP_DIMS:  # of V views each
            return clips.flatten(0, 1)
        params = params or {}
        pixels = clips.permute(0, 1, 3, 4, 5, 2).contiguous().flatten(0, 1)  # M,T,H,W,C with M = N*V
        drawn = {name: tensor.flatten(0, 1) for name, tensor in params.items()}
        if pixels.is_floating_point() and ("color_order" in drawn or "rand_ops" in drawn):
            pixels = pixels.round().clamp_(0, 255).to(torch.uint8)
        if "rand_ops" in drawn:
            pixels = ra.apply(pixels, drawn["rand_ops"], drawn["rand_magnitudes"])
        carry_out = self._apply_on_cpu if pixels.device.type == "cpu" else self._apply_on_device
        if self.modality == "rgb" and self.stack == 1:
            return carry_out(pixels, drawn, dtype).permute(0, 4, 1, 2, 3)  # M,T,H,W,C -> M,C,T,H,W, a view
        length = self.stack + MODALITIES[self.modality].beyond
        stacks = carry_out(pixels, drawn, torch.float32).unflatten(1, (-1, length))
        if self.modality == "rgbdiff":
            stacks = stacks[:, :, 1:] - stacks[:, :, :-1]
        # M,T,L,H,W,C -> M,T,H,W,L*C: TSN's order, all channels of the first picture before those of the second
        return stacks.to(dtype).permute(0, 1, 3, 4, 2, 5).flatten(4).permute(0, 4, 1, 2, 3)

    def _apply_on_cpu(self, pixels: Tensor, drawn: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """Applies everything clip by clip, so that a clip stays in the cache from the first operation to the last."""
        num_frames, height, width, channels = pixels.shape[1:]
        # whole rows as the fastest axis: an axis of three channels could not be vectorised
        scale, bias = self._scale.repeat(width), self._bias.repeat(width)
        out = torch.empty(pixels.shape, dtype=dtype)
        order, factors = drawn.get("color_order"), drawn.get("color_factors")
        for index, clip in enumerate(pixels):
            if order is not None and factors is not None:
                clip = torch.from_numpy(jitter_clip(clip.numpy(), order[index].numpy(), factors[index].numpy()))
            shift = bias
            if "lighting" in drawn:
                light = drawn["lighting"][index] * (255 * self._scale) + self._bias  # (F, 3)
                shift = light.repeat(1, width)[:, None]  # (F, 1, W*C)
            whole = out[index] if dtype == torch.float32 else torch.empty(clip.shape)
            rows = whole.copy_(clip).view(num_frames, height, width * channels)
            torch.addcmul(shift, rows, scale, out=rows)
            if dtype != torch.float32:
                out[index] = whole
            if "erase_seed" in drawn:
                _fill_with_noise(out[index], drawn["erase"][index], drawn["erase_seed"][index])
            elif "erase" in drawn:
                _erase_clip(out[index], drawn["erase"][index], self._fill)
        return out

    def _apply_on_device(self, pixels: Tensor, drawn: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """Applies everything to the whole batch at once; nothing but what noise needs is read back to the host."""
        scale, bias, fill = self._constants(pixels.device)
        if "color_order" in drawn:
            jitter = compiled_jitter_batch() if self.compiled else jitter_batch
            pixels = jitter(pixels, drawn["color_order"], drawn["color_factors"])
        if "lighting" in drawn:
            bias = (drawn["lighting"] * (255 * scale) + bias)[:, :, None, None]  # (M, F, 1, 1, 3)
        out = torch.addcmul(bias, pixels.to(torch.float32), scale)
        if "erase_seed" in drawn:
            for clip, boxes, seeds in zip(out, drawn["erase"], drawn["erase_seed"], strict=True):
                _fill_with_noise(clip, boxes, seeds)
        elif "erase" in drawn:
            out = torch.where(_inside(drawn["erase"], *out.shape[2:4]), fill, out)
        return out.to(dtype)

    def pixels(self, clips: Tensor) -> Tensor:
        """Turns what `apply` returned into pictures again: (N, C, T, H, W) -> uint8 RGB (N, T * stack, H, W, 3).

        Optical flow is shown in colours, differences around grey.
        """
        scale, bias, _ = self._constants(clips.device)
        stacks = clips.float().unflatten(1, (self.stack, -1)).permute(0, 3, 1, 4, 5, 2)  # N, T, L, H, W, C
        levels = stacks / scale if self.modality == "rgbdiff" else (stacks - bias) / scale
        if self.modality == "rgbdiff":
            levels = 127.5 + levels / 2
        pictures = levels.round().clamp(0, 255).to(torch.uint8).flatten(1, 2).cpu()
        return torch.from_numpy(to_colours(pictures.numpy())) if self.modality == "flow" else pictures

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        if self._moved is None or self._moved[0].device != device:
            self._moved = self._scale.to(device), self._bias.to(device), self._fill.to(device)
        return self._moved


def _erase_clip(clip: Tensor, boxes: Tensor, fill: Tensor) -> None:
    """Writes `fill` into the boxes (F, 4) of one clip (T, H, W, 3), in place."""
    for frame, (top, left, height, width) in enumerate(boxes.tolist()):
        frames = slice(None) if len(boxes) == 1 else frame
        clip[frames, top : top + height, left : left + width] = fill.to(clip.dtype)


def _fill_with_noise(clip: Tensor, boxes: Tensor, seeds: Tensor) -> None:
    """Writes noise into the boxes (F, 4) of one clip (T, H, W, 3), in place. seeds: int64 (F,)."""
    numbers = torch.Generator(clip.device)
    for frame, ((top, left, height, width), seed) in enumerate(zip(boxes.tolist(), seeds.tolist(), strict=True)):
        if height:
            frames = clip if len(boxes) == 1 else clip[frame : frame + 1]
            part = frames[:, top : top + height, left : left + width]
            noise = torch.empty(part.shape, device=clip.device).normal_(generator=numbers.manual_seed(seed))
            part.copy_(noise)


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Returns bool (M, F, H, W, 1): which pixels lie in the boxes (M, F, 4)."""
    top, left, tall, wide = boxes[..., None].unbind(2)  # each (M, F, 1)
    y, x = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    rows = (y >= top) & (y < top + tall)
    columns = (x >= left) & (x < left + wide)
    return (rows[..., :, None] & columns[..., None, :])[..., None]


def _checked_jitter(value: Sequence[float] | None) -> tuple[tuple[float, float], ...] | None:
    """Returns the ranges of the four factors, or None where nothing is jittered."""
    if not value or not any(value):
        return None
    if len(value) != 4 or min(value) < 0 or value[HUE] > 0.5:
        raise ConfigError(
            f"augmentation.colorjitter: {list(value)} must be [brightness, contrast, saturation, hue], none negative, "
            f"hue at most 0.5"
        )
    return (*((max(0.0, 1 - width), 1 + width) for width in value[:3]), (-value[HUE], value[HUE]))


def _checked_erasing(value: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    if not value or not value[0]:
        return None
    if len(value) != 4 or not 0 < value[0] <= 1 or not 0 < value[1] <= value[2] <= 1 or not 0 < value[3] <= 1:
        raise ConfigError(
            f"augmentation.random_erasing: {list(value)} must be [probability, min area, max area, min aspect], "
            f"all in 0..1, the areas in order"
        )
    probability, min_area, max_area, min_aspect = value
    return probability, min_area, max_area, min_aspect

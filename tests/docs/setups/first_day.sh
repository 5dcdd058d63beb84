# shellcheck shell=bash
# videos/ with four classes of small videos, of which two pairs are each other's time reversal, and EfficientNet-Lite0's weights
python - <<'PYTHON'
import shutil
from pathlib import Path

import av
import cv2
import numpy as np

from tests.helpers.make_video import encoder
from tests.helpers.real_weights import efficientnet_file

LEVELS, TWICE = 8, 2
CLASSES = {"approach": ("zoom", 1), "retreat": ("zoom", -1), "dawn": ("fade", 1), "dusk": ("fade", -1)}


def shown(texture: np.ndarray, kind: str, share: float) -> np.ndarray:
    height, width = texture.shape[:2]
    if kind == "fade":
        return (cv2.resize(texture, (96, 72)) * (0.25 + 0.75 * share)).astype(np.uint8)
    top, left = (round(side * 0.3 * share) for side in (height, width))
    return cv2.resize(texture[top : height - top, left : width - left], (96, 72), interpolation=cv2.INTER_AREA)


for seed, (name, (kind, direction)) in enumerate(CLASSES.items()):
    Path("videos", name).mkdir(parents=True)
    for number in range(12):
        noise = np.random.default_rng(100 * seed + number).integers(0, 256, (288, 384, 3), np.uint8)
        texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4 + number % 4), None, 0, 255, cv2.NORM_MINMAX)
        path = Path("videos", name, f"{name}_{number:02d}.mp4")
        with encoder(path, "libx264", rate=8, size=(96, 72), pix_fmt="yuv420p", container=None) as (output, stream):
            for share in np.repeat(np.linspace(0, 1, LEVELS), TWICE)[::direction]:
                frame = av.VideoFrame.from_ndarray(shown(texture, kind, share), format="rgb24")
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
file = efficientnet_file("lite0")
shutil.copy(file, Path("pretrained", file.name.replace("efficientnet-lite0", "tf_efficientnet_lite0")))
PYTHON
cp videos/dusk/dusk_00.mp4 some_video.mp4

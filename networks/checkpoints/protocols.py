"""Defines how each project tests its networks, as sections of a config: preprocessing, sampling and views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from networks.checkpoints.layouts.base import SOMETHING, Description
from networks.checkpoints.layouts.inceptions import FIRST, pixels
from networks.clip.x3d import X3DS

# mean 104, 117, 128 and std 1 of pixels in 0..255
C3D_PIXELS = {"mean": [0.407843137, 0.458823529, 0.501960784], "std": [0.003921569] * 3}
# in 0..1; AIM rounds those of CLIP in 0..255
CLIP_PIXELS: Mapping[str, Mapping[str, list[float]]] = {
    "ST-Adapter": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
    "AIM": {"mean": [0.481447, 0.457804, 0.408], "std": [0.2686, 0.261294, 0.275769]},
}
Sections = dict[str, dict[str, Any]]


def sections(project: str, description: Description) -> Sections:
    """Returns `augmentation`, `data` and `test` for a network of a project, which is named as its layout is.

    What the config in the file says goes before what is usual in the project.
    Raises: KeyError for a layout that is not in PROJECTS.
    """
    if project not in PROJECTS:
        raise KeyError(f"{project}: add its protocol to networks/checkpoints/protocols.py")
    usual = PROJECTS[project](description)
    return {name: {**section, **description.protocol.get(name, {})} for name, section in usual.items()}


def _sections(
    preset: str, sampling: str, *, size: int, resize: Any = 256, views: tuple[int, int], **test: Any
) -> Sections:
    clips, crops = views
    return {
        "augmentation": {"preset": preset, "input_size": size, "test_resize": resize},
        "data": {"sampling": sampling},
        "test": {"num_clips": clips, "num_crops": crops, "sampling": sampling, **test},
    }


def _mit(description: Description) -> Sections:
    size = 224
    if description.backbone == "inception_v3_tsn":  # GSM's and GSF's authors take smaller frames than TRN's
        size = 229 if "temporal" in description.arguments else 299
    found = _sections("mit_tsm", "tsn", size=size, resize=size * 256 // 224, views=(1, 1))
    if description.backbone in FIRST:
        found["augmentation"] |= pixels(description.arguments.get("modality", "rgb"))
    return found


def _mmaction2_frames(description: Description) -> Sections:
    temporal = description.arguments.get("temporal", {})
    if temporal.get("name") == "mvf":  # consecutive frames of a window, in its authors' fork
        return _sections("mmaction2_tsm", "dense", size=224, views=(10, 3), input_size=256)
    if description.method == "tsn" and not temporal and "consensus" not in description.arguments:
        return _sections("mmaction2_tsn", "mmaction2_segments", size=224, views=(1, 10), num_frames=25)
    return _sections("mmaction2_tsm", "mmaction2_segments", size=224, views=(1, 10))


def _clips(preset: str, sampling: str, description: Description) -> Sections:
    size, resize = 224, 256
    if row := X3DS.get(description.backbone):
        size, resize = row.crop, row.test_crop
    return _sections(preset, sampling, size=size, resize=resize, views=(10, 3), input_size=resize)


def _mmaction2_clips(description: Description) -> Sections:
    if description.backbone == "c3d":
        found = _sections("mmaction2_slowfast", "mmaction2_clip", size=112, resize=128, views=(10, 1), input_size=112)
        found["augmentation"] |= {"crop": "short_side", "scales": [128, 128], **C3D_PIXELS}
        return found
    found = _clips("mmaction2_slowfast", "mmaction2_clip", description)
    if description.backbone in X3DS:  # its weights are PySlowFast's
        found["augmentation"] |= {"mean": [0.45, 0.45, 0.45], "std": [0.22502, 0.22502, 0.22502]}
    return found


def _pyslowfast(description: Description) -> Sections:
    return _clips("pyslowfast", "pyslowfast", description)


def _pytorchvideo(description: Description) -> Sections:
    return _clips("pytorchvideo", "pyslowfast", description)


def _mvit(preset: str, sampling: str) -> Callable[[Description], Sections]:
    """Makes the protocol of MViT: one crop, or of the large pictures of L three, which are as high as the picture."""

    def protocol(description: Description) -> Sections:
        size = description.arguments.get("kwargs", {}).get("spatial_size", 224)
        crops = 3 if size > 224 else 1
        whole = crops > 1 or preset == "mmaction2_slowfast"
        return _sections(preset, sampling, size=size, resize=size if whole else size * 8 // 7, views=(5, crops))

    return protocol


def _swin(description: Description) -> Sections:
    return _sections("mmaction2_slowfast", "mmaction2_clip", size=224, resize=224, views=(4, 3))


def _half(sections: Sections) -> Sections:
    """Gives a protocol the mean and the standard deviation of pixels of PySlowFast's networks."""
    sections["augmentation"] |= {"mean": [0.45, 0.45, 0.45], "std": [0.225, 0.225, 0.225]}
    return sections


def _hiera(description: Description) -> Sections:
    size = description.arguments.get("kwargs", {}).get("spatial_size", 224)
    return _sections("pyslowfast", "pyslowfast", size=size, resize=size, views=(5, 3))


def _uniformer(preset: str, sampling: str) -> Callable[[Description], Sections]:
    """Makes the protocol of UniFormer, four windows, and of UniFormerV2, whose frames lie in equal parts of a video.

    So do those of a UniFormer of Something-Something.
    """

    def protocol(description: Description) -> Sections:
        size = description.arguments.get("kwargs", {}).get("spatial_size", 224)
        if not description.backbone.startswith("uniformerv2"):
            if description.arguments.get("num_class") == SOMETHING:
                rule = "pyslowfast_segments" if preset == "pyslowfast" else "mmaction2_uniform"
                return _half(_sections(preset, rule, size=size, resize=size, views=(1, 3)))
            return _half(_sections(preset, sampling, size=size, resize=size, views=(4, 1)))
        windows = 1 if description.arguments.get("kwargs", {}).get("local") else 4
        return _half(_sections(preset, "mmaction2_uniform", size=size, resize=size, views=(windows, 3)))

    return protocol


def _on_clip(project: str) -> Callable[[Description], Sections]:
    """Makes the protocol of adapters on CLIP: three windows of a video, or for Something-Something its parts.

    Pixels are CLIP's.
    """

    def protocol(description: Description) -> Sections:
        size = description.arguments.get("kwargs", {}).get("img_size", 224)
        spread = description.arguments.get("num_class") == SOMETHING
        views = (1, 3) if spread else (3, 1)
        found = _sections("pyslowfast", "tsn" if spread else "clip", size=size, resize=size, views=views)
        found["augmentation"] |= CLIP_PIXELS[project]
        return found

    return protocol


def _video_vit(description: Description) -> Sections:
    """Returns how VideoMAE, V-JEPA 2, TimeSformer and ViViT are tested, as far as views and pixels say."""
    family, arguments = description.backbone.partition("_")[0], description.arguments
    something = arguments.get("num_class") == SOMETHING
    if family == "timesformer":
        size = arguments.get("kwargs", {}).get("spatial_size", 224)
        found = _sections("pyslowfast", "pyslowfast", size=size, resize=size, views=(1, 3), average="logits")
        if something:
            found["data"]["sampling"] = found["test"]["sampling"] = "pyslowfast_segments"
        return found
    if family == "vivit":
        size = arguments.get("kwargs", {}).get("spatial_size", 224)
        resize = size * 8 // 7
        found = _sections("mmaction2_slowfast", "clip", size=size, resize=resize, views=(4, 1), input_size=size)
        found["augmentation"] |= {"mean": [0.5] * 3, "std": [0.5] * 3}
        return found
    if family == "vjepa2":
        size = 384 if "2_1" in description.backbone or description.backbone.endswith("_g") else 256
        views = 1 if arguments.get("kwargs", {}).get("segments", 1) > 1 else 8, 3
        return _sections("torchvision_swin3d", "clip", size=size, resize=size, views=views, input_size=size)
    if something:
        return _sections("videomae", "twice", size=224, resize=224, views=(2, 3), input_size=224)
    return _sections("videomae", "clip", size=224, resize=224, views=(5, 3), input_size=224)


def _mmaction2_vit(description: Description) -> Sections:
    found = _video_vit(description)
    if description.backbone.startswith("timesformer"):
        size = found["augmentation"]["input_size"]
        return _sections("mmaction2_slowfast", "mmaction2_clip", size=size, resize=size, views=(1, 3), input_size=size)
    if description.backbone.startswith("videomae"):
        found["augmentation"]["preset"] = "mmaction2_slowfast"
    return found


def _vmz(description: Description) -> Sections:
    if "csn" in description.backbone:
        return _sections("vmz", "clip", size=224, views=(10, 1))
    return _sections("vmz", "clip", size=112, resize=[128, 174], views=(10, 1))


# prefix of the backbone's name -> preset, crop, resize, clips per video
_TORCHVISION: Mapping[str, tuple[str, int, Any, int]] = {
    "s3d": ("s3d", 224, [256, 256], 1),
    "mvit": ("torchvision_mvit", 224, 256, 5),
    "swin3d": ("torchvision_swin3d", 224, 256, 12),
    "": ("torchvision", 112, [128, 171], 5),
}


def _torchvision(description: Description) -> Sections:
    preset, size, resize, clips = next(
        row for start, row in _TORCHVISION.items() if description.backbone.startswith(start)
    )
    longer = {"num_frames": 128} if description.backbone == "s3d" else {}  # its weights were trained on 64
    return _sections(preset, "torchvision", size=size, resize=resize, views=(clips, 1), **longer)


def _resnet3d_333(description: Description) -> Sections:
    return _sections("torchvision", "clip", size=112, resize=112, views=(10, 1))


def _own(description: Description) -> Sections:
    return {}  # our checkpoints hold their config


PROJECTS = {
    "this project": _own,
    "MIT TSM or tsn-pytorch": _mit,
    "mmaction2 (frames)": _mmaction2_frames,
    "mmaction2 (clips)": _mmaction2_clips,
    "PySlowFast": _pyslowfast,
    "PyTorchVideo": _pytorchvideo,
    "PyTorchVideo MViT": _mvit("pytorchvideo", "pyslowfast"),
    "PySlowFast MViT": _mvit("pyslowfast", "pyslowfast"),
    "mmaction2 MViT": _mvit("mmaction2_slowfast", "mmaction2_clip"),
    "Video Swin": _swin,
    "Hiera": _hiera,
    "UniFormer": _uniformer("pyslowfast", "pyslowfast"),
    "ST-Adapter": _on_clip("ST-Adapter"),
    "AIM": _on_clip("AIM"),
    "mmaction2 UniFormer": _uniformer("mmaction2_slowfast", "mmaction2_clip"),
    "VideoMAE": _video_vit,
    "V-JEPA 2": _video_vit,
    "V-JEPA 2 probe": _video_vit,
    "TimeSformer": _video_vit,
    "transformers": _video_vit,
    "mmaction2 ViT": _mmaction2_vit,
    "VMZ": _vmz,
    "torchvision video": _torchvision,
    "3D-ResNets-PyTorch": _resnet3d_333,
}

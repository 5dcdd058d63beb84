"""Lists the rows of docs/models.md: what is counted at which size, the exact figures, and what was published.

A network of networks.CLIP_NETWORKS, networks.IMAGE_BACKBONES or SlowFast without a row here gets one at its usual clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from networks import CLIP_NETWORKS, IMAGE_BACKBONES
from networks.clip.slowfast import BACKBONES as SLOWFAST_BACKBONES
from networks.clip.table import EXAMPLES


@dataclass(frozen=True)
class Row:
    """One line of the cost table.

    size: (T, H, W).
    params, gmacs: the figures it must give, GMACs to as many decimals as written; None: they are only printed.
    published: parameters and "GFLOPs" of the paper or model zoo, with their size where it is another one.
    arguments: what the method is built with, besides backbone and num_class.
    """

    method: str
    backbone: str
    size: tuple[int, int, int]
    params: int | None = None
    gmacs: str | None = None
    published: str = ""
    num_class: int = 400
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Method, backbone and the arguments that make a different network."""
        hidden = {"clip_len", "num_segments"}
        shown = [f"{key}={value}" for key, value in self.arguments.items() if key not in hidden]
        return " ".join([self.method, self.backbone, *shown])


def _frames(method: str, backbone: str, *sizes: tuple[int, int, str], **same: Any) -> list[Row]:
    """Makes rows of a segment method from (frames, crop, GMACs)."""
    return [
        Row(method, backbone, (frames, crop, crop), gmacs=gmacs, arguments={"num_segments": frames}, **same)
        for frames, crop, gmacs in sizes
    ]


def _slowfast(backbone: str, params: int, frames: int, *sizes: tuple[int, str, str], **arguments: Any) -> list[Row]:
    """Makes rows of SlowFast from (crop, GMACs, published)."""
    extra = {"clip_len": frames, **arguments}
    return [
        Row("slowfast", backbone, (frames, crop, crop), params, gmacs, published, arguments=extra)
        for crop, gmacs, published in sizes
    ]


def _clip(backbone: str, params: int, *sizes: tuple[int, int, str, str]) -> list[Row]:
    """Makes rows of clip3d from (frames, crop, GMACs or "" where nobody counted them, published)."""
    return [
        Row("clip3d", backbone, (frames, crop, crop), params, gmacs or None, published, arguments={"clip_len": frames})
        for frames, crop, gmacs, published in sizes
    ]


R50, R101 = 24_327_632, 43_319_760

ROWS: list[Row] = [
    *_frames("tsn", "resnet50", (1, 224, "4.088"), (3, 224, "12.264"), (5, 224, "20.440"), params=R50),
    *_frames("tsn", "resnet50", (8, 224, "32.704"), params=R50, published="24.33 M, 32.88 (mmaction2)"),
    *_frames("tsn", "resnet50", (25, 224, "102.199"), params=R50, published="24.33 M, 102.7 (mmaction2)"),
    *_frames("tsn", "resnet18", (8, 224, "14.510"), params=11_381_712),
    *_frames("tsn", "resnet101", (8, 224, "62.401"), params=R101, published="43.32 M (mmaction2)"),
    *_frames("tsn", "resnet152", (8, 224, "92.099"), params=58_963_408),
    *_frames("tsn", "mobilenetv2", (3, 224, "0.899"), params=2_418_584, num_class=152),
    *_frames("tsm", "resnet50", (8, 224, "32.704"), params=R50, published="24.3 M, 32.88 (mmaction2)"),
    *_frames("tsm", "resnet50", (16, 224, "65.407"), params=R50, published="24.3 M, 65.75 (mmaction2)"),
    *_frames("tsm", "resnet50", (8, 256, "42.713"), params=R50),
    *[
        Row("tsm", "resnet50", (8, 224, 224), params, published=note, num_class=classes, arguments={"num_segments": 8})
        for classes, params, note in [
            (174, 23_864_558, "23.87 M (mmaction2, printed in its K400 table)"),
            (101, 23_714_981, ""),
            (51, 23_612_531, ""),
        ]
    ],
    *_frames("tsm", "resnet101", (8, 224, "62.401"), params=R101, published="62.66 (mmaction2)"),
    *_frames("tsm", "mobilenetv2", (8, 224, "2.400"), params=2_736_272, published="2.736 M, 3.269 (mmaction2, at 256)"),
    *_frames("tsm", "mobilenetv2", (8, 256, "3.134"), params=2_736_272, published="2.736 M, 3.269 (mmaction2)"),
    *_slowfast(
        "resnet50",
        34_480_216,
        32,
        (256, "36.102", "34.48 M, 36.69 (PyTorchVideo), 36.3 (mmaction2)"),
        (224, "27.639", ""),
    ),
    *_slowfast(
        "resnet50",
        34_566_488,
        32,
        (256, "65.712", "34.57 M, 65.71 (PyTorchVideo), 66.1 (mmaction2)"),
        (224, "50.309", ""),
        alpha=4,
        fusion_kernel=7,
    ),
    *_slowfast(
        "resnet101",
        62_826_968,
        32,
        (256, "125.908", "62.83 M, 127.20 (PyTorchVideo), 126 (mmaction2)"),
        alpha=4,
    ),
    *_slowfast("resnet101_50_50", 53_774_808, 64, (256, "213.024", "53.77 M, 215.61 (PyTorchVideo)"), alpha=4),
    *_clip(
        "slow_r50",
        32_454_096,
        (4, 256, "27.262", "32.45 M, 27.55 (PyTorchVideo), 27.38 (mmaction2)"),
        (4, 224, "20.871", ""),
        (8, 256, "54.521", "32.45 M, 54.52 (PyTorchVideo), 54.75 (mmaction2)"),
        (8, 224, "41.741", ""),
    ),
    *_clip("i3d_r50", 28_043_472, (8, 256, "37.106", "28.04 M, 37.53 (PyTorchVideo)"), (8, 224, "28.408", "")),
    *_clip("c2d_r50", 24_327_632, (8, 256, "", "24.33 M, 25.89 (PyTorchVideo)")),
    *_clip("create_resnet_r50", 32_472_912, (8, 256, "57.000", "")),
    *_clip("r2plus1d_r50", 28_107_600, (16, 256, "75.148", "28.11 M, 76.45 (PyTorchVideo)")),
    *_clip("csn_r101", 22_213_776, (32, 256, "73.757", "22.21 M, 75.62 (PyTorchVideo)")),
    *_clip(
        "x3d_xs",
        3_794_274,
        (4, 160, "0.605", "3.8 M, 0.60 (PySlowFast), 0.91 at 182 (PyTorchVideo)"),
    ),
    *_clip("x3d_s", 3_794_274, (13, 160, "1.963", "3.8 M, 1.96 (PySlowFast), 2.96 at 182 (PyTorchVideo)")),
    *_clip("x3d_m", 3_794_274, (16, 224, "4.732", "3.8 M, 4.73 (PySlowFast), 6.72 at 256 (PyTorchVideo)")),
    *_clip("x3d_l", 6_153_384, (16, 312, "18.37", "6.2 M, 18.37 (PySlowFast), 26.64 at 356 (PyTorchVideo)")),
    *_clip("efficient_x3d_xs", 3_794_322, (4, 160, "0.605", "3.8 M (PyTorchVideo)")),
    *_clip("efficient_x3d_s", 3_794_322, (13, 160, "1.963", "3.8 M (PyTorchVideo)")),
    Row(
        "clip3d",
        "c3d",
        (16, 112, 112),
        78_409_573,
        "38.547",
        "78.4 M, 38.5 (mmaction2)",
        num_class=101,
        arguments={"clip_len": 16},
    ),
    *_clip("r3d_18", 33_371_472, (16, 112, "40.697", "33,371,472, 40.697 (torchvision)")),
    *_clip("mc3_18", 11_695_440, (16, 112, "43.343", "11,695,440, 43.343 (torchvision)")),
    *_clip("r2plus1d_18", 31_505_325, (16, 112, "40.519", "31,505,325, 40.519 (torchvision)")),
    *_clip(
        "s3d",
        8_320_048,
        (16, 224, "17.979", "8,320,048, 17.979 (torchvision)"),
        (64, 224, "71.916", ""),
        (128, 224, "143.833", ""),
    ),
    *_clip(
        "r2plus1d_34",
        63_697_175,
        (8, 112, "38.089", "63.6 M, 49.8 (VMZ, at 128)"),
        (32, 112, "152.356", "63.6 M, 199.0 (VMZ, at 128)"),
    ),
    Row("clip3d", "r2plus1d_34_mm", (8, 256, 256), published="63.8 M, 53.1 (mmaction2)", arguments={"clip_len": 8}),
    *_clip("r2plus1d_152", 118_226_785, (32, 112, "64.656", ""), (32, 224, "256.590", "118.0 M, 329.1 (VMZ, at 256)")),
    *_clip("hiera_base", 51_092_560, (16, 224, "101.726", "51 M, 102 (paper)")),
    *_clip("hiera_base_plus", 69_392_240, (16, 224, "", "69 M, 133 (paper)")),
    *_clip("hiera_large", 213_091_600, (16, 224, "", "213 M, 413 (paper)")),
    *_clip("hiera_huge", 671_627_664, (16, 224, "", "672 M, 1159 (paper)")),
    *_clip("uniformer_s", 21_400_400, (16, 224, "41.663", "21.4 M, 41.8 (paper)")),
    *_clip("uniformer_b", 49_813_200, (16, 224, "", "49.8 M, 96.7 (paper)")),
    *_clip("uniformerv2_b", 114_552_208, (8, 224, "148.105", "115 M, 150 (paper)")),
    *_clip("uniformerv2_l", 354_099_600, (8, 224, "", "354 M, 667 (paper)")),
    *_clip("ir_csn_152", 29_703_568, (32, 224, "74.046", "29.6 M, 96.7 (VMZ, at 256), 29.70 M, 97.6 (mmaction2)")),
    *_clip("ip_csn_152", 33_016_592, (32, 224, "83.295", "32.8 M, 108.8 (VMZ, at 256), 33.02 M, 109.9 (mmaction2)")),
    # mmaction2's README prints those of B and L, and the authors' model zoo none; of H no published GMACs were seen
    *_clip("videomae_s", 22_033_936, (16, 224, "56.878", "22 M, 57 (VideoMAE)")),
    *_clip("videomae_b", 86_534_800, (16, 224, "180.345", "87 M, 180 (VideoMAE)")),
    *_clip("videomae_l", 304_270_736, (16, 224, "", "305 M, 597 (VideoMAE)")),
    *_clip("videomae_h", 632_119_440, (16, 224, "", "633 M (VideoMAE)")),
    *_clip("timesformer_b", 121_566_352, (8, 224, "195.830", "121.4 M, 196 (TimeSformer)")),
    Row("clip3d", "vjepa2_l", (16, 256, 256), None, "935.243", num_class=174, arguments={"clip_len": 16}),
    Row("clip3d", "vivit_b", (32, 224, 224), None, "451.525", arguments={"clip_len": 32}),
]


def all_rows() -> Iterator[Row]:
    """Yields ROWS, then a row for each registered network that has none."""
    yield from ROWS
    named = {(row.method, row.backbone) for row in ROWS}
    images = {"mobilenet_v2": "mobilenetv2"}
    for name in sorted({images.get(name, name) for name in IMAGE_BACKBONES}):
        if ("tsn", name) not in named:
            yield Row("tsn", name, (8, 224, 224), arguments={"num_segments": 8})
    for name in SLOWFAST_BACKBONES:
        if ("slowfast", name) not in named:
            yield Row("slowfast", name, (32, 256, 256), arguments={"clip_len": 32, "alpha": 4})
    for name in sorted(CLIP_NETWORKS):
        if ("clip3d", name) not in named:
            yield Row("clip3d", name, EXAMPLES[name], arguments={"clip_len": EXAMPLES[name][0]})

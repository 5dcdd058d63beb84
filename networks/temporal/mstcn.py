"""Labels every moment of a whole video: the multi-stage temporal convolutional network MS-TCN."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MSTCN(nn.Module):
    """Turns features over time into a class for each moment, stage by stage (Farha and Gall 2019, arXiv 1903.01945).

    The first stage reads the features, and each further one corrects what the one before it has said. A stage is a row
    of dilated convolutions, each of which looks twice as far as the one before it, so `layers` of them see
    2 ** (layers + 1) - 1 moments. Where no class is shown there is background, which is one class more.

    width: channels of the features. stages: stages in a row. layers: convolutions of a stage. channels: inside a stage.
    dropout: share of the values that each convolution loses in training; 0.5 as published.
    """

    def __init__(
        self, width: int, num_class: int, *, stages: int = 4, layers: int = 10, channels: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = [width] + [num_class + 1] * (stages - 1)
        self.stages = nn.ModuleList(_Stage(wide, layers, channels, dropout) for wide in widths)
        self.says = nn.ModuleList(nn.Conv1d(channels, num_class + 1, 1) for _ in range(stages - 1))
        self.head = nn.Conv1d(channels, num_class, 1)  # of the last stage, whose background is apart:
        self.background = nn.Conv1d(channels, 1, 1)  # other classes take another head

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        """Maps features (B, T, width) to the logits of every stage, (B, stages, T, K + 1), the background behind them.

        there: bool (B, T), which moments are in the video. Those that are not, at its end, change nothing.
        """
        mask = there[:, None].to(features.dtype)
        given, found = features.transpose(1, 2), []
        for number, stage in enumerate(self.stages):
            inside = stage(given, mask)
            if number < len(self.says):
                logits = self.says[number](inside)
            else:
                logits = torch.cat([self.head(inside), self.background(inside)], 1)
            found.append(logits)
            given = logits.softmax(1)
        return torch.stack(found, 1).transpose(2, 3)


class _Stage(nn.Module):
    """One stage, (B, width, T) to (B, channels, T)."""

    def __init__(self, width: int, layers: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Conv1d(width, channels, 1)
        self.layers = nn.ModuleList(_Layer(channels, 2**number, dropout) for number in range(layers))

    def forward(self, given: Tensor, mask: Tensor) -> Tensor:
        given = self.enter(given) * mask  # a convolution must not see what stands behind the end of a video
        for layer in self.layers:
            given = layer(given, mask)
        return given


class _Layer(nn.Module):
    """A dilated convolution over three moments with a skip connection."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, given: Tensor, mask: Tensor) -> Tensor:
        return (given + self.dropout(self.mix(self.wide(given).relu()))) * mask

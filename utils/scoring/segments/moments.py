"""Defines the labels of networks that see whole videos, and the losses of MS-TCN and ActionFormer.

The labels of B videos are float32 (B, 1 + M, 3), rows of (start, end, class). Places count moments: k is the middle of
window k. The first row of a video is the video itself, from 0 to its number of moments, with the class of the
background. Its spans follow, the longest first; a class of -1 fills it up. A span may begin before moment 0 and end
behind the last one, because windows have a length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNKNOWN = -1  # behind the end of a video
SMOOTHING = 0.15  # factor of the smoothing loss (Farha and Gall 2019, section 3.4)
LARGEST_STEP = 4.0  # largest difference of log-probabilities that it counts
LEVEL = 4.0  # strides of a level from a point to the farther end of a span that is for this level
CENTRE = 1.5  # strides from the middle of a span to the points that shall find it


def class_of_moments(labels: Tensor, count: int) -> Tensor:
    """Returns the class of each moment, int64 (B, count): of the last row that covers it, else UNKNOWN.

    Moment t is covered from `start` on, until before `end`.
    """
    moments = torch.arange(count, device=labels.device)
    there = moments < labels[:, :1, 1]
    found = labels.new_full((len(labels), count), UNKNOWN)
    for start, end, label in (row.unbind(1) for row in labels.unbind(1)):
        inside = (moments >= start[:, None]) & (moments < end[:, None]) & there
        found = torch.where(inside, label[:, None], found)
    return found.long()


class StagesLoss(nn.Module):
    """Computes the loss of MS-TCN: cross entropy of all moments, and a smoothing loss, added up over the stages.

    The smoothing loss is the mean square of how much log-probabilities change from one moment to the next, each change
    cut off at LARGEST_STEP; no gradient goes to the earlier moment (Farha and Gall 2019, section 3.4).
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Maps logits of every stage (B, S, T, K + 1) and labels (B, 1 + M, 3) to losses float32 (B,)."""
        logs = logits.float().log_softmax(-1)
        truth = class_of_moments(labels, logits.shape[2])
        known = truth != UNKNOWN  # (B, T)
        chosen = logs.gather(-1, truth.clamp(min=0)[:, None, :, None].expand(-1, logs.shape[1], -1, 1))[..., 0]
        entropy = -(chosen * known[:, None]).sum(-1) / known.sum(-1, keepdim=True)  # (B, S)
        change = (logs[:, :, 1:] - logs[:, :, :-1].detach()).square().clamp(max=LARGEST_STEP**2).mean(-1)
        pairs = known[:, 1:]
        smooth = (change * pairs[:, None]).sum(-1) / pairs.sum(-1, keepdim=True).clamp(min=1)
        return (entropy + SMOOTHING * smooth).sum(1)


def spans_of_points(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the span that each point shall find: its class, int64 (B, P), UNKNOWN for none; and its ends (B, P, 2).

    A point is at most CENTRE strides away from the middle of its span and inside of it, and no end of the span is
    nearer or farther than its level is for. Of several, the shortest one counts.

    points: (B, P, K + 4), as networks.temporal.span_pyramid has them.
    """
    place, stride = points[..., -2], points[..., -1]  # nan behind the end of a video, where nothing is near
    label, ends = labels.new_full(place.shape, UNKNOWN), labels.new_zeros(*place.shape, 2)
    top = stride == stride.nan_to_num().amax(1, keepdim=True)
    lowest = torch.where(stride == 1, 0.0, LEVEL * stride / 2)
    highest = torch.where(top, torch.inf, LEVEL * stride)
    for row in labels.unbind(1)[1:]:  # from the longest to the shortest
        start, end, kind = (column[:, None] for column in row.unbind(1))
        far = torch.maximum(place - start, end - place)
        near = ((place - (start + end) / 2).abs() <= CENTRE * stride) & (place >= start) & (place <= end)
        chosen = near & (far >= lowest) & (far < highest) & (kind >= 0)
        label = torch.where(chosen, kind, label)
        ends = torch.where(chosen[..., None], torch.stack([start, end], -1), ends)
    return label.long(), ends


class PointsLoss(nn.Module):
    """Computes the loss of ActionFormer: focal loss of the classes of all points, and DIoU loss of the spans they find.

    Both are divided by the number of points that shall find a span (Zhang et al. 2022, section 3.4).
    """

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Maps points (B, P, K + 4) and labels (B, 1 + M, 3) to losses float32 (B,)."""
        logits, found = points[..., :-4].float(), points[..., -4:-2].float()
        label, ends = spans_of_points(points.detach(), labels)
        there, right = ~points[..., -2].isnan(), label != UNKNOWN
        wanted = F.one_hot(label.clamp(min=0), logits.shape[-1]) * right[..., None]
        count = right.sum(1).clamp(min=1)
        focal = (_focal(logits, wanted.float()).sum(-1) * there).sum(1)
        distance = torch.where(right, _diou(found.nan_to_num(), ends, points[..., -1].nan_to_num(nan=1.0)), 0.0).sum(1)
        return (focal + distance) / count


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Returns the focal loss of each score (Lin et al. 2017), with alpha 0.25 and gamma 2."""
    score = logits.sigmoid()
    missed = torch.where(wanted > 0, 1 - score, score)
    alpha = torch.where(wanted > 0, 0.25, 0.75)
    return alpha * missed.square() * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def _diou(found: Tensor, ends: Tensor, unit: Tensor) -> Tensor:
    """Returns 1 - IoU + (distance of the middles / length of what covers both)^2 (Zheng et al. 2020).

    unit: a length, far below which nothing is divided by.
    """
    common = (torch.minimum(found[..., 1], ends[..., 1]) - torch.maximum(found[..., 0], ends[..., 0])).clamp(min=0)
    union = (found[..., 1] - found[..., 0]) + (ends[..., 1] - ends[..., 0]) - common
    cover = torch.maximum(found[..., 1], ends[..., 1]) - torch.minimum(found[..., 0], ends[..., 0])
    apart = (found.sum(-1) - ends.sum(-1)) / 2
    tiny = 1e-6 * unit
    return 1 - common / (union + tiny) + (apart / (cover + tiny)).square()

"""Saliency measures from sums over images."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256  # a prediction is rounded to multiples of 1/255, as in an 8-bit file


def saliency_statistics(pred: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Of one image, what :func:`saliency_measures` is a function of. Those of several images add
    up.

    Probabilities are rounded to k / 255, and a pixel is predicted salient at threshold k / 255, k =
    1..255, if it is not below: scoring a map and scoring its 8-bit file give the same numbers. NaN
    is not salient at any threshold.

    Where nothing is predicted salient in an image that has something salient, precision, recall and
    IoU are 0. Where nothing is salient they are 1 if nothing is predicted either, and 0 otherwise.
    (Toolboxes of the saliency literature give such images 0 whatever is predicted, or leave them
    out.)

    Args:
        pred: probabilities, any shape.
        target: 0 or 1 where valid, the same shape.
        valid: bool, the same shape.

    Returns:
        float64: ``precision``, ``recall``, ``iou (255,)`` by threshold, ``images`` (1, or 0 without
        a valid pixel; then all is 0) and ``pixels``, the number of valid ones.
    """
    levels = (pred[valid].float().nan_to_num(0.0).clamp(0, 1) * (LEVELS - 1)).round().long()
    salient = (target[valid] > 0).long()
    histogram = (
        torch.bincount(salient * LEVELS + levels, minlength=2 * LEVELS).view(2, LEVELS).double()
    )
    wrong, found = histogram.flip(1).cumsum(dim=1).flip(1)[:, 1:]
    predicted, truth = found + wrong, histogram[1].sum()
    union = wrong + truth
    pixels = histogram.sum()
    images = (pixels > 0).double()
    measures = {
        name: images * torch.where(union == 0, 1.0, found / total.clamp(min=1))
        for name, total in dict(precision=predicted, recall=truth, iou=union).items()
    }
    return dict(images=images, pixels=pixels, **measures)


def saliency_measures(
    statistics: dict[str, Tensor], beta_squared: float = 0.3
) -> dict[str, Tensor]:
    """Measures as fractions, float64; NaN without an image.

    Precision P and recall R of each threshold are averaged over the images, and F is that of the
    averages, ``(1 + b) P R / (b P + R)``, 0 where both are 0 (Achanta et al., CVPR 2009; Borji et
    al., "Salient Object Detection:
    A Benchmark", TIP 2015).

    Args:
        statistics: the sum over the images.
        beta_squared: b, weighs precision above recall below 1.

    Returns:
        ``max_f``, ``mean_f``: largest and mean F over the thresholds; ``miou``: IoU of the salient
        pixels averaged over the images, largest over the thresholds.
    """
    precision, recall, iou = (
        statistics[name] / statistics['images'] for name in ('precision', 'recall', 'iou')
    )
    weighted = beta_squared * precision + recall
    f = torch.where(weighted == 0, 0.0, (1 + beta_squared) * precision * recall / weighted)
    return dict(max_f=f.max(), mean_f=f.mean(), miou=iou.max())

"""Segmentation measures from a confusion matrix."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion_matrix(pred: Tensor, target: Tensor, valid: Tensor, num_classes: int) -> Tensor:
    """Counts ``(num_classes, num_classes)`` int64, truth by prediction. Those of several images add
    up.

    Args:
        pred, target: class ids, any one shape.
        valid: bool, the same shape.
        num_classes: number of classes.

    Raises:
        ValueError: a class id outside 0..num_classes-1 at a valid pixel.
    """
    pred, target = pred[valid].long(), target[valid].long()
    for what, ids in (('prediction', pred), ('label', target)):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
            raise ValueError(
                f'A segmentation {what} holds class ids {int(ids.min())}..{int(ids.max())}, '
                f"expected 0..{num_classes - 1}. Set the task's num_classes to the data set's "
                'number of classes.'
            )
    counts = torch.bincount(target * num_classes + pred, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)


def segmentation_measures(confusion: Tensor, absent: str = 'exclude') -> dict[str, Tensor]:
    """Measures as fractions, float64; NaN where undefined.

    Args:
        confusion: ``(C, C)`` counts, truth by prediction, of the whole set.
        absent: what ``miou`` does with classes that occur neither in truth nor prediction:
            'exclude' leaves them out of the mean, 'zero' counts them as 0, as InvPT does.

    Returns:
        ``iou (C,)`` = tp / (tp + fp + fn), ``class_acc (C,)`` = tp / (tp + fn), and the scalars
        ``miou``, ``mean_acc`` (over the classes that occur in the truth) and ``pixel_acc``.
    """
    confusion = confusion.double()
    correct, truth, predicted = confusion.diagonal(), confusion.sum(dim=1), confusion.sum(dim=0)
    iou = correct / (truth + predicted - correct)
    class_acc = correct / truth
    counted = iou.nan_to_num(0.0) if absent == 'zero' and bool(confusion.any()) else iou
    return dict(
        iou=iou,
        class_acc=class_acc,
        miou=counted.nanmean(),
        mean_acc=class_acc.nanmean(),
        pixel_acc=correct.sum() / confusion.sum(),
    )

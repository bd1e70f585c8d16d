"""The labels of a batch, from those of its frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from m2h_mm.structures import Label, MultiTaskDataSample
from m2h_mm.structures.label import read_label
from m2h_mm.tasks import Task

from .data_preprocessor import framing_of


def stack_labels(
    task: Task, samples: Sequence[MultiTaskDataSample], size: tuple[int, int], device: torch.device
) -> Label:
    """The labels of ``task`` at the place of their images in the padded batch.

    Padding is not valid, nor is any pixel of a sample that lacks the label.

    Args:
        task: whose labels.
        samples: with a ``framing`` in their metainfo where the preprocessor padded them.
        size: (H, W) of the padded batch.
        device: where the labels of samples that lack them are made.

    Returns:
        ``value (N, C, H, W)``, ``valid (N, 1, H, W)``.

    Raises:
        ValueError: a label is not of the size of its image.
    """
    labels = [read_label(sample, task.gt_field) for sample in samples]
    dtype = next((label.value.dtype for label in labels if label is not None), torch.float32)
    values, masks = [], []
    for sample, label in zip(samples, labels, strict=True):
        padding = framing_of(sample, size).padding
        if label is None:
            values.append(torch.zeros(task.label_channels, *size, dtype=dtype, device=device))
            masks.append(torch.zeros(1, *size, dtype=torch.bool, device=device))
            continue
        value, valid = _pad(label.value, padding), _pad(label.valid, padding)
        if value.shape != (task.label_channels, *size):
            left, right, top, bottom = padding
            image = (size[0] - top - bottom, size[1] - left - right)
            raise ValueError(
                f'{sample.get("img_path", "A frame")}: the label {task.gt_field} is '
                f'{tuple(label.value.shape)} but its image {image} pixels. Every geometric '
                'transform of the train pipeline must treat image and labels alike.'
            )
        values.append(value)
        masks.append(valid)
    return Label(torch.stack(values), torch.stack(masks))


def _pad(map: Tensor, padding: Sequence[int]) -> Tensor:
    # Zeros and False. Without padding nothing is copied.
    return F.pad(map, tuple(padding)) if any(padding) else map

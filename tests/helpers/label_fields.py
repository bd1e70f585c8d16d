"""Short ways to write down labels in tests."""

import numpy as np
import torch
from mmengine.structures import PixelData

from m2h_mm.structures import Label


def label_of(values, unknown=None):
    """A label; not valid where ``values`` is the number ``unknown``, in all channels.

    Args:
        values: array ``(H, W)`` or ``(H, W, C)``, or tensor ``(C, H, W)`` or ``(N, C, H, W)``.
        unknown: stands for pixels without a label. Default: there are none.
    """
    if isinstance(values, torch.Tensor):
        known = torch.ones_like(values, dtype=torch.bool) if unknown is None else values != unknown
        valid = known.any(dim=-3, keepdim=True)
        return Label(torch.where(valid, values, torch.zeros_like(values)), valid)
    values = np.asarray(values)
    valid = np.ones(values.shape, bool) if unknown is None else values != unknown
    valid = valid.any(axis=2) if valid.ndim == 3 else valid
    mask = valid[..., None] if values.ndim == 3 else valid
    return Label(np.where(mask, values, 0).astype(values.dtype), valid)


def label_field(values, unknown=None):
    """The label of a tensor ``(C, H, W)``, see :func:`label_of`, as the field of a sample."""
    label = label_of(values, unknown)
    return PixelData(data=label.value, valid=label.valid)


def plain(results):
    """The results of a pipeline with labels as plain arrays, for comparisons: where they are not
    valid stands 255 in those of bytes and 0 in others.
    """
    return {
        key: np.where(
            item.valid if item.value.ndim == 2 else item.valid[..., None],
            item.value,
            item.value.dtype.type(255 if item.value.dtype == np.uint8 else 0),
        )
        if isinstance(item, Label)
        else item
        for key, item in results.items()
    }

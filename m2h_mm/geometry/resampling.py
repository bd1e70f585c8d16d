"""Resizing of images with anti-aliasing, the same in PyTorch and in exported files."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def resample(images: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize with a filter that grows where images shrink, so that nothing is skipped.

    The filter is that of Pillow and of ``F.interpolate(antialias=True)``. Those compute its weights
    in float32, each in its own order, and differ by some 1e-5 of the range of values. Here the
    weights are computed once, in float64, and an export stores them as constants.

    Args:
        images: ``(..., H, W)``, any kind of number.
        size: (H', W') in pixels.

    Returns:
        ``(..., H', W')`` float32; float64 for float64.
    """
    dtype = images.dtype if images.dtype == torch.float64 else torch.float32
    for dim, length in ((-2, size[0]), (-1, size[1])):
        if int(images.shape[dim]) != length:  # a trace of TorchScript gives tensors
            images = _resample_axis(images, dim, length, dtype)
    return images.to(dtype)


def _resample_axis(images: Tensor, dim: int, length: int, dtype: torch.dtype) -> Tensor:
    positions, weights = resampling_taps(int(images.shape[dim]), int(length))
    shape = (-1, 1) if dim == -2 else (-1,)
    total: Tensor | None = None
    # One tap after the other: a few passes over the result, where a product with a matrix would
    # multiply hundreds of zeros for each pixel.
    for position, weight in zip(positions, weights, strict=True):
        taken = images.index_select(dim, torch.tensor(position, device=images.device))
        scaled = taken.to(dtype) * torch.tensor(weight, dtype=dtype, device=images.device).view(
            shape
        )
        total = scaled if total is None else total + scaled
    return total


@functools.lru_cache(maxsize=64)
def resampling_taps(length: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``length`` pixels each of ``target`` pixels is made of, and how much of them.

    Returns:
        Positions ``(K, target)`` int64 and weights ``(K, target)`` float64, whose K sum to 1.
    """
    scale = length / target
    # Half the width of the triangle: one input pixel where the image grows, one output pixel where
    # it shrinks.
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    first = np.clip(np.floor(centres - support + 0.5), 0, None).astype(np.int64)
    last = np.clip(np.floor(centres + support + 0.5), None, length).astype(np.int64)
    positions = first + np.arange((last - first).max())[:, None]
    weights = np.clip(1 - np.abs(positions + 0.5 - centres) / support, 0, None)
    weights *= positions < last
    return np.minimum(positions, length - 1), weights / weights.sum(axis=0)

"""Bilinear resizing with the two alignments that M2H uses."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from m2h_mm.structures.shapes import known_equal


def resize(x: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear ``(N, C, h, w)`` to ``(N, C, *size)``, without antialiasing; ``x`` itself where it
    has the size.
    """
    if known_equal(x.shape[-2], size[0]) and known_equal(x.shape[-1], size[1]):
        return x
    return F.interpolate(x, size=size, mode='bilinear', align_corners=align_corners)


def upsample2(x: Tensor) -> Tensor:
    """Bilinear ``(N, C, H, W)`` to ``(N, C, 2 H, 2 W)`` with aligned corners."""
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)

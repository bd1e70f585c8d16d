"""Position embeddings at any size of the patch grid."""

from __future__ import annotations

from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from m2h_mm.structures.shapes import known_equal


def interpolate_position_embedding(
    pos_embed: Tensor, grid: tuple[int, int], offset: float = 0.1, antialias: bool = False
) -> Tensor:
    """Resample the patch entries of a square position embedding to a patch grid; the class entry is
    kept.

    Args:
        pos_embed: ``(1, 1 + M * M, C)``, the class token's entry followed by the native grid,
            row-major.
        grid: (rows, columns) of the image's patches. Equal to (M, M): returned unchanged.
        offset: patches added to the grid when the scale factors are formed. DINOv2 samples at
            ``(i + 0.5) * M / (h + offset) - 0.5``, a shift the official weights without registers
            were trained with. 0 resizes to the size itself (weights with registers).
        antialias: PyTorch's antialiased bicubic kernel (weights with registers).

    Returns:
        ``(1, 1 + h * w, C)`` in the dtype of ``pos_embed``. The resampling itself is always in
        float32, as in the official code; a half-precision embedding would lose digits and a double
        one would differ by 1e-6.
    """
    native = isqrt(pos_embed.shape[1] - 1)
    if all(known_equal(length, native) for length in grid):
        return pos_embed
    if any(isinstance(length, torch.SymInt) for length in grid):
        # An export for several sizes: the native one, which gets no offset, is told apart when the
        # program runs.
        lengths = torch.stack([torch.scalar_tensor(length) for length in grid])
        offset = torch.where((lengths == native).all(), 0.0, offset)
    cls_entry, patch_entries = pos_embed.float().split([1, native * native], dim=1)
    patch_entries = patch_entries[0].unflatten(0, (native, native))
    patch_entries = resample_bicubic(patch_entries, grid, offset, antialias)
    return torch.cat([cls_entry, patch_entries.flatten(0, 1)[None]], dim=1).to(pos_embed.dtype)


def resample_bicubic(
    entries: Tensor,
    grid: tuple[int, int],
    offset: float | Tensor = 0.0,
    antialias: bool = False,
) -> Tensor:
    """Float32 entries ``(h, w, C)`` at another grid (H, W), ``(H, W, C)``; see
    :func:`bicubic_weights`.
    """
    height, width = entries.shape[:2]
    rows = bicubic_weights(height, grid[0], offset, antialias, entries.device)
    columns = bicubic_weights(width, grid[1], offset, antialias, entries.device)
    return columns @ (rows @ entries.flatten(1)).unflatten(1, (width, -1))


def bicubic_weights(
    length: int, target: int, offset: float | Tensor, antialias: bool, device: torch.device
) -> Tensor:
    """The matrix ``(target, length)`` by which PyTorch's bicubic interpolation resamples one axis,
    float32.

    Matrices take the place of ``F.interpolate``, whose scale factors an export for several sizes
    cannot compute.

    Args:
        length: samples along the axis.
        target: samples wanted.
        offset: of the scale factor, ``(target + offset) / length``.
        antialias: widen the kernel when shrinking, as ``antialias=True``, which also has another
            cubic.
        device: where it is wanted.
    """
    # Rounded to float32 where PyTorch does.
    step = (length / (torch.scalar_tensor(target, dtype=torch.float64) + offset)).float()
    source = (torch.arange(target, device=device, dtype=torch.float32) + 0.5) * step - 0.5
    if antialias:
        distance = torch.arange(length, device=device) - source[:, None]
        weights = cubic_kernel(distance / step.clamp(min=1), -0.5)
        return weights / weights.sum(1, keepdim=True)
    # Taps beyond the border repeat the sample at it.
    first = source.floor()
    taps = first[:, None] + torch.arange(-1, 3, device=device)
    weights = cubic_kernel(taps - source[:, None], -0.75)
    hits = taps.clamp(0, length - 1)[..., None] == torch.arange(length, device=device)
    return (weights[..., None] * hits).sum(1)


def cubic_kernel(distance: Tensor, a: float) -> Tensor:
    """The cubic convolution kernel of Keys (1981), its parameter ``a``: the slope at 1; 0 from 2
    on.
    """
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def sincos_position_embedding(native: int, channels: int, temperature: float = 10000.0) -> Tensor:
    """A start for a position embedding that is trained from scratch: sines and cosines of row and
    column.

    Every patch can be told from every other at the first step, whatever the seed; over the first
    280 iterations on rooms the loss was no different from that of random values. The formula is
    that of "Attention is all you need" (sec. 3.5), half of the channels per axis.

    Args:
        native: M, side of the native grid in patches.
        channels: C; channels beyond a multiple of four are 0.
        temperature: ratio of the slowest wavelength to the fastest.

    Returns:
        ``(1, 1 + M * M, C)`` float32, the class token's entry 0.
    """
    quarter = channels // 4
    angles = torch.arange(native)[:, None] / temperature ** (
        torch.arange(quarter) / max(quarter, 1)
    )
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = axis[:, None].expand(-1, native, -1), axis[None].expand(native, -1, -1)
    patches = torch.cat([rows, columns], dim=2).flatten(0, 1)
    return F.pad(patches, (0, channels - patches.shape[1], 1, 0))[None]

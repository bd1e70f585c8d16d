"""Unit vectors of vector maps."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_vectors(vectors: Tensor, dim: int = 1, shortest: float = 1e-12) -> Tensor:
    """Vectors divided by their lengths, as :func:`torch.nn.functional.normalize` does it.

    On a CPU that function takes some ten times as long along a dimension whose values do not lie
    side by side in memory.

    Args:
        vectors: any shape; half precision is computed in float32 and comes back as it was.
        dim: along which the components of a vector lie.
        shortest: vectors shorter than this are divided by it instead, which keeps the gradient
            finite at zero.
    """
    exact = vectors.float() if vectors.dtype in (torch.float16, torch.bfloat16) else vectors
    squared = (exact * exact).sum(dim=dim, keepdim=True)
    return (exact / squared.clamp(min=shortest**2).sqrt()).to(vectors.dtype)

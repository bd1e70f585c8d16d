"""Fast forms of M2H's layers: what is linear runs before the upsampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.methods.m2h.aspp import ASPP
from m2h_mm.methods.m2h.heads import M2HEdgeHead, M2HNormalsHead
from m2h_mm.methods.m2h.upsample import UpsampleBlock
from m2h_mm.models.layers.resize import upsample2
from m2h_mm.models.optimize import is_exactly, is_pointwise, rewrites


@rewrites(ASPP)
class FastASPP(ASPP):
    """``ASPP`` that convolves each branch by itself and adds up.

    Joined, all branches would be in memory twice. The pooled one is the same everywhere: it is
    computed for one pixel and broadcast.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not is_pointwise(self.fuse) or self.fuse.groups > 1:
            return super().forward(x)
        pooled = self.pool(x.mean((2, 3), keepdim=True))
        *weights, pooled_weight = self.fuse.weight.split(pooled.shape[1], dim=1)
        fused = F.conv2d(pooled, pooled_weight, self.fuse.bias)
        for branch, weight in zip(self.branches, weights, strict=True):
            fused = fused + F.conv2d(branch(x), weight)
        return F.relu(self.norm(fused), inplace=True)


@rewrites(UpsampleBlock)
class FastUpsampleBlock(UpsampleBlock):
    """``UpsampleBlock`` whose shortcut is projected, and whose gate's mean is taken, before the
    upsampling.

    M2H-small's block upsamples the sum of both branches once instead of each of them.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.commutes():
            return super().forward(x)
        if self.separable:
            return upsample2(self.gated_sum(x))
        y = self.body(x)
        gate = self.gate_of(y)
        y = self.expand(y)
        return torch.addcmul(upsample2(self.shortcut(x)), y, gate)

    def forward_projected(self, x: Tensor, final: nn.Conv2d) -> Tensor:
        """``final(self(x))`` for a 1x1 convolution to K channels: ``(N, K, 2 H, 2 W)``.

        Only for a block that :meth:`commutes`.
        """
        if self.separable:
            return upsample2(final(self.gated_sum(x)))
        shortcut, y = self.shortcut(x), self.body(x)
        # Gate and 1x1 convolution go into the weights of the transposed one, of each image its own.
        weight, bias = self.expand.weight, self.expand.bias
        gated = final.weight.flatten(1) * self.gate_of(y).flatten(1)[:, None]  # (N, K, D)
        kernel = gated @ weight.flatten(2).permute(2, 1, 0)[:, None]  # (2 * 2, N, K, D)
        kernel = kernel.permute(1, 2, 0, 3).flatten(1, 2)  # (N, K * 2 * 2, D)
        expanded = F.pixel_shuffle((kernel @ y.flatten(2)).unflatten(2, y.shape[2:]), 2)
        return upsample2(final(shortcut) + (gated @ bias)[..., None, None]) + expanded

    def commutes(self) -> bool:
        """Whether the layers that change places are exactly those that may."""
        if self.separable:
            return is_pointwise(self.shortcut) and is_pointwise(self.expand)
        return is_pointwise(self.shortcut) and _expands_each_pixel(self.expand)

    def gated_sum(self, x: Tensor) -> Tensor:
        """M2H-small's block before its upsampling, ``(N, D, H, W)``.

        The maps that are added are local, so that their memory is free for the upsampled one.
        """
        y = self.expand(self.body(x))
        return torch.addcmul(self.shortcut(x), y, self.gate(mean_after_upsampling(y)))

    def gate_of(self, y: Tensor) -> Tensor:
        """M2H's gate ``(N, D, 1, 1)`` of the map ``y`` that is to be expanded."""
        # Each pixel becomes 2x2 of its own, so the mean passes the transposed convolution.
        weight, bias = self.expand.weight, self.expand.bias
        return self.gate(F.linear(y.mean((2, 3)), weight.mean((2, 3)).t(), bias))


def _expands_each_pixel(conv: nn.Module) -> bool:
    """Whether it is exactly a transposed convolution that makes 2x2 pixels of each pixel."""
    return (
        is_exactly(conv, nn.ConvTranspose2d)
        and conv.kernel_size == conv.stride == (2, 2)
        and conv.padding == conv.output_padding == (0, 0)
        and conv.groups == 1
        and conv.bias is not None
    )


def mean_after_upsampling(x: Tensor) -> Tensor:
    """The mean ``(N, C)`` of :func:`~m2h_mm.models.layers.resize.upsample2` of a map ``(N, C, H,
    W)``.
    """
    # Half precision cannot tell neighbouring positions of a large map apart.
    dtype = torch.promote_types(x.dtype, torch.float32)
    rows, columns = (_mean_weights(length, x.device, dtype) for length in x.shape[2:])
    weights = torch.outer(rows, columns).flatten().to(x.dtype)
    return (x.flatten(2) @ weights.expand(x.shape[0], 1, -1).transpose(1, 2)).flatten(1)


def _mean_weights(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What each of ``length`` samples contributes to the mean of them upsampled by 2 with aligned
    corners.
    """
    positions = torch.arange(2 * length, device=device, dtype=dtype)
    positions = positions * ((length - 1) / (2 * length - 1))
    distances = (positions - torch.arange(length, device=device)[:, None]).abs()
    return (1 - distances).clamp(min=0).mean(1)


class _FastTrunk:
    """The trunk of ``PlainHead`` with its last convolution before the last upsampling: a map of 3
    channels or 1 is enlarged instead of 64.
    """

    def trunk(self, x: Tensor) -> Tensor:
        if not is_exactly(self.upsample, nn.Sequential) or not is_pointwise(self.final):
            return super().trunk(x)
        *blocks, last = self.upsample
        if not is_exactly(last, FastUpsampleBlock) or not last.commutes():
            return super().trunk(x)
        for block in blocks:
            x = block(x)
        return last.forward_projected(x, self.final)


@rewrites(M2HNormalsHead)
class FastM2HNormalsHead(_FastTrunk, M2HNormalsHead):
    """``M2HNormalsHead`` with its last convolution before the last upsampling."""


@rewrites(M2HEdgeHead)
class FastM2HEdgeHead(_FastTrunk, M2HEdgeHead):
    """``M2HEdgeHead`` with its last convolution before the last upsampling."""

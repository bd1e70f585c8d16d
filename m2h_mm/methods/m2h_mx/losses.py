"""The losses that look at how M2H-MX's depth head made its output."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.resize import resize
from m2h_mm.models.losses.l1 import l1_loss
from m2h_mm.models.losses.masking import full_precision, keep_valid, masked_mean
from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext


def bin_targets(
    depth: Tensor, valid: Tensor, edges: Tensor, size: tuple[int, int], min_depth: float
) -> tuple[Tensor, Tensor]:
    """The bin in which each pixel's true depth lies, at the resolution of the bins' logits.

    The truth is resized with 0 where it is not valid, and what is above 0 counts: as in the
    official code, pixels beside invalid ones get a depth that is too small.

    Args:
        depth, valid: truth in metres ``(N, 1, H, W)`` and bool.
        edges: right ends of the B bins, ``(N, B)`` in metres, ascending.
        size: (h, w).
        min_depth: where the bins begin, metres.

    Returns:
        Numbers of bins ``(N, h, w)`` int64, and where they count, ``(N, h, w)`` bool.
    """
    depth = resize(keep_valid(depth, valid), size)[:, 0]
    counts = depth > 0
    # From the first end that is not below a depth on, the right-closed bins do not hold it.
    limits = full_precision(edges.detach()).contiguous()
    depth = torch.clamp(depth, min=min_depth).minimum(limits[:, -1:, None])
    found = torch.searchsorted(limits, depth.flatten(1).contiguous()).view_as(depth)
    return found.clamp(max=limits.shape[1] - 1), counts


def bin_loss(
    logits: Tensor, edges: Tensor, depth: Tensor, valid: Tensor, min_depth: float
) -> Tensor:
    """Cross-entropy of the bins, averaged over the pixels of :func:`bin_targets`."""
    bins, counts = bin_targets(depth, valid, edges, tuple(logits.shape[-2:]), min_depth)
    losses = F.cross_entropy(full_precision(logits), bins, reduction='none')
    return masked_mean(losses[:, None], counts[:, None])


@MODELS.register_module()
class DepthBinsLoss(nn.Module):
    """The terms of M2H-MX's depth loss beside that of a plain depth map, of
    :class:`~m2h_mm.methods.m2h_mx.heads.M2HMXDepthHead`.

    Mean absolute errors of the depth, of the part that the bins make, and of the offset, whose
    truth is what the bins leave (they get no gradient of it), and the cross-entropy of the bins. It
    stands among the losses of the depth task. The official code also compares with the zeros of
    pixels without a label; here only valid pixels count. In the official code all factors are 0 by
    default, and those of the published trainings are not known.

    Args:
        depth_weight: factor of the depth's error. Default: 0.
        coarse_weight: of the bins' part. Default: 0.
        offset_weight: of the offset. Default: 0.
        bin_weight: of the cross-entropy. Default: 0.
        min_depth: where the bins begin, metres, as in the head. Default: 0.1.
        task: name of the depth task. Default: ``'depth'``.

    ``forward(context)``: see :class:`~m2h_mm.structures.ConsistencyContext`; needs the details of
    the head. Returns a scalar, 0 with zero gradients if nothing is valid.

    Raises:
        ValueError: all factors are 0; when run, another head than M2H-MX's.
    """

    needs_camera = False

    def __init__(
        self,
        depth_weight: float = 0.0,
        coarse_weight: float = 0.0,
        offset_weight: float = 0.0,
        bin_weight: float = 0.0,
        min_depth: float = 0.1,
        task: str = 'depth',
    ) -> None:
        super().__init__()
        self.factors = dict(
            depth=depth_weight, coarse=coarse_weight, offset=offset_weight, bins=bin_weight
        )
        if not any(self.factors.values()):
            raise ValueError(
                'DepthBinsLoss: expected at least one of depth_weight, coarse_weight, '
                'offset_weight and bin_weight above 0. Remove the loss, or set one.'
            )
        self.min_depth = min_depth
        self.tasks = (task,)

    def forward(self, context: ConsistencyContext) -> Tensor:
        (task,) = self.tasks
        if 'bin_logits' not in context.details.get(task, {}):
            raise ValueError(
                f'model.losses.{task} (DepthBinsLoss): the head makes no bins. Set '
                f"model.decoder.heads.{task}=dict(type='M2HMXDepthHead') of M2HMXDecoder, or "
                'remove the loss.'
            )
        label = context.labels[task]
        terms = self.terms(
            context.outputs[task], context.details[task], label.value, label.valid & context.valid
        )
        return sum(factor * terms[name] for name, factor in self.factors.items() if factor)

    def terms(
        self, depth: Tensor, details: Mapping[str, Tensor], target: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """Each term before its factor.

        Args:
            depth: metres ``(N, 1, H, W)``.
            details: of the head.
            target, valid: metres ``(N, 1, H, W)`` and bool.
        """
        size = tuple(target.shape[-2:])
        coarse, offset = (resize(details[name], size) for name in ('coarse', 'offset'))
        rest = target - full_precision(coarse.detach())
        return dict(
            depth=l1_loss(depth, target, valid),
            coarse=l1_loss(coarse, target, valid),
            offset=l1_loss(offset, rest, valid),
            bins=bin_loss(
                details['bin_logits'], details['bin_edges'], target, valid, self.min_depth
            ),
        )

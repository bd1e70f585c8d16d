"""The loss that puts predicted edges where the predicted segmentation changes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext

from .consistency import ConsistencyLoss
from .masking import full_precision, keep_valid, masked_mean


class _Variation(torch.autograd.Function):
    """``1/2 sum_c |p_c - q_c|`` of neighbours in maps ``(N, C, H, W)``: to the right ``(N, 1, H, W
    - 1)``, and below ``(N, 1, H - 1, W)``.

    Autograd would keep, fill and add up some ten maps as large as the probabilities; this keeps
    none but them.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(probabilities)
        right, below = (
            probabilities.diff(dim=dim).abs_().sum(dim=1, keepdim=True).div_(2) for dim in (3, 2)
        )
        return right, below

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor) -> Tensor:
        (probabilities,) = ctx.saved_tensors
        total = torch.zeros_like(probabilities)
        for dim, grad in zip((3, 2), grads, strict=True):
            pairs = probabilities.shape[dim] - 1
            step = probabilities.diff(dim=dim).sign_().mul_(grad / 2)
            total.narrow(dim, 1, pairs).add_(step)
            total.narrow(dim, 0, pairs).sub_(step)
        return total


def semantic_boundaries(probabilities: Tensor) -> Tensor:
    """Soft boundaries ``(N, 1, H, W)`` of class probabilities ``(N, C, H, W)``.

    The larger of the total variation distances, ``1/2 sum_c |p_c - q_c|``, to the right and to the
    lower neighbour. For one-hot maps this is 1 exactly where the class differs from one of the two;
    where the network is equally unsure about both pixels it is 0 (the chance of drawing two
    different classes, ``1 - sum_c p_c q_c``, would be near 1).
    """
    right, below = _Variation.apply(probabilities)
    return torch.maximum(F.pad(right, (0, 1, 0, 0)), F.pad(below, (0, 0, 0, 1)))


def edge_semantic_consistency(
    edge: Tensor, semseg: Tensor, valid: Tensor, hard: bool = False
) -> Tensor:
    """Mean absolute difference between edge probability and semantic boundary, from logits; see
    :class:`EdgeSemanticConsistency`.
    """
    logits = full_precision(semseg)
    if hard:
        classes = F.one_hot(logits.argmax(1), logits.shape[1])
        boundaries = semantic_boundaries(classes.movedim(-1, 1).to(logits.dtype))
    else:
        # Over the last dimension: a softmax over the second one reorders channels-last memory.
        boundaries = semantic_boundaries(logits.movedim(1, -1).softmax(dim=-1).movedim(-1, 1))
    usable = valid.clone()
    usable[..., :-1] &= valid[..., 1:]
    usable[..., :-1, :] &= valid[..., 1:, :]
    return masked_mean((keep_valid(edge, valid).sigmoid() - boundaries).abs(), usable)


@MODELS.register_module()
class EdgeSemanticConsistency(ConsistencyLoss):
    """L1 between the predicted edge probability and the soft boundaries of the predicted
    segmentation.

    M2H (arXiv 2510.17363) trains with an edge-semantic consistency loss; its published code does
    not contain it. L1 and the weight are those of its successor M2H-MX, whose code compares
    with the boundaries of the most likely classes (``hard``). What is interpretation here: the soft
    boundaries (:func:`semantic_boundaries`), and that the gradient reaches both sides.

    Args:
        detach: 'edge' or 'semseg', the side that gets no gradient. Default: both are trained.
        loss_weight: factor of the loss.
        hard: boundaries 0 or 1 of the most likely classes, as in M2H-MX's code: only the edges are
            trained. Default: False.
        name: see :class:`ConsistencyLoss`.

    Of the context it looks at the outputs, logits ``edge (N, 1, H, W)`` and ``semseg (N, C, H,
    W)``, and at ``valid``, which leaves out padding; it needs no camera.

    Raises:
        ValueError: ``detach`` is none of the two tasks.
    """

    tasks = ('edge', 'semseg')
    needs_camera = False

    def __init__(
        self,
        detach: str | None = None,
        loss_weight: float = 0.2,
        hard: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(detach, loss_weight, name)
        self.hard = hard

    def compare(self, edge: Tensor, semseg: Tensor, context: ConsistencyContext) -> Tensor:
        return edge_semantic_consistency(edge, semseg, context.valid, self.hard)

"""The loss that makes predicted depth and predicted normals describe one surface."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from m2h_mm.geometry.pinhole import normals_from_depth
from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext

from .consistency import ConsistencyLoss
from .cosine import cosine_loss
from .masking import full_precision, keep_valid

MIN_DEPTH = 1e-3


def smooth_surface(depth: Tensor, valid: Tensor, max_jump: float | None) -> Tensor:
    """Pixels ``(N, 1, H, W)`` whose 3x3 neighbourhood is all valid and has no step in depth.

    Args:
        depth: ``(N, 1, H, W)``, metres.
        valid: ``(N, 1, H, W)`` bool. The outside of the map does not count as invalid.
        max_jump: largest over smallest depth of the neighbourhood, minus 1, from which on it is a
            step. None: never.
    """
    usable = F.max_pool2d((~valid).float(), 3, stride=1, padding=1) == 0
    if max_jump is None:
        return usable
    log_depth = keep_valid(depth.detach(), valid, 1.0).clamp(min=MIN_DEPTH).log()
    spread = F.max_pool2d(log_depth, 3, stride=1, padding=1) + F.max_pool2d(
        -log_depth, 3, stride=1, padding=1
    )
    return usable & (spread <= math.log1p(max_jump))


def depth_normal_consistency(
    depth: Tensor, normals: Tensor, intrinsics: Tensor, valid: Tensor, max_jump: float | None = 0.1
) -> Tensor:
    """``1 - cos`` between the normals of a depth map and a normal map; see
    :class:`DepthNormalConsistency`.
    """
    usable = smooth_surface(depth, valid, max_jump)
    derived = normals_from_depth(keep_valid(depth, valid, 1.0), intrinsics, MIN_DEPTH)
    return cosine_loss(full_precision(normals), derived, usable)


@MODELS.register_module()
class DepthNormalConsistency(ConsistencyLoss):
    """``1 - cos`` between the normals derived from the predicted depth and the predicted normals.

    M2H (arXiv 2510.17363) trains with a depth-normal consistency loss; its published code does not
    contain it. What is interpretation here: the cosine form, the exact derivation from the frame's
    intrinsics, the mask of depth steps, and that the gradient reaches both sides. The weight is the
    one stated for its successor M2H-MX.

    Args:
        max_jump: pixels whose 3x3 neighbourhood spans more than this relative difference in
            predicted depth do not count: the surface is not continuous there. None: all count.
        detach: 'depth' or 'normals', the side that gets no gradient. Default: both are trained. A
            normal is as sensitive to depth as the focal length in pixels over the depth;
            ``detach='depth'`` keeps that out of the depth branch.
        loss_weight: factor of the loss.
        name: see :class:`ConsistencyLoss`.

    Of the context it looks at the outputs, depth in metres ``(N, 1, H, W)`` and unit normals ``(N,
    3, H, W)``, at the intrinsics, and at ``valid``, which leaves out padding and the frames whose
    camera is not known.

    Raises:
        ValueError: ``max_jump`` not above 0, ``detach`` none of the two tasks.
    """

    tasks = ('depth', 'normals')

    def __init__(
        self,
        max_jump: float | None = 0.1,
        detach: str | None = None,
        loss_weight: float = 0.5,
        name: str | None = None,
    ) -> None:
        super().__init__(detach, loss_weight, name)
        if max_jump is not None and max_jump <= 0:
            raise ValueError(
                'DepthNormalConsistency.max_jump: expected a relative difference above 0 or '
                f'None, got {max_jump}.'
            )
        self.max_jump = max_jump

    def compare(self, depth: Tensor, normals: Tensor, context: ConsistencyContext) -> Tensor:
        return depth_normal_consistency(
            depth, normals, context.intrinsics, context.valid, self.max_jump
        )

"""The loss that makes predictions of neighbouring frames say the same of one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h_mm.geometry.warp import TOLERANCE, Warp
from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext
from m2h_mm.system.spelling import did_you_mean

from .masking import full_precision, masked_mean

MIN_DEPTH = 1e-3
DEPTH = 'depth'


def _depth(warp: Warp, before: Tensor, now: Tensor) -> Tensor:
    """Difference of the logarithms."""
    before = warp.depth(before.clamp(min=MIN_DEPTH)).clamp(min=MIN_DEPTH)
    return (before.log() - now.clamp(min=MIN_DEPTH).log()).abs()


def _normals(warp: Warp, before: Tensor, now: Tensor) -> Tensor:
    """1 minus the cosine."""
    return 1 - F.cosine_similarity(warp.turn(warp.values(before)), now, dim=1)[:, None]


def _classes(warp: Warp, before: Tensor, now: Tensor) -> Tensor:
    """Half the sum of the differences of the probabilities, 0..1."""
    before, now = warp.values(before.softmax(1)), now.softmax(1)
    return (before - now).abs().sum(1, keepdim=True) / 2


def _edges(warp: Warp, before: Tensor, now: Tensor) -> Tensor:
    """Difference of the probabilities."""
    return (warp.values(before.sigmoid()) - now.sigmoid()).abs()


DIFFERENCES: Mapping[str, Callable[[Warp, Tensor, Tensor], Tensor]] = dict(
    semseg=_classes, depth=_depth, normals=_normals, edge=_edges
)


@MODELS.register_module()
class TemporalConsistency(nn.Module):
    """Differences between the outputs of a frame and those of the frame before it in its clip,
    brought along by true depth and poses.

    Only what both frames see counts, by the true depth of both. Compared are logarithms of depth,
    moved into the current camera; ``1 - cos`` of normals, turned into it; half the L1 distance of
    class probabilities; and edge probabilities. A constant output has no loss: it is of use beside
    the tasks' own losses only.

    For ``model.consistency``, where depth has its true scale, with batches of
    :class:`~m2h_mm.datasets.ClipSampler`. In batches without clips it is 0.

    Args:
        weights: task name to its factor. Default: 1 for depth, semseg and normals.
        detach: the frame before gets no gradient, so that only the later one is pulled. Default:
            False, both are.
        tolerance: largest difference of the depth of a point and what the frame before saw at its
            place, as a share of it.
        loss_weight: factor of the loss.
        name: it is logged as ``loss_<name>``. Default: the name of the class.

    Of the context it looks at the outputs, at the label of depth, at intrinsics, ``poses`` and
    ``neighbours``.

    Raises:
        ValueError: a task that it does not know, no task at all.
    """

    needs_camera = True

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        detach: bool = False,
        tolerance: float = TOLERANCE,
        loss_weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__()
        weights = dict(depth=1.0, semseg=1.0, normals=1.0) if weights is None else dict(weights)
        unknown = [task for task in weights if task not in DIFFERENCES]
        if unknown or not weights:
            raise ValueError(
                f'TemporalConsistency.weights: expected factors of some of {list(DIFFERENCES)}, '
                f'got {weights}.' + (did_you_mean(unknown[0], DIFFERENCES) if unknown else '')
            )
        self.weights = weights
        self.tasks = tuple(dict.fromkeys([*weights, DEPTH]))
        self.detach = detach
        self.tolerance = tolerance
        self.loss_weight = loss_weight
        self.name = name

    def forward(self, context: ConsistencyContext) -> Tensor:
        later, earlier = _pairs(context)
        if not later:
            # Zero with zero gradients, so that all processes of a distributed training stay alike.
            return sum(
                torch.where(context.valid, context.outputs[task], 0).sum() * 0.0
                for task in self.weights
            )
        label = context.labels[DEPTH]
        depth = torch.where(label.valid, full_precision(label.value), 0.0)
        warp = Warp(
            depth[later],
            context.intrinsics[later],
            context.poses[earlier],
            context.poses[later],
            context.intrinsics[earlier],
        )
        counted = warp.visible(depth[earlier], self.tolerance) & context.valid[later]
        total = depth.new_zeros(())
        for task, weight in self.weights.items():
            output = full_precision(context.outputs[task])
            before = output[earlier].detach() if self.detach else output[earlier]
            difference = DIFFERENCES[task](warp, before, output[later])
            total = total + weight * masked_mean(difference, counted)
        return self.loss_weight * total


def _pairs(context: ConsistencyContext) -> tuple[list[int], list[int]]:
    """Indices in the batch of the frames that have one before them in their clip, and of those.

    The frames of a clip lie in the batch in order of time.
    """
    later, earlier = [], []
    for index, others in enumerate(context.neighbours or ()):
        before = [other for other in others if other < index]
        if before and context.camera_known[index] and context.camera_known[before[-1]]:
            later.append(index)
            earlier.append(before[-1])
    return later, earlier

"""Metrics of how much predictions change from one frame of a sequence to the next."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank
from torch import Tensor

from m2h_mm.geometry.warp import TOLERANCE, Warp
from m2h_mm.structures import Label
from m2h_mm.structures.label import read_label, read_prediction
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics, add

Name = tuple[str, int]
"""Of a frame: its sequence, and its number in it."""


class StabilityMetric(PooledMetric):
    """Base of the metrics that compare the prediction of a frame with that of the frame before.

    The prediction of the frame before is brought into the frame by *true* depth and poses
    (:class:`~m2h_mm.geometry.warp.Warp`): what is left is change that the scene and the camera do
    not explain. Pixels that the frame before did not see do not count, by the true depth of both.

    A small change says nothing of accuracy: a constant prediction has none.

    Samples come in order, and have ``sequence``, ``frame_index``, ``cam2img`` and ``cam2world`` in
    their metainfo. Frames without a pose, a camera or true depth count in no pair. The last frame
    is kept, and of each process the first. Of several processes each has to have a run of
    consecutive frames (``sampler=dict(type='SequenceSampler')``): the pairs whose frames lie on two
    of them are made at the end, so that the result is that of one process.

    Args:
        task: whose predictions are compared.
        tolerance: largest difference of the depth of a point and what the frame before saw at its
            place, as a share of it.
        depth: field of the true depth, metres.
        prefix: prefix of the keys. Default: the task's name.

    Raises:
        ValueError: a tolerance not above 0; at the end, frames that did not come in order.
    """

    def __init__(
        self,
        task: Task,
        tolerance: float = TOLERANCE,
        depth: str = 'gt_depth',
        prefix: str | None = None,
    ) -> None:
        if not 0 < tolerance < 1:
            raise ValueError(
                f'{type(self).__name__}.tolerance: expected a share of the depth between 0 and 1, '
                f'such as {TOLERANCE}, got {tolerance}.'
            )
        super().__init__(task, prefix)
        self.tolerance = tolerance
        self.depth = depth

    @abstractmethod
    def change(self, previous: Tensor, current: Tensor, warp: Warp, seen: Tensor) -> Statistics:
        """Of two frames.

        Args:
            previous, current: predictions ``(1, C, H, W)``.
            warp: the way from the current frame to the one before.
            seen: ``(1, 1, H, W)`` bool, the pixels that count.
        """

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        """Of nothing: a frame alone has no change."""
        height, width = pred.shape[-2:]
        eye = torch.eye(4, dtype=torch.float64)[None]
        warp = Warp(torch.zeros(1, 1, height, width), eye[:, :3, :3], eye, eye)
        return self.change(pred[None], pred[None], warp, torch.zeros(1, 1, height, width).bool())

    def evaluate(self, size: int) -> dict[str, float]:
        """The measures over the data set, the same in every process; then start afresh.

        Raises:
            ValueError: two frames that follow each other were never seen one after the other.
        """
        own = add(self._sum, self._last)
        self._sum, self._last = own and _on_cpu(own), None
        first, last = (frame and _on_cpu(frame) for frame in (self._first, self._previous))
        ranks = all_gather_object(dict(names=self._names, first=first, last=last))
        for before, after in _missing_pairs([rank['names'] for rank in ranks]):
            first = next((r['first'] for r in ranks if r['names'] and r['names'][0] == after), None)
            last = next((r['last'] for r in ranks if r['names'] and r['names'][-1] == before), None)
            # What lacks a pose is known by its name, and has no place in a pair.
            if first is not None and last is not None and get_rank() == 0:
                self._sum = add(self._sum, self._of_pair(last, first))
        return super().evaluate(size)

    def state(self) -> dict[str, Any]:
        return super().state() | dict(
            names=list(self._names), first=self._first, previous=self._previous
        )

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self._names = [tuple(name) for name in state['names']]
        self._first, self._previous = state['first'], state['previous']

    def describe_lack(self) -> str:
        return f'no two neighbouring frames with poses, cameras and {self.depth}'

    def _of_sample(self, sample: Mapping) -> Statistics | None:
        sequence, index = sample.get('sequence'), sample.get('frame_index')
        if sequence is None or index is None:
            self._previous = None
            return None
        name = (str(sequence), int(index))
        if self._names and self._names[-1] == name:
            return None  # the sampler's repetition of the last
        frame = self._frame(sample)
        if not self._names:
            self._first = frame
        follows = self._names and self._names[-1][0] == name[0] and self._names[-1][1] < name[1]
        self._names.append(name)
        before, self._previous = self._previous, frame
        if not follows or before is None or frame is None:
            return None
        return self._of_pair(before, frame)

    def _frame(self, sample: Mapping) -> dict[str, Tensor] | None:
        """What the next frame needs of this one."""
        pose, camera = sample.get('cam2world'), sample.get('cam2img')
        depth = read_label(sample, self.depth)
        if pose is None or camera is None or depth is None:
            return None
        pred = read_prediction(sample, self.task.pred_field)
        if pred is None:
            raise ValueError(
                f'{type(self).__name__}: a sample has no {self.task.pred_field}. Let the model '
                f"predict '{self.task.name}', or leave the metric out of evaluator.metrics."
            )
        if pred.shape[-2:] != depth.value.shape[-2:]:
            raise ValueError(
                f'{type(self).__name__}: {self.task.pred_field} is {tuple(pred.shape)}, but '
                f'{self.depth} {tuple(depth.value.shape)}. Labels are compared at the size of the '
                "frame's file: load them after the test pipeline's resize."
            )
        pose, camera = (
            torch.as_tensor(np.asarray(matrix), dtype=torch.float64) for matrix in (pose, camera)
        )
        if pose.shape != (4, 4) or camera.shape != (3, 3):
            raise ValueError(
                f'{type(self).__name__}: expected cam2world (4, 4) and cam2img (3, 3), got '
                f'{tuple(pose.shape)} and {tuple(camera.shape)}.'
            )
        known = torch.where(depth.valid, depth.value.float(), 0.0).to(pred.device)
        return dict(pred=pred[None], depth=known[None], pose=pose[None], camera=camera[None])

    def _of_pair(self, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Statistics:
        warp = Warp(
            after['depth'],
            after['camera'],
            before['pose'],
            after['pose'],
            before['camera'],
            tuple(before['depth'].shape[-2:]),
        )
        seen = warp.visible(before['depth'], self.tolerance)
        return self.change(before['pred'], after['pred'], warp, seen)

    def _reset(self) -> None:
        super()._reset()
        self._names: list[Name] = []
        self._first: dict[str, Tensor] | None = None
        self._previous: dict[str, Tensor] | None = None


def _missing_pairs(runs: Sequence[Sequence[Name]]) -> list[tuple[Name, Name]]:
    """The pairs of frames that follow each other in a sequence and lie in two runs, the end of one
    and the beginning of another.

    Args:
        runs: the frames that each process has seen, in order.

    Raises:
        ValueError: they lie anywhere else.
    """
    frames: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        for sequence, index in run:
            frames[sequence].add(index)
    wanted = {
        ((sequence, before), (sequence, after))
        for sequence, indices in frames.items()
        for before, after in zip(sorted(indices), sorted(indices)[1:], strict=False)
    }
    made = {
        pair
        for run in runs
        for pair in zip(run, run[1:], strict=False)
        if pair[0][0] == pair[1][0] and pair[0][1] < pair[1][1]
    }
    ends = {run[-1] for run in runs if run}
    beginnings = {run[0] for run in runs if run}
    missing = wanted - made
    stray = made - wanted
    stray |= {pair for pair in missing if pair[0] not in ends or pair[1] not in beginnings}
    if stray:
        (sequence, before), (_, after) = min(stray)
        raise ValueError(
            f'Stability: the frames of sequence {sequence!r} did not come in order, such as '
            f'{before} and {after}, in {len(runs)} processes. Each process has to have a run of '
            "consecutive frames: set sampler=dict(type='SequenceSampler') in val_dataloader and "
            'test_dataloader.'
        )
    return sorted(missing)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in tensors.items()}


def share(part: Tensor, count: Tensor) -> float:
    """Percent, NaN of nothing."""
    return 100 * float(part) / float(count) if count else math.nan

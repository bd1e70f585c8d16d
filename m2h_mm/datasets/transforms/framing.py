"""Transforms that change where the frame ends: crop and pad."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from m2h_mm.registry import TRANSFORMS
from m2h_mm.tasks import Task

from .frame import CLASS_VOID, IMAGENET_MEAN, check_pair, map_labels, map_pixels

SEMSEG_FIELD = 'gt_sem_seg'


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Cut out a random window; along an axis where the frame is smaller, all of it.

    Where the frame has a segmentation, windows are drawn until one class covers no more than
    ``cat_max_ratio`` of the window's labelled pixels and there are at least two classes, ``tries``
    times at most: the last draw counts.

    Args:
        size: (height, width) of the window in pixels.
        cat_max_ratio: largest share of one class; 1 takes the first window.
        tries: number of windows to draw at most.

    Raises:
        ValueError: a size, share or number that is not positive.
    """

    def __init__(self, size: tuple[int, int], cat_max_ratio: float = 0.75, tries: int = 10) -> None:
        if not 0 < cat_max_ratio <= 1:
            raise ValueError(
                f'RandomCrop.cat_max_ratio: expected a share in (0, 1], got {cat_max_ratio}.'
            )
        if tries < 1:
            raise ValueError(f'RandomCrop.tries: expected at least 1, got {tries}.')
        self.size = check_pair(size, 'RandomCrop.size')
        self.cat_max_ratio = cat_max_ratio
        self.tries = tries

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        spare = (max(height - self.size[0], 0), max(width - self.size[1], 0))
        for _ in range(self.tries if any(spare) else 1):
            top, left = (int(results['rng'].integers(length + 1)) for length in spare)
            window = (slice(top, top + self.size[0]), slice(left, left + self.size[1]))
            if self._is_varied(results, window):
                break
        results['img'] = results['img'][window]
        results['img_shape'] = results['img'].shape[:2]
        map_labels(results, lambda task, label: label[window])
        map_pixels(results, shift=(-left, -top))
        results['reframed'] = 'RandomCrop'
        return results

    def _is_varied(self, results: dict, window: tuple[slice, slice]) -> bool:
        if self.cat_max_ratio == 1 or SEMSEG_FIELD not in results:
            return True
        counts = cv2.calcHist(
            [results[SEMSEG_FIELD][window]], [0], None, [CLASS_VOID], [0, CLASS_VOID]
        )
        return counts.astype(bool).sum() > 1 and counts.max() <= self.cat_max_ratio * counts.sum()


@TRANSFORMS.register_module()
class Pad(BaseTransform):
    """Put the frame in the middle of a larger one; an odd pixel goes to the right and the bottom.

    Labels are filled with the task's void value. The image is filled with ``fill`` and becomes
    float32 where it is padded, so that the filling is exactly 0 after normalisation with that mean,
    as in the literature (normalise first, then pad with 0). Hence pad last.

    Args:
        size: (height, width) to pad to, in pixels; or
        size_divisor: pad to the next multiples of this. Exactly one of the two.
        fill: RGB value of the filling, 0..255; the mean of the model's normalisation.

    Raises:
        ValueError: both or none are given; a frame is larger than ``size``.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        fill: Sequence[float] = IMAGENET_MEAN,
    ) -> None:
        if (size is None) == (size_divisor is None):
            raise ValueError(
                f'Pad: expected either size or size_divisor, got size={size}, '
                f'size_divisor={size_divisor}.'
            )
        if size_divisor is not None and size_divisor < 1:
            raise ValueError(f'Pad.size_divisor: expected at least 1, got {size_divisor}.')
        self.size = None if size is None else check_pair(size, 'Pad.size')
        self.size_divisor = size_divisor
        self.fill = tuple(float(value) for value in fill)

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        target = self.size or tuple(
            -(-length // self.size_divisor) * self.size_divisor for length in (height, width)
        )
        if height > target[0] or width > target[1]:
            raise ValueError(
                f'Pad.size {target} is smaller than the frame {results["img_path"]}, '
                'which is '
                f'{(height, width)} (height, width) here: crop or resize it before.'
            )
        if target == (height, width):
            return results
        top, left = (target[0] - height) // 2, (target[1] - width) // 2
        window = (slice(top, top + height), slice(left, left + width))

        padded = np.empty((*target, 3), np.float32)
        padded[:] = np.asarray(self.fill, np.float32)
        padded[window] = results['img']
        results['img'] = padded
        results['img_shape'] = target

        def pad_label(task: Task, label: np.ndarray) -> np.ndarray:
            filled = np.full(target + label.shape[2:], task.void, label.dtype)
            filled[window] = label
            return filled

        map_labels(results, pad_label)
        map_pixels(results, shift=(left, top))
        results['reframed'] = 'Pad'
        return results

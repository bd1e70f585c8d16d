"""Transforms that change where the frame ends: crop and pad."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from m2h_mm.registry import TRANSFORMS

from .frame import check_pair, map_labels, map_pixels

MAX_CLASSES = 256


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Cut out a random window; along an axis where the frame is smaller, all of it.

    Where the frame has a label of ``task``, whose values are classes, windows are drawn until one
    class covers no more than ``cat_max_ratio`` of the window's labelled pixels and there are at
    least two classes, ``tries`` times at most: the last draw counts. A frame of a sequence always
    takes the first window: what is in the frame must not decide, for its neighbours have to take
    the same.

    Args:
        size: (height, width) of the window in pixels.
        cat_max_ratio: largest share of one class; 1 takes the first window. Default: 0.75.
        tries: number of windows to draw at most. Default: 10.
        task: name of the task whose classes are counted. Default: 'semseg'.

    Raises:
        ValueError: a size, share or number that is not positive.
    """

    def __init__(
        self,
        size: tuple[int, int],
        cat_max_ratio: float = 0.75,
        tries: int = 10,
        task: str = 'semseg',
    ) -> None:
        if not 0 < cat_max_ratio <= 1:
            raise ValueError(
                f'RandomCrop.cat_max_ratio: expected a share in (0, 1], got {cat_max_ratio}.'
            )
        if tries < 1:
            raise ValueError(f'RandomCrop.tries: expected at least 1, got {tries}.')
        self.size = check_pair(size, 'RandomCrop.size')
        self.cat_max_ratio = cat_max_ratio
        self.tries = tries
        self.task = task

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
        map_labels(results, lambda task, label: label.crop(*window))
        map_pixels(results, shift=(-left, -top))
        results['reframed'] = 'RandomCrop'
        return results

    def _is_varied(self, results: dict, window: tuple[slice, slice]) -> bool:
        task = results.get('tasks', {}).get(self.task)
        if self.cat_max_ratio == 1 or task is None or task.gt_field not in results:
            return True
        if 'sequence' in results:
            return True
        label = results[task.gt_field].crop(*window)
        # OpenCV counts several times faster than NumPy.
        labelled = label.valid.view(np.uint8)
        counts = cv2.calcHist([label.value], [0], labelled, [MAX_CLASSES], [0, MAX_CLASSES])
        return counts.astype(bool).sum() > 1 and counts.max() <= self.cat_max_ratio * counts.sum()


@TRANSFORMS.register_module()
class Pad(BaseTransform):
    """Have the frame padded to a size, so that all batches have one.

    The padding is put around the frame by the model's data preprocessor, which centres the
    normalised image in zeros, as in the literature; there labels are not valid. Here only the size
    is noted, and no memory is moved.

    Args:
        size: (height, width) to pad to, in pixels.

    Raises:
        ValueError: a frame is larger than ``size``.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = check_pair(size, 'Pad.size')

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        if height > self.size[0] or width > self.size[1]:
            raise ValueError(
                f'Pad.size {self.size} is smaller than the frame {results["img_path"]}, which is '
                f'{(height, width)} (height, width) here: crop or resize it before.'
            )
        results['pad_to'] = self.size
        return results

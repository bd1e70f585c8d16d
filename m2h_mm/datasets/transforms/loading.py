"""The beginning of a pipeline: from files to arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from m2h_mm.registry import TRANSFORMS
from m2h_mm.structures import Label
from m2h_mm.tasks import Task

# What OpenCV resizes and PyTorch takes.
LABEL_DTYPES = ('uint8', 'int16', 'int32', 'float32')


@TRANSFORMS.register_module()
class LoadMultiTaskImage(BaseTransform):
    """Read ``results['img_path']`` as RGB.

    Adds ``img`` (H, W, 3) uint8, ``ori_shape`` and ``img_shape`` (H, W), and ``frame_id`` where it
    is not set.

    Raises:
        ValueError: the file is not an image that can be decoded.
    """

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        try:
            decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            decoded = None
        if decoded is None:
            raise ValueError(
                f'Image {path} cannot be read: expected an intact .png or .jpg. Restore the '
                'file, or take the frame out of the split file.'
            )
        results['img'] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        results['ori_shape'] = results['img_shape'] = decoded.shape[:2]
        results.setdefault('frame_id', Path(path).stem)
        return results


@TRANSFORMS.register_module()
class LoadMultiTaskLabels(BaseTransform):
    """Read the label files in ``results['label_paths']``, task name to path, with the task's own
    reader.

    Adds a :class:`~m2h_mm.structures.Label` as ``results[task.gt_field]`` for each. What the frame
    has no file for stays absent. Labels come at the size of the file; of the other transforms only
    :class:`Resize` may have touched the image before (test time, where a prediction is compared at
    the frame's own size).

    Raises:
        ValueError: a file that cannot be decoded, has another size than the image, or holds what is
            no label of the task.
    """

    def transform(self, results: dict) -> dict:
        if 'reframed' in results:
            raise ValueError(
                f'pipeline: LoadMultiTaskLabels stands after {results["reframed"]}, which would '
                'leave the labels where the image was before; move it to the place after '
                'LoadMultiTaskImage.'
            )
        for name, path in results.get('label_paths', {}).items():
            task = results['tasks'][name]
            label = task.read(path)
            _require_label(task, label)
            size = label.value.shape[:2]
            require_size(name, path, size, results['img_path'], results['ori_shape'])
            results[task.gt_field] = label
        return results


def require_size(
    task: str,
    label: str | Path,
    label_size: tuple[int, int],
    image: str | Path,
    image_size: tuple[int, int],
) -> None:
    """Raise a ValueError that names both files unless their ``(H, W)`` agree."""
    if tuple(label_size) != tuple(image_size):
        raise ValueError(
            f'{task} label {label} is {label_size[0]}x{label_size[1]}, its image {image} is '
            f'{image_size[0]}x{image_size[1]} (height x width): they must be of one size. Use '
            'one release for all folders.'
        )


def _require_label(task: Task, label: Label) -> None:
    """What only the author of a task can get wrong."""
    reader = f'{type(task).__name__}.read'
    if not isinstance(label, Label):
        raise TypeError(
            f'{reader}: expected Label(value, valid) of NumPy arrays, got {type(label).__name__}.'
        )
    value, valid = label.value, label.valid
    if value.dtype.name not in LABEL_DTYPES or valid.dtype != bool:
        raise TypeError(
            f'{reader}: expected a value of one of {LABEL_DTYPES} and a mask of bool, got '
            f'{value.dtype} and {valid.dtype}.'
        )
    channels = () if task.label_channels == 1 else (task.label_channels,)
    if valid.ndim != 2 or value.shape != valid.shape + channels:
        raise TypeError(
            f'{reader}: expected a mask (H, W) and {task.label_channels} channels per pixel '
            f'(label_channels), got {valid.shape} and {value.shape}.'
        )

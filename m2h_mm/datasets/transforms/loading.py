"""The beginning of a pipeline: from files to arrays."""

from __future__ import annotations

from pathlib import Path

from mmcv.transforms import BaseTransform

from m2h_mm.registry import TRANSFORMS
from m2h_mm.structures import Label
from m2h_mm.structures.image_file import read_image
from m2h_mm.tasks import Task

from .frame import resample_image

WAY_OUT = 'Restore the file, or take the frame out of the split file.'
# What OpenCV resizes and PyTorch takes.
LABEL_DTYPES = ('uint8', 'int16', 'int32', 'float32')


@TRANSFORMS.register_module()
class LoadMultiTaskImage(BaseTransform):
    """Read ``results['img_path']`` as upright RGB, see
    :func:`~m2h_mm.structures.image_file.read_image`.

    Where the data set gives ``load_shape`` (H, W), because its labels and its camera have another
    size than its images, the image is brought to that size.

    Adds ``img`` (H, W, 3) uint8, ``ori_shape`` and ``img_shape`` (H, W), and ``frame_id`` where it
    is not set.

    Raises:
        OSError, ValueError: the file is not there, or not an image that can be decoded.
    """

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        try:
            image = read_image(path)
        except ValueError as error:
            raise ValueError(f'{error} {WAY_OUT}') from error
        if 'load_shape' in results:
            image = resample_image(image, results['load_shape'])
        results['img'] = image
        results['ori_shape'] = results['img_shape'] = image.shape[:2]
        results.setdefault('frame_id', Path(path).stem)
        return results


@TRANSFORMS.register_module()
class LoadMultiTaskLabels(BaseTransform):
    """Read the label files in ``results['label_paths']``, task name to path, with the task's own
    reader. Those in ``results['label_turns']``, task name to EXIF orientation, are turned.

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
            label = read_label(task, path)
            turn = results.get('label_turns', {}).get(name, 1)
            if turn != 1:
                label = task.turn(label, turn)
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
        way_out = (
            'One of them lies on its side: turn it, or restore the EXIF orientation of the photo.'
            if tuple(label_size) == tuple(image_size)[::-1]
            else 'Use one release for all folders.'
        )
        raise ValueError(
            f'{task} label {label} is {label_size[0]}x{label_size[1]}, its image {image} is '
            f'{image_size[0]}x{image_size[1]} (height x width): they must be of one size. '
            f'{way_out}'
        )


def read_label(task: Task, path: str | Path) -> Label:
    """What the task reads, as it stands in the file.

    Raises:
        ValueError: no label of the task.
        TypeError: what only the author of a task can get wrong.
    """
    label = task.read(path)
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
    return label

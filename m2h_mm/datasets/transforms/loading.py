"""From files to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from m2h_mm.registry import TRANSFORMS
from m2h_mm.tasks import Semseg

from .frame import CLASS_VOID


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
                f'Image {path} cannot be read: expected an intact .png or .jpg. '
                'Restore the file, or take '
                'the frame out of the split file.'
            )
        results['img'] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        results['ori_shape'] = results['img_shape'] = decoded.shape[:2]
        results.setdefault('frame_id', Path(path).stem)
        return results


@TRANSFORMS.register_module()
class LoadMultiTaskLabels(BaseTransform):
    """Read the label files in ``results['label_paths']``, task name to path, with the task's own
    reader.

    Adds ``results[task.gt_field]`` for each. What the frame has no file for stays absent. Labels
    come at the size of the file; of the other transforms only :class:`Resize` may have touched the
    image before (test time, where a prediction is compared at the frame's own size).

    Class ids are mapped to 0..num_classes-1 and 255 = void: as they are, or, where the data set
    says ``reduce_zero_label``, from 0 = void, 1..num_classes; then by the data set's
    ``class_table``, if it has one.

    Raises:
        ValueError: a file that cannot be decoded, has another size than the image, or holds an
            unknown class.
    """

    def transform(self, results: dict) -> dict:
        if 'reframed' in results:
            raise ValueError(
                f'pipeline: LoadMultiTaskLabels stands after {results["reframed"]}, '
                'which would leave the '
                'labels where the image was before; move it to the place after '
                'LoadMultiTaskImage.'
            )
        for name, path in results.get('label_paths', {}).items():
            task = results['tasks'][name]
            label = task.read(path)
            require_size(name, path, label.shape[:2], results['img_path'], results['ori_shape'])
            if hasattr(task, 'num_classes'):
                label = class_ids(
                    label, task.num_classes, results.get('reduce_zero_label', False), path
                )
                if task.gt_field == Semseg.gt_field and results.get('class_table') is not None:
                    label = cv2.LUT(label, results['class_table'])
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
            f'{task} label {label} is {label_size[0]}x{label_size[1]}, its image '
            f'{image} is '
            f'{image_size[0]}x{image_size[1]} (height x width): they must be of one '
            'size. Use one release '
            'for all folders.'
        )


def class_ids(
    stored: np.ndarray, num_classes: int, reduce_zero_label: bool, path: str | Path
) -> np.ndarray:
    """Stored class numbers to ``(H, W)`` uint8 ids 0..num_classes-1, 255 = void.

    Args:
        stored: what the file holds.
        num_classes: number of classes.
        reduce_zero_label: stored are 0 = void and 1..num_classes; otherwise 0..num_classes-1. 255
            is void in both.
        path: the file, for the message.

    Raises:
        ValueError: any other value.
    """
    first = int(reduce_zero_label)
    largest = num_classes - 1 + first
    known = (stored >= 0) & (stored <= largest) | (stored == CLASS_VOID)
    if not known.all():
        others = np.unique(stored[~known])
        void = f'0 and {CLASS_VOID}' if reduce_zero_label else f'{CLASS_VOID}'
        raise ValueError(
            f'Segmentation {path} holds the values {others[:8].tolist()}; expected '
            f'{first}..{largest} for '
            f'num_classes={num_classes}, and {void} for void. Set '
            'tasks.semseg.num_classes to the data '
            "set's number of classes, or map the file to them."
        )
    table = np.full(CLASS_VOID + 1, CLASS_VOID, np.uint8)
    table[first : largest + 1] = np.arange(num_classes)
    return cv2.LUT(stored.astype(np.uint8), table)


def class_table(
    class_map: Mapping[str | int, str], own: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """``(256,)`` uint8, from a class id of one data set to that of another, 255 = void for classes
    that are not mapped.

    Args:
        class_map: name or id of an own class to the name of its class there.
        own: names of the own classes; may be empty, then ids are used.
        classes: names of the classes there.

    Raises:
        ValueError: a name that is not among them.
    """
    table = np.full(CLASS_VOID + 1, CLASS_VOID, np.uint8)
    for source, target in class_map.items():
        is_id = isinstance(source, int)
        known = 0 <= source < (len(own) or CLASS_VOID) if is_id else source in own
        if not known or target not in classes:
            raise ValueError(
                f'class_map: {source!r} to {target!r}; expected an own class, of '
                f'{list(own)} or an id, to '
                f'one of class_space, {list(classes)}.'
            )
        table[source if is_id else list(own).index(source)] = list(classes).index(target)
    return table

"""What the transforms share: the labels of a frame, and its camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m2h_mm.tasks import Task

CLASS_VOID = 255
IMAGENET_MEAN = (123.675, 116.28, 103.53)


def map_labels(results: dict, move: Callable[[Task, np.ndarray], np.ndarray]) -> None:
    """Replace every label the frame has by ``move(task, label)``."""
    for task in results.get('tasks', {}).values():
        if task.gt_field in results:
            results[task.gt_field] = move(task, results[task.gt_field])


def map_pixels(
    results: dict, scale: tuple[float, float] = (1.0, 1.0), shift: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Let ``cam2img`` follow the pixels.

    Args:
        results: the frame.
        scale: x and y factor of a resize. Pixel centres are integers, so x becomes (x + 1/2) *
            scale - 1/2.
        shift: x and y added after that.
    """
    if results.get('cam2img') is None:
        return
    (scale_x, scale_y), (shift_x, shift_y) = scale, shift
    moved = np.array(
        [
            [scale_x, 0, (scale_x - 1) / 2 + shift_x],
            [0, scale_y, (scale_y - 1) / 2 + shift_y],
            [0, 0, 1],
        ]
    )
    results['cam2img'] = moved @ results['cam2img']


def check_pair(value: object, name: str) -> tuple[int, int]:
    """``value`` as a positive ``(H, W)``, else an error that names the argument."""
    try:
        height, width = (int(length) for length in value)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise ValueError(f'{name}: expected (height, width) in pixels, got {value!r}.') from None
    if height < 1 or width < 1:
        raise ValueError(f'{name}: expected a positive (height, width), got {value!r}.')
    return height, width

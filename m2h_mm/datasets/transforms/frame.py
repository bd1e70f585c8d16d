"""What all transforms need: moving the labels of a frame, and its camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from m2h_mm.geometry.pinhole import move_camera
from m2h_mm.geometry.resampling import resample
from m2h_mm.structures import Label
from m2h_mm.tasks import Task


def map_labels(results: dict, move: Callable[[Task, Label], Label]) -> None:
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
        scale, shift: see :func:`~m2h_mm.geometry.pinhole.move_camera`.
    """
    if results.get('cam2img') is None:
        return
    results['cam2img'] = move_camera(results['cam2img'], scale, shift)


def check_pair(value: object, name: str) -> tuple[int, int]:
    """``value`` as a positive ``(H, W)``, else an error that names the argument."""
    try:
        height, width = (int(length) for length in value)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise ValueError(f'{name}: expected (height, width) in pixels, got {value!r}.') from None
    if height < 1 or width < 1:
        raise ValueError(f'{name}: expected a positive (height, width), got {value!r}.')
    return height, width


def resample_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image ``(H, W, 3)`` at another (H, W), of the same kind of numbers."""
    resized = resample(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), size)
    resized = resized.permute(1, 2, 0).contiguous().numpy()
    return np.rint(resized).astype(np.uint8) if image.dtype == np.uint8 else resized

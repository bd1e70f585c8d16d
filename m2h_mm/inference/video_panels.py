"""The picture of one video frame: the frame and its maps side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np

from m2h_mm.inference.prediction import Prediction
from m2h_mm.tasks.view import View

COLUMNS = 3
Limits = Mapping[str, 'tuple[float, float] | None']


def colour_limits(
    prediction: Prediction, views: Mapping[str, View], largest: Mapping[str, float]
) -> Limits:
    """The colour scale of each map, for all frames of a video.

    Args:
        prediction: of the first frame. It sets the scale of tasks that have no limit of their own.
        views: task name to view.
        largest: task name to the end of its scale in the task's unit; the scale starts at 0. Other
            tasks take the scale of their view.

    Returns:
        Task name to the limits of its view's ``draw``.
    """
    return {
        name: (0.0, largest[name])
        if name in largest
        else views[name].limits_of_video(views[name].map_of(map))
        for name, map in prediction.maps.items()
    }


def panel_size(image: np.ndarray, width: int) -> tuple[int, int]:
    """(height, width) in pixels of each panel of a video whose first frame is ``image``."""
    rows, columns = image.shape[:2]
    return max(2, round(rows * width / columns)), width


def draw_panels(
    prediction: Prediction,
    views: Mapping[str, View],
    limits: Limits,
    size: tuple[int, int],
    with_image: bool = True,
) -> np.ndarray:
    """The frame and its maps in rows of up to three.

    Args:
        prediction: of the frame.
        views: task name to view.
        limits: see :func:`colour_limits`.
        size: of each panel, see :func:`panel_size`. A frame of another shape than the first, as
            recordings of browsers have them, is fitted into it, with white beside it.
        with_image: whether the frame itself is the first panel. Default: True.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    panels = [prediction.image] if with_image else []
    for name, map in prediction.maps.items():
        shown = views[name].map_of(map)
        panels.append(views[name].draw(shown.value, shown.valid, limits[name]))
    panels = [_fit(panel, size) for panel in panels]
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    panels += [np.full_like(panels[0], 255)] * (rows * columns - len(panels))
    return np.vstack(
        [np.hstack(panels[row * columns : (row + 1) * columns]) for row in range(rows)]
    )


def _fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    scale = min(wanted / length for wanted, length in zip(size, picture.shape, strict=False))
    # What is rounded away leaves no white line.
    height, width = (
        wanted if wanted - length * scale < 1 else max(1, round(length * scale))
        for wanted, length in zip(size, picture.shape, strict=False)
    )
    panel = np.full((*size, 3), 255, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    panel[top : top + height, left : left + width] = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA
    )
    return panel

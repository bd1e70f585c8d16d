"""Colours of classes."""

from __future__ import annotations

from colorsys import hsv_to_rgb

import numpy as np

GOLDEN_ANGLE = 0.618034  # of the circle of hues
SATURATIONS = (0.75, 0.45, 0.9)
VALUES = (0.95, 0.8, 0.6)


def class_colours(count: int = 256) -> np.ndarray:
    """``(count, 3)`` uint8 RGB: hues a golden angle apart, so that neighbouring ids differ most, in
    three shades.
    """
    colours = [
        hsv_to_rgb(id * GOLDEN_ANGLE % 1, SATURATIONS[id % 3], VALUES[id // 2 % 3])
        for id in range(count)
    ]
    return np.rint(np.array(colours) * 255).astype(np.uint8)

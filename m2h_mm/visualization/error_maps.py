"""Error maps: pictures of how wrong a prediction is, with their key."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image

from m2h_mm.tasks.keys import Scale, Tiles, round_numbers
from m2h_mm.tasks.view import View

from .drawing import HATCH_DARK, hatch, rescale, stack, text_block
from .legends import draw_block

COLORMAP = 'OrRd'
PERCENTILE = 95
ROUND_NUMBERS = np.array([1, 1.5, 2, 3, 4, 5, 6, 8, 10])


def mean_error(error: np.ndarray) -> float:
    """Mean of an error map ``(H, W)`` over the pixels that have a label; NaN where none has."""
    labelled = error[~np.isnan(error)]
    return float(labelled.mean(dtype=np.float64)) if labelled.size else float('nan')


def error_limit(view: View, errors: Sequence[np.ndarray]) -> float:
    """The error that gets the darkest colour, one for all of ``errors (H, W)``.

    It is the task's own if it has one, such as 30 degrees for normals, else the 95th percentile of
    all errors rounded up to a round number, so that a few outliers do not leave the rest pale.
    """
    fixed = view.error_style.limit
    if fixed is not None:
        return fixed
    values = (
        np.concatenate([error[np.isfinite(error)] for error in errors]) if errors else np.empty(0)
    )
    if not values.size or values.max() <= 0:
        return 1.0
    # Where nearly everything is right the percentile may be 0.
    high = float(np.percentile(values, PERCENTILE)) or float(values.max())
    magnitude = 10.0 ** np.floor(np.log10(high))
    return float(
        ROUND_NUMBERS[np.searchsorted(ROUND_NUMBERS, high / magnitude * (1 - 1e-6))] * magnitude
    )


def paint(values: np.ndarray, limit: float) -> np.ndarray:
    """Errors ``(...)`` as RGB ``(..., 3)`` uint8: pale where right, dark red from ``limit`` on."""
    return matplotlib.colormaps[COLORMAP](np.clip(values / limit, 0, 1), bytes=True)[..., :3]


def error_panel(
    error: np.ndarray, limit: float, scale: float, panel_size: tuple[int, int]
) -> np.ndarray:
    """An error map ``(H, W)`` as a picture of ``panel_size``, ``scale`` times as large; hatched
    where it is NaN.
    """
    labelled = ~np.isnan(error)
    picture = np.where(
        labelled[..., None], paint(np.nan_to_num(error, posinf=limit), limit), np.uint8(HATCH_DARK)
    )
    return np.where(
        rescale(labelled, scale)[..., None], rescale(picture, scale), hatch(*panel_size)
    )


def error_key(
    view: View, errors: Sequence[np.ndarray], limit: float, width: int, size: int
) -> Image.Image:
    """The key to the error maps.

    Args:
        view: of the task whose errors are shown.
        errors: all maps ``(H, W)`` that share the key.
        limit: error of the darkest colour.
        width: pixels to fill.
        size: of the text, pixels.
    """
    style = view.error_style
    if style.binary:
        right, wrong = (tuple(paint(np.array([error]), limit)[0].tolist()) for error in (0, 1))
        block = Tiles(((right, 'right'), (wrong, view.task.error_unit)))
    else:
        inner = [
            (tick / limit, f'{tick:g}{style.suffix}')
            for tick in round_numbers(0, limit, 4, (1, 2, 2.5, 5, 10))
        ]
        beyond = '≥ ' if any(np.nanmax(error, initial=0) > limit for error in errors) else ''
        last = (1.0, f'{beyond}{limit:g}{style.suffix}')
        block = Scale(paint(np.linspace(0, limit, width - 2), limit), ((0.0, '0'), *inner, last))
    return stack(
        [text_block(['error'], size, bold=True), draw_block(block, width, size)], size // 4
    )

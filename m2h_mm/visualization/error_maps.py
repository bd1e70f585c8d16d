"""Pictures of how wrong a prediction is, with their key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

from m2h_mm.tasks import Edge, Normals, Saliency, Semseg, Task

from .drawing import HATCH_DARK, hatch, rescale, stack, text_block
from .legends import colour_bar, swatches

COLORMAP = 'OrRd'
PERCENTILE = 95
ROUND_NUMBERS = np.array([1, 1.5, 2, 3, 4, 5, 6, 8, 10])


@dataclass(frozen=True)
class ErrorStyle:
    """How the errors of a task are shown.

    Attributes:
        text: a mean error as it is written below its map.
        limit: error of the darkest colour; None to take it from the data.
        suffix: what follows a number in the key.
        binary: an error is 0 or 1, right or wrong.
    """

    text: Callable[[float], str]
    limit: float | None = None
    suffix: str = ''
    binary: bool = False


@singledispatch
def error_style(task: Task) -> ErrorStyle:
    """How the errors of ``task`` are shown; another style is registered with
    ``@error_style.register``.
    """
    suffix = f' {task.error_unit}' if task.error_unit else ''
    return ErrorStyle(lambda mean: f'{mean:.3g}{suffix}', suffix=suffix)


@error_style.register
def _(task: Semseg) -> ErrorStyle:
    return ErrorStyle(lambda mean: f'{100 * mean:.1f} % {task.error_unit}', limit=1.0, binary=True)


@error_style.register
def _(task: Normals) -> ErrorStyle:
    return ErrorStyle(lambda mean: f'{mean:.1f}°', limit=30.0, suffix='°')


@error_style.register(Edge)
@error_style.register(Saliency)
def _(task: Task) -> ErrorStyle:
    return ErrorStyle(lambda mean: f'|p − y| = {mean:.3f}', limit=1.0)


def mean_error(error: np.ndarray) -> float:
    """Mean of an error map ``(H, W)`` over the pixels that have a label; NaN where none has."""
    labelled = error[~np.isnan(error)]
    return float(labelled.mean(dtype=np.float64)) if labelled.size else float('nan')


def error_limit(task: Task, errors: Sequence[np.ndarray]) -> float:
    """The error that gets the darkest colour, one for all of ``errors (H, W)``.

    It is the task's own if it has one, such as 30 degrees for normals, else the 95th percentile of
    all errors rounded up to a round number, so that a few outliers do not leave the rest pale.
    """
    fixed = error_style(task).limit
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
    """Errors ``(H, W)`` as RGB ``(H, W, 3)`` uint8: pale where right, dark red from ``limit`` on."""
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
    task: Task, errors: Sequence[np.ndarray], limit: float, width: int, size: int
) -> Image.Image:
    """The key to the error maps.

    Args:
        task: whose errors.
        errors: all maps ``(H, W)`` that share the key.
        limit: error of the darkest colour.
        width: pixels to fill.
        size: of the text, pixels.
    """
    style = error_style(task)
    if style.binary:
        key = swatches(
            [
                (paint(np.zeros((1, 1)), limit), 'right'),
                (paint(np.ones((1, 1)), limit), task.error_unit),
            ],
            width,
            size,
        )
    else:
        inner = [
            tick
            for tick in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, limit)
            if 0 < tick < limit
        ]
        beyond = '≥ ' if any(np.nanmax(error, initial=0) > limit for error in errors) else ''
        ticks = [
            (0.0, '0'),
            *((tick / limit, f'{tick:g}{style.suffix}') for tick in inner),
            (1.0, f'{beyond}{limit:g}{style.suffix}'),
        ]
        key = colour_bar(paint(np.linspace(0, limit, width - 2)[None], limit), ticks, size)
    return stack([text_block(['error'], size, bold=True), key], size // 4)

"""Keys to the colours: what stands below each column of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from m2h_mm.tasks import Edge, HumanParts, Normals, PositiveTask, Saliency, Semseg, Task

from .drawing import INK, WHITE, hatch, load_font, outlined, stack, text_width

HOLES = dict(truth='no label', prediction='no predicted value')


@dataclass
class TaskView:
    """What one column shows.

    Attributes:
        truth, prediction: maps ``(H, W)`` or ``(H, W, 3)``, None where the frame has none.
        truth_valid, prediction_valid: ``(H, W)`` bool masks of the pixels that hold a value.
        limits: the ``value_range`` to use instead of the maps' own.
    """

    truth: np.ndarray | None = None
    prediction: np.ndarray | None = None
    truth_valid: np.ndarray | None = None
    prediction_valid: np.ndarray | None = None
    limits: tuple[float, float] | None = None

    def has_holes(self, of: str) -> bool:
        """Whether some pixels of ``'truth'`` or ``'prediction'`` hold no value."""
        valid = getattr(self, f'{of}_valid')
        return valid is not None and not valid.all()

    def values(self, of: str) -> np.ndarray:
        """The valid values of ``'truth'`` or ``'prediction'``, flat for scalar maps; empty where
        there is no map.
        """
        picture = getattr(self, of)
        return np.empty(0) if picture is None else picture[getattr(self, f'{of}_valid')]

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest valid value of the truth, or of the prediction where the truth has
        none.
        """
        if self.limits is not None:
            return self.limits
        values = self.values('truth')
        values = values if values.size else self.values('prediction')
        return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def swatches(entries: Sequence[tuple[np.ndarray, str]], width: int, size: int) -> Image.Image:
    """Tiles with their meaning, in as many columns as fit ``width``; wider than that where one name
    alone is.

    Args:
        entries: the tile (any RGB picture) and its text.
        width: pixels to fill.
        size: of the text, pixels.
    """
    tile, line = round(size * 1.1), round(size * 1.5)
    cell = round(tile * 1.5) + max(text_width(text, size) for _, text in entries) + size
    columns = min(max(1, (width + size) // cell), len(entries))
    rows = -(-len(entries) // columns)
    block = Image.new('RGB', (columns * cell, rows * line), WHITE)
    draw = ImageDraw.Draw(block)
    for index, (picture, text) in enumerate(entries):
        left, top = index // rows * cell, index % rows * line
        picture = Image.fromarray(picture).resize((tile - 2, tile - 2), Image.Resampling.NEAREST)
        block.paste(outlined(np.asarray(picture)), (left, top + (line - tile) // 2))
        draw.text(
            (left + round(tile * 1.5), top + line / 2), text, INK, load_font(size), anchor='lm'
        )
    return block


def colour_bar(ramp: np.ndarray, ticks: Sequence[tuple[float, str]], size: int) -> Image.Image:
    """A horizontal scale.

    Args:
        ramp: the colours from left to right, ``(1, W, 3)`` uint8; one pixel each.
        ticks: position from 0 to 1 and text. The first and the last are always written, the others
            where there is room.
        size: of the text, pixels.
    """
    bar = np.asarray(outlined(np.repeat(ramp, round(size * 0.9), axis=0)))
    height, width = bar.shape[:2]
    mark = max(3, size // 4)
    block = Image.new('RGB', (width, height + mark + round(size * 1.4)), WHITE)
    block.paste(Image.fromarray(bar), (0, 0))
    draw = ImageDraw.Draw(block)
    taken = []
    for position, text in [ticks[0], ticks[-1], *ticks[1:-1]]:
        x, half = position * (width - 1), text_width(text, size) / 2
        centre = min(max(x, half), width - half)
        draw.line((x, height, x, height + mark), INK)
        if all(abs(centre - other) > half + other_half + size / 2 for other, other_half in taken):
            taken.append((centre, half))
            draw.text((centre, height + mark + size * 0.7), text, INK, load_font(size), anchor='mm')
    return block


def colour(task: Task, value: float | Sequence[float]) -> np.ndarray:
    """The ``(1, 1, 3)`` picture that a task makes of one value."""
    return task.draw(np.asarray(value)[None, None])


@singledispatch
def task_key(
    task: Task, view: TaskView, classes: Sequence[str], width: int, size: int
) -> list[Image.Image]:
    """The key to a task's colours: blocks to put below one another.

    A task of one's own has none, until a function for it is registered with ``@task_key.register``.

    Args:
        task: whose colours.
        view: what is shown.
        classes: names of the classes; may be shorter than the ids that occur.
        width: pixels to fill.
        size: of the text, pixels.
    """
    return []


@task_key.register
def class_key(
    task: Semseg, view: TaskView, classes: Sequence[str], width: int, size: int
) -> list[Image.Image]:
    """The classes that occur."""
    ids = np.unique(np.concatenate([view.values('prediction'), view.values('truth')])).astype(int)
    entries = [(colour(task, i), classes[i] if i < len(classes) else f'class {i}') for i in ids]
    return [swatches(entries, width, size)] if entries else []


@task_key.register
def _(
    task: HumanParts, view: TaskView, classes: Sequence[str], width: int, size: int
) -> list[Image.Image]:
    return class_key(task, view, task.classes, width, size)


@task_key.register
def _(
    task: PositiveTask, view: TaskView, classes: Sequence[str], width: int, size: int
) -> list[Image.Image]:
    if not view.values('truth').size and not view.values('prediction').size:
        return []
    unit = task.error_unit
    vmin, vmax = view.value_range
    span = max(vmax - vmin, 1e-6)
    inner = [
        tick
        for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(vmin, vmin + span)
        if vmin < tick < vmax
    ]
    low, high = f'{vmin:.2f} {unit}', f'{vmax:.2f} {unit}'
    if (predicted := view.values('prediction')).size:
        low = f'≤ {low}' if predicted.min() < vmin else low
        high = f'≥ {high}' if predicted.max() > vmax else high
    ticks = [
        (0.0, low),
        *(((tick - vmin) / span, f'{tick:g} {unit}') for tick in inner),
        (1.0, high),
    ]
    ramp = task.draw(np.linspace(vmin, vmin + span, width - 2)[None], vmin=vmin, vmax=vmin + span)
    return [colour_bar(ramp, ticks, size)]


@task_key.register
def _(
    task: Normals, view: TaskView, classes: Sequence[str], width: int, size: int
) -> list[Image.Image]:
    radius = round(size * 2.2)
    y, x = np.mgrid[radius : -radius - 1 : -1, -radius : radius + 1] / radius
    inside = x * x + y * y <= 1
    ball = np.stack([x, y, np.sqrt(np.clip(1 - x * x - y * y, 0, None))], axis=2)
    disc = Image.fromarray(np.where(inside[..., None], task.draw(ball), np.uint8(255)))
    axes = [
        ((1, 0, 0), '+x: faces right'),
        ((0, 1, 0), '+y: faces up'),
        ((0, 0, 1), '+z: faces the camera'),
    ]
    names = swatches([(colour(task, axis), text) for axis, text in axes], 1, size)
    block = Image.new(
        'RGB', (disc.width + size + names.width, max(disc.height, names.height)), WHITE
    )
    block.paste(disc, (0, (block.height - disc.height) // 2))
    block.paste(names, (disc.width + size, (block.height - names.height) // 2))
    return [block]


@task_key.register
def _(
    task: Edge, view: TaskView, classes: Sequence[str], width: int, size: int
) -> list[Image.Image]:
    return probability_key(task, view, ('edge', 'no edge', 'probability of an edge'), width, size)


@task_key.register
def _(
    task: Saliency, view: TaskView, classes: Sequence[str], width: int, size: int
) -> list[Image.Image]:
    return probability_key(
        task, view, ('salient', 'not salient', 'probability of saliency'), width, size
    )


def probability_key(
    task: Task, view: TaskView, texts: tuple[str, str, str], width: int, size: int
) -> list[Image.Image]:
    """A scale from 0 to 1, or two tiles where there is only truth; ``texts`` of 1, of 0 and of the
    scale.
    """
    yes, no, scale = texts
    if view.prediction is None:
        return [swatches([(colour(task, 1), yes), (colour(task, 0), no)], width, size)]
    ramp = task.draw(np.linspace(0, 1, width - 2)[None])
    return [colour_bar(ramp, [(0.0, '0'), (0.5, scale), (1.0, '1')], size)]


def column_key(
    task: Task, view: TaskView, classes: Sequence[str], width: int, size: int
) -> Image.Image:
    """All that stands below a task's column; nothing where the column shows nothing."""
    if view.truth is None and view.prediction is None:
        return stack([], 0)
    blocks = task_key(task, view, classes, width, size)
    holes = [text for row, text in HOLES.items() if view.has_holes(row)]
    if holes:
        blocks = [*blocks, swatches([(hatch(size, size), ', '.join(holes))], width, size)]
    return stack(blocks, size // 4)

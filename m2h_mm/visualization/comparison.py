"""Comparisons: the predictions and the errors of several runs for one frame, in one picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageOps

from m2h_mm.structures import Label
from m2h_mm.tasks import Task
from m2h_mm.tasks.shown import Map, Shown
from m2h_mm.tasks.view import View, build_view

from .drawing import (
    WHITE,
    fit_scale,
    notice_panel,
    outlined,
    rescale,
    side_by_side,
    stack,
    text_block,
    wrap,
)
from .error_maps import error_key, error_limit, error_panel, mean_error
from .legends import draw_key
from .panels import draw_panel

Prediction = np.ndarray | str


def draw_comparison(
    image: np.ndarray,
    tasks: Mapping[str, Task],
    labels: Mapping[str, Label],
    runs: Mapping[str, Mapping[str, Prediction]],
    frame_id: str = '',
    classes: Mapping[str, Sequence[str]] | None = None,
    panel_size: int = 320,
) -> np.ndarray:
    """Compare the predictions of several runs for one frame.

    Every task is a block. Its upper row is the ground truth and a column per run, its lower row the
    image and each run's error map (:meth:`Task.error`, hatched where there is no label) over the
    mean error of the frame, the smallest in bold. Within a task all runs share one scale of
    colours: depth the truth's range (or, without truth, that of all predictions), errors the one of
    :func:`~m2h_mm.visualization.error_maps.error_limit`. The blocks are arranged so that the
    picture is as square as can be.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        tasks: name to task, those to draw, in this order.
        labels: task name to label, of NumPy arrays; a task may be missing.
        runs: name of the run to task name to prediction ``(H, W)`` or ``(H, W, 3)``, in the order
            of the columns. What is missing, or of another size than the image, is said in its
            panel; a text instead of a prediction says why there is none.
        frame_id: for the title.
        classes: task name to the names of its classes; ``class <id>`` stands in for what is
            missing.
        panel_size: longest side of a panel, pixels. A larger frame is shrunk to it, a smaller one
            magnified by the largest whole factor that fits.

    Returns:
        ``(H', W', 3)`` uint8 RGB.

    Raises:
        ValueError: the image is not ``(H, W, 3)`` uint8, a label is of another size, there is no
            run or no task, or ``panel_size`` is below 64.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image: expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}.')
    if panel_size < 64:
        raise ValueError(
            f'panel_size: expected 64 pixels or more, which leaves room for text; got {panel_size}.'
        )
    if not runs or not tasks:
        raise ValueError(
            f'Expected one run and one task or more, got the runs {list(runs)} and tasks '
            f'{list(tasks)}.'
        )
    size = image.shape[:2]
    for name in tasks:
        if name in labels and labels[name].valid.shape != size:
            raise ValueError(
                f'labels[{name!r}]: expected the size of the image, {size}, got '
                f'{labels[name].valid.shape}.'
            )
    scale = fit_scale(size, panel_size)
    panel = rescale(image, scale)
    text = max(13, round(max(panel.shape[:2]) / 26))
    predictions = {name: {run: maps.get(name) for run, maps in runs.items()} for name in tasks}
    names = classes or {}
    blocks = [
        draw_task(
            build_view(task),
            panel,
            labels.get(name),
            predictions[name],
            size,
            scale,
            names.get(name, ()),
            text,
        )
        for name, task in tasks.items()
    ]
    facts = [
        f'{size[0]} × {size[1]} pixels' + (f', shown at {scale:.3g} ×' if scale != 1 else ''),
        'below each error map: its mean' + (', the smallest in bold' if len(runs) > 1 else ''),
    ]
    title = [
        *([text_block([frame_id], text, bold=True)] if frame_id else []),
        *(text_block([fact], text) for fact in facts),
    ]
    picture = stack([side_by_side(title, 2 * text), arrange(blocks, 3 * text)], text)
    return np.asarray(ImageOps.expand(picture, text, WHITE))


def draw_task(
    view: View,
    image: np.ndarray,
    label: Label | None,
    predictions: Mapping[str, Prediction | None],
    size: tuple[int, int],
    scale: float,
    classes: Sequence[str],
    text: int,
) -> Image.Image:
    """One task of all runs.

    Args:
        view: of the task.
        image: ``(H', W', 3)`` uint8 RGB, as large as a panel.
        label: NumPy arrays, None where the frame has none.
        predictions: run to prediction, to the reason why there is none, or to None.
        size: (H, W) of the frame, pixels.
        scale: of a panel to the frame.
        classes: names of the task's classes.
        text: size of the text, pixels.
    """
    panel = image.shape[:2]
    task = view.task
    expected = size if task.label_channels == 1 else (*size, task.label_channels)
    notices = {run: notice(prediction, expected) for run, prediction in predictions.items()}
    maps = {run: view.map_of(predictions[run]) for run, reason in notices.items() if not reason}
    truth = None if label is None else Map(label.value, task.truth(label).valid)
    together = Shown(truth, below_one_another(maps.values()))
    limits = view.limits(together)
    errors = (
        {} if label is None else {run: task.error(map.value, label) for run, map in maps.items()}
    )
    limit = error_limit(view, list(errors.values()))
    means = {run: mean_error(error) for run, error in errors.items()}
    best = min(means.values(), default=0) if len(means) > 1 else None

    columns = [
        (
            'ground truth',
            draw_panel(view, truth, limits, scale, panel, text),
            image,
            text_block(['image'], text),
        )
    ]
    for run in predictions:
        caption = ' '
        if notices[run]:
            upper = lower = notice_panel(*panel, notices[run], text)
        else:
            upper = draw_panel(view, maps[run], limits, scale, panel, text)
            lower = (
                error_panel(errors[run], limit, scale, panel)
                if run in errors
                else notice_panel(*panel, 'no label', text)
            )
            if not np.isnan(means.get(run, np.nan)):
                caption = view.error_style.text(means[run])
        columns.append(
            (
                run,
                upper,
                lower,
                text_block([caption], text, bold=run in means and means[run] == best),
            )
        )

    gap = text // 2
    lines = [wrap(title, panel[1], text, bold=True) for title, *_ in columns]
    tallest = max(map(len, lines))
    titles = [
        text_block([' '] * (tallest - len(title)) + title, text, bold=True) for title in lines
    ]
    captions = [caption for *_, caption in columns]
    width = max(panel[1] + 2, *(block.width for block in (*titles, *captions)))
    total = len(columns) * (width + gap) - gap
    # A wide key may fill all columns but the last, below which the key to the errors stands.
    key_width = total - width - 2 * text if view.wide_key and len(columns) > 2 else width
    keys = draw_key(view, together, classes, key_width, text)
    if errors:
        spacer = Image.new('RGB', (max(0, total - width - gap - keys.width), 1), WHITE)
        keys = side_by_side(
            [keys, spacer, error_key(view, list(errors.values()), limit, width, text)], gap // 2
        )
    rows = [titles, *([outlined(column[row]) for column in columns] for row in (1, 2)), captions]
    heading = text_block([task.name], round(1.3 * text), bold=True)
    return stack([heading, *(side_by_side(row, gap, width) for row in rows), keys], gap // 2)


def notice(prediction: Prediction | None, expected: tuple[int, ...]) -> str:
    """Why a prediction cannot be drawn; empty if it can, being of the ``expected`` shape."""
    if not isinstance(prediction, np.ndarray):
        return prediction or 'no prediction'
    if prediction.shape != expected:
        wanted, got = (' × '.join(map(str, shape)) for shape in (expected, prediction.shape))
        return f'expected {wanted},\ngot {got}'
    return ''


def below_one_another(maps: Iterable[Map]) -> Map | None:
    """Maps of one size as a single one, for a scale and a key that are common to them; None where
    there are none.
    """
    maps = list(maps)
    if not maps:
        return None
    return Map(
        np.concatenate([map.value for map in maps]), np.concatenate([map.valid for map in maps])
    )


def arrange(blocks: Sequence[Image.Image], gap: int) -> Image.Image:
    """The blocks in rows, in as many columns as make the whole as square as can be."""
    layouts = []
    for columns in range(1, len(blocks) + 1):
        rows = [blocks[start : start + columns] for start in range(0, len(blocks), columns)]
        width = max(sum(block.width for block in row) for row in rows)
        height = sum(max(block.height for block in row) for row in rows)
        layouts.append((abs(np.log(width / height)), columns, rows))
    _, _, rows = min(layouts)
    widest = max(block.width for block in blocks)
    return stack([side_by_side(row, gap, widest) for row in rows], gap)

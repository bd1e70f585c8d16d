"""Panels: one map of one task as a picture."""

from __future__ import annotations

import numpy as np
import torch

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.structures.label import read_label
from m2h_mm.tasks.shown import Map, Shown
from m2h_mm.tasks.view import View

from .drawing import hatch, notice_panel, rescale


def shown_of_sample(
    view: View,
    sample: MultiTaskDataSample | None,
    size: tuple[int, int],
    draw_gt: bool = True,
    draw_pred: bool = True,
) -> Shown:
    """What a sample holds for a task, as arrays of the image's size.

    Args:
        view: of the task.
        sample: with any of the task's two fields; None for neither.
        size: (H, W) of the image, pixels.
        draw_gt, draw_pred: whether the label and the prediction are wanted.
    """
    task, truth, prediction = view.task, None, None
    label = read_label(sample, task.gt_field) if draw_gt and sample is not None else None
    if label is not None:
        counted = task.truth(label)
        truth = Map(*(as_array(map.detach().cpu(), size) for map in (counted.value, counted.valid)))
    if draw_pred and sample is not None and task.pred_field in sample:
        predicted = sample.get(task.pred_field).data.detach().cpu()
        prediction = view.map_of(as_array(predicted, size))
    return Shown(truth, prediction)


def as_array(map: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """A ``(C, H, W)`` tensor as ``(H, W)`` or ``(H, W, C)`` at ``size``, nearest neighbour."""
    array = (map.float() if map.is_floating_point() else map).numpy().transpose(1, 2, 0)
    if array.shape[:2] != tuple(size):
        rows = ((np.arange(size[0]) + 0.5) * array.shape[0] / size[0]).astype(int)
        columns = ((np.arange(size[1]) + 0.5) * array.shape[1] / size[1]).astype(int)
        array = array[rows[:, None], columns]
    return array[..., 0] if array.shape[2] == 1 else array


def draw_panel(
    view: View,
    map: Map | None,
    limits: tuple[float, float] | None,
    scale: float,
    panel_size: tuple[int, int],
    text: int,
    absent: str = 'no label',
) -> np.ndarray:
    """One map as a picture, hatched where it has no value.

    Args:
        view: of the task.
        map: what is drawn; None for a panel that says ``absent``.
        limits: of the colour scale, see :meth:`View.limits`.
        scale: of the panel to the map.
        panel_size: (H, W) of the panel, pixels.
        text: size of the text, pixels.
        absent: why there is no map.

    Returns:
        ``(H', W', 3)`` uint8 RGB.
    """
    if map is None:
        return notice_panel(*panel_size, absent, text)
    # Pixels without a value are grey before the picture shrinks, or colours that mean nothing would
    # bleed into the others.
    picture = rescale(view.draw(map.value, map.valid, limits), scale)
    return np.where(rescale(map.valid, scale)[..., None], picture, hatch(*panel_size))

"""One picture of a frame: the image, and every task's prediction over its ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from PIL import Image

from m2h_mm.registry import VISUALIZERS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import PositiveTask, Task, build_tasks

from .drawing import (
    HATCH_DARK,
    WHITE,
    fit_scale,
    hatch,
    notice_panel,
    outlined,
    rescale,
    save_picture,
    stack,
    text_block,
    text_width,
)
from .legends import TaskView, column_key


@VISUALIZERS.register_module()
class MultiTaskVisualizer(Visualizer):
    """Draws all tasks of a frame side by side and hands the picture to the backends (files,
    TensorBoard, ...).

    One column per task, the image first; predictions in the upper row, ground truth in the lower.
    Depth and disparity have one colour scale for both rows, the truth's range. Pixels without a
    label are hatched. Below each column stands the key to its colours.

    Args:
        tasks (dict | list, optional): the tasks to draw, as in ``model.tasks``. Default: those of
            the model, which :class:`~m2h_mm.engine.MultiTaskVisualizationHook` fills in.
        panel_size (int): longest side of a panel in pixels, default 640. A larger frame is shrunk
            to it, a smaller one magnified by the largest whole factor that fits.
        name, vis_backends, save_dir: as in :class:`mmengine.visualization.Visualizer`.

    Raises:
        ValueError: ``panel_size`` below 64, which leaves no room for text.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        vis_backends: list | None = None,
        save_dir: str | None = None,
        tasks: Mapping | Sequence | None = None,
        panel_size: int = 640,
    ) -> None:
        super().__init__(name=name, vis_backends=vis_backends, save_dir=save_dir)
        if panel_size < 64:
            raise ValueError(
                f'visualizer.panel_size: expected 64 pixels or more, got {panel_size}.'
            )
        self.tasks = None if tasks is None else build_tasks(tasks)
        self.panel_size = panel_size

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: MultiTaskDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | Path | None = None,
        step: int = 0,
    ) -> None:
        """Draw a frame, then write it to ``out_file``, or else to all backends.

        Args:
            name: of the picture in the backends; ``<name>_<step>.png`` in the local one.
            image: ``(H, W, 3)`` uint8 RGB.
            data_sample: labels and predictions; at another size than the image they are resized to
                it.
            draw_gt, draw_pred: whether to draw the row of the truth, of the predictions.
            show: open a window; then nothing is written unless ``out_file`` says where.
            wait_time: seconds that the window stays, 0 for ever.
            out_file: file to write instead of the backends; its folder is made.
            step: the iteration.
        """
        if self.tasks is None:
            raise ValueError(
                'The visualizer does not know what to draw. Set visualizer.tasks to '
                'the tasks of the '
                "model, for instance tasks=['semseg', 'depth'], or assign built tasks "
                'to its attribute.'
            )
        classes = (self.dataset_meta or {}).get('classes') or ()
        picture = self.draw_frame(image, data_sample, self.tasks, classes, draw_gt, draw_pred)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_picture(picture, out_file)
        elif not show:
            # The local backend makes no folders: a name with slashes would be lost without a word.
            self.add_image(name.replace('/', '-'), picture, step)

    def draw_frame(
        self,
        image: np.ndarray,
        sample: MultiTaskDataSample | None,
        tasks: Mapping[str, Task],
        classes: Sequence[str] = (),
        draw_gt: bool = True,
        draw_pred: bool = True,
    ) -> np.ndarray:
        """The picture of one frame.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            sample: labels and predictions, any of which may be missing.
            tasks: which to draw, in this order.
            classes: names of the segmentation classes; ``class <id>`` stands in for what is
                missing.
            draw_gt, draw_pred: whether to draw the row of the truth, of the predictions.

        Returns:
            ``(H', W', 3)`` uint8 RGB.

        Raises:
            ValueError: the image is not ``(H, W, 3)`` uint8.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'image: expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}.'
            )
        size = image.shape[:2]
        views = {
            name: make_view(task, sample, size, draw_gt, draw_pred) for name, task in tasks.items()
        }
        rows = [
            row
            for row in ('prediction', 'truth')
            if any(getattr(v, row) is not None for v in views.values())
        ]
        if not rows and draw_gt and sample is not None:
            rows = ['truth']

        scale = fit_scale(size, self.panel_size)
        image = rescale(image, scale)
        height, width = image.shape[:2]
        text = max(13, round(max(height, width) / 26))
        column_width = max(width + 2, text * 11)

        columns = [('image', [outlined(image)], describe(sample, size, scale, text))]
        for name, task in tasks.items() if rows else ():
            panels = [
                outlined(draw_panel(task, views[name], row, scale, (height, width), text))
                for row in rows
            ]
            columns.append(
                (name, panels, column_key(task, views[name], classes, column_width, text))
            )
        labels = {'prediction': 'prediction', 'truth': 'ground truth'}
        return compose(columns, [labels[row] for row in rows], (height + 2, column_width), text)


def make_view(
    task: Task,
    sample: MultiTaskDataSample | None,
    size: tuple[int, int],
    draw_gt: bool,
    draw_pred: bool,
) -> TaskView:
    """Collect what the sample holds for a task, as arrays of the image's size."""
    view = TaskView()
    if draw_gt and sample is not None and task.gt_field in sample:
        label = sample.get(task.gt_field).data.detach().cpu()
        view.truth = as_array(label, size)
        view.truth_valid = as_array(task.valid(label[None])[0], size)
    if draw_pred and sample is not None and task.pred_field in sample:
        prediction = sample.get(task.pred_field).data.detach().cpu()
        view.prediction = as_array(torch.nan_to_num(prediction, 0, 0, 0), size)
        view.prediction_valid = as_array(torch.isfinite(prediction).all(dim=0, keepdim=True), size)
    return view


def as_array(map: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """A ``(C, H, W)`` tensor as ``(H, W)`` or ``(H, W, C)`` at ``size``, nearest neighbour."""
    array = (map.float() if map.is_floating_point() else map).numpy().transpose(1, 2, 0)
    if array.shape[:2] != tuple(size):
        rows = ((np.arange(size[0]) + 0.5) * array.shape[0] / size[0]).astype(int)
        columns = ((np.arange(size[1]) + 0.5) * array.shape[1] / size[1]).astype(int)
        array = array[rows[:, None], columns]
    return array[..., 0] if array.shape[2] == 1 else array


def draw_panel(
    task: Task, view: TaskView, row: str, scale: float, panel_size: tuple[int, int], text: int
) -> np.ndarray:
    """One map as a picture of ``panel_size``, hatched where it has no value."""
    map, valid = getattr(view, row), getattr(view, f'{row}_valid')
    if map is None:
        return notice_panel(*panel_size, 'no label' if row == 'truth' else 'no prediction', text)
    has_scale = isinstance(task, PositiveTask)
    limits = dict(zip(('vmin', 'vmax'), view.value_range, strict=True)) if has_scale else {}
    # Void is grey before the picture shrinks, or its own colour would bleed into what is valid.
    picture = rescale(
        np.where(valid[..., None], task.draw(map, **limits), np.uint8(HATCH_DARK)), scale
    )
    return np.where(rescale(valid, scale)[..., None], picture, hatch(*panel_size))


def describe(
    sample: MultiTaskDataSample | None, size: tuple[int, int], scale: float, text: int
) -> Image.Image:
    """What stands below the image: which frame this is and how it is shown."""
    frame_id = '' if sample is None else str(sample.get('frame_id', ''))
    lines = [f'{size[0]} × {size[1]} pixels'] + ([f'shown at {scale:.3g} ×'] if scale != 1 else [])
    return stack(
        [text_block([frame_id], text, bold=True)] * bool(frame_id) + [text_block(lines, text)], 0
    )


def compose(
    columns: Sequence[tuple[str, list[Image.Image], Image.Image]],
    row_labels: Sequence[str],
    cell: tuple[int, int],
    text: int,
) -> np.ndarray:
    """Put titles, panels and keys together.

    Args:
        columns: title, panels from top to bottom, key.
        row_labels: one per row of panels.
        cell: ``(H, W)`` that a panel may take; wider keys widen their column.
        text: size of the text, pixels.
    """
    gap = text // 2
    gutter = round(text * 1.35) + gap if row_labels else 0
    header = round(text * 1.35) + gap
    row_height = max([cell[0], *(text_width(label, text, bold=True) for label in row_labels)])
    widths = [
        max(cell[1], key.width, text_width(title, text, bold=True)) for title, _, key in columns
    ]
    tops = [gap + header + row * (row_height + gap) for row in range(max(1, len(row_labels)))]
    bottoms = [tops[len(panels) - 1] + row_height + gap for _, panels, _ in columns]
    height = (
        max(bottom + key.height for bottom, (_, _, key) in zip(bottoms, columns, strict=True)) + gap
    )
    canvas = Image.new('RGB', (gutter + sum(widths) + gap * (len(columns) + 1), height), WHITE)

    for label, top in zip(row_labels, tops, strict=False):
        block = text_block([label], text, bold=True, vertical=True)
        canvas.paste(block, (gap, top + (row_height - block.height) // 2))
    left = gap + gutter
    for (title, panels, key), width, bottom in zip(columns, widths, bottoms, strict=True):
        block = text_block([title], text, bold=True)
        canvas.paste(block, (left + max(0, panels[0].width - block.width) // 2, gap))
        for panel, top in zip(panels, tops, strict=False):
            canvas.paste(panel, (left, top))
        canvas.paste(key, (left, bottom))
        left += width + gap
    return np.asarray(canvas)

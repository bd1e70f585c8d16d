"""Pictures of frames: the image, and every task's prediction over its ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from PIL import Image

from m2h_mm.registry import VISUALIZERS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Task, build_tasks
from m2h_mm.tasks.view import build_view, names_of_classes

from .drawing import (
    WHITE,
    fit_scale,
    outlined,
    rescale,
    save_picture,
    stack,
    text_block,
    text_width,
)
from .legends import draw_key
from .panels import draw_panel, shown_of_sample

_LONGEST_NAME = 200  # bytes, before the iteration and the ending


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
                'The visualizer does not know what to draw. Set visualizer.tasks to the tasks of '
                "the model, for instance tasks=['semseg', 'depth'], or assign built tasks to its "
                'attribute.'
            )
        classes = names_of_classes(self.tasks, (self.dataset_meta or {}).get('classes') or ())
        picture = self.draw_frame(image, data_sample, self.tasks, classes, draw_gt, draw_pred)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_picture(picture, out_file)
        elif not show:
            self.add_image(_plain(name), picture, step)

    def draw_frame(
        self,
        image: np.ndarray,
        sample: MultiTaskDataSample | None,
        tasks: Mapping[str, Task],
        classes: Mapping[str, Sequence[str]] | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
    ) -> np.ndarray:
        """The picture of one frame.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            sample: labels and predictions, any of which may be missing.
            tasks: which to draw, in this order.
            classes: task name to the names of its classes; ``class <id>`` stands in for what is
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
        views = {name: build_view(task) for name, task in tasks.items()}
        shown = {
            name: shown_of_sample(view, sample, size, draw_gt, draw_pred)
            for name, view in views.items()
        }
        rows = {
            'prediction': any(of_task.prediction is not None for of_task in shown.values()),
            'ground truth': any(of_task.truth is not None for of_task in shown.values()),
        }
        if not any(rows.values()):
            # Labels were asked for: that there are none is said in their row.
            rows['ground truth'] = draw_gt and sample is not None
        titles = [title for title, wanted in rows.items() if wanted]

        scale = fit_scale(size, self.panel_size)
        image = rescale(image, scale)
        height, width = image.shape[:2]
        text = max(13, round(max(height, width) / 26))
        column_width = max(width + 2, text * 11)

        columns = [('image', [outlined(image)], frame_caption(sample, size, scale, text))]
        for name, view in views.items() if titles else ():
            maps = {
                'prediction': (shown[name].prediction, 'no prediction'),
                'ground truth': (shown[name].truth, 'no label'),
            }
            limits = view.limits(shown[name])
            panels = [
                outlined(draw_panel(view, map, limits, scale, (height, width), text, absent))
                for map, absent in (maps[title] for title in titles)
            ]
            names = (classes or {}).get(name, ())
            key = draw_key(view, shown[name], names, column_width, text)
            columns.append((name, panels, key))
        return compose(columns, titles, (height + 2, column_width), text)


def _plain(name: str) -> str:
    """A name that mmengine's local backend can make a file of: it makes no folders, OpenCV crashes
    at what is not UTF-8, and a name of a file is at most 255 bytes long. What is not written is not
    told of.
    """
    encoded = name.replace('/', '-').encode(errors='backslashreplace')
    return encoded[-_LONGEST_NAME:].decode(errors='ignore')


def frame_caption(
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

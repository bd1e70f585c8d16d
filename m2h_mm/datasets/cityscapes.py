"""Cityscapes for multi-task learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2h_mm.registry import DATASETS
from m2h_mm.system.text import read_json
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.semseg.colours import class_colours

from .multitask_dataset import MultiTaskDataset

CITYSCAPES_CLASSES = {
    19: (
        'road',
        'sidewalk',
        'building',
        'wall',
        'fence',
        'pole',
        'traffic light',
        'traffic sign',
        'vegetation',
        'terrain',
        'sky',
        'person',
        'rider',
        'car',
        'truck',
        'bus',
        'train',
        'motorcycle',
        'bicycle',
    ),
    7: ('flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle'),
}
TASKS = dict(semseg=dict(num_classes=19), depth=dict(max_depth=80.0), disparity=dict(), edge=dict())


@DATASETS.register_module()
class MultiTaskCityscapesDataset(MultiTaskDataset):
    """Cityscapes (Cordts et al., CVPR 2016): 2975 training and 500 validation frames with fine
    annotations, as ``m2h-mm convert-data cityscapes`` writes them; see
    :class:`MultiTaskDataset` for the layout.

    Args:
        data_root: folder of the converted data.
        split: 'train' or 'val'.
        tasks: names, or name to arguments, as for the model. Default: semseg with 19 classes,
            depth, disparity, edge.
        pipeline: transforms.
        **kwargs: of :class:`MultiTaskDataset`.

    Raises:
        ValueError: segmentation into other than 19 or 7 classes, or into other classes than the
            data was converted to.
        FileNotFoundError, ValueError: see :class:`MultiTaskDataset`.
    """

    METAINFO = dict(classes=CITYSCAPES_CLASSES[19], palette=class_colours(19).tolist())
    how_to_get = (
        'Make it from the official download with m2h-mm convert-data cityscapes, see '
        'docs/datasets.md, or set '
        'data_root to where it is.\n'
        'To start without any download: m2h-mm train m2h_tiny_rooms'
    )

    def __init__(
        self,
        data_root: str | Path = 'data/CityscapesMT',
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = TASKS,
        pipeline: Sequence = (),
        **kwargs,
    ) -> None:
        tasks = build_tasks(tasks)
        if 'semseg' in tasks:
            num_classes = tasks['semseg'].num_classes
            _check_classes(num_classes, Path(data_root))
            names = dict(
                classes=CITYSCAPES_CLASSES[num_classes], palette=class_colours(num_classes).tolist()
            )
            kwargs['metainfo'] = {**names, **(kwargs.get('metainfo') or {})}
        super().__init__(data_root=data_root, split=split, tasks=tasks, pipeline=pipeline, **kwargs)


def _check_classes(num_classes: int, data_root: Path) -> None:
    """Ids of seven classes pass for some of 19: what the converter noted tells them apart."""
    if num_classes not in CITYSCAPES_CLASSES:
        raise ValueError(
            f'tasks.semseg.num_classes: Cityscapes has {sorted(CITYSCAPES_CLASSES)}, got '
            f'{num_classes}.'
        )
    settings = data_root / 'converter.json'
    expected = 'the settings of the conversion: convert again'
    converted = read_json(settings, expected).get('num_classes') if settings.is_file() else None
    if converted not in (None, num_classes):
        raise ValueError(
            f'tasks.semseg.num_classes is {num_classes}, but {data_root} was converted to '
            f'{converted} classes. Set num_classes to {converted}, or convert again with '
            f'--classes {num_classes}.'
        )

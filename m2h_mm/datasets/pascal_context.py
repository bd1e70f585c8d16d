"""PASCAL-Context for multi-task learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2h_mm.registry import DATASETS
from m2h_mm.tasks.semseg.colours import class_colours

from .multitask_dataset import MultiTaskDataset

VOC_CLASSES = (
    'background',
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'dining table',
    'dog',
    'horse',
    'motorbike',
    'person',
    'potted plant',
    'sheep',
    'sofa',
    'train',
    'tv monitor',
)
TASKS = dict(
    semseg=dict(num_classes=len(VOC_CLASSES)),
    human_parts=None,
    saliency=None,
    normals=None,
    edge=None,
)


@DATASETS.register_module()
class PASCALContextMTDataset(MultiTaskDataset):
    """PASCAL-Context with five tasks: 4998 training and 5105 validation frames (Maninis et al.,
    CVPR 2019).

    Segmentation has the 21 classes of PASCAL VOC, 255 = void. Human parts are void in frames that
    show nobody. Saliency and normals are the predictions of other networks. There is no depth, and
    no camera is known.

    The files are made by ``m2h-mm convert-data pascal_context``; for the layout see
    :class:`MultiTaskDataset`.

    Args:
        data_root: folder of the converted data.
        split: 'train' or 'val'.
        tasks: names, or name to arguments, as for the model. Default: all five, with 21 classes.
        pipeline: transforms.
        **kwargs: of :class:`MultiTaskDataset`.

    Raises:
        FileNotFoundError, ValueError: see :class:`MultiTaskDataset`.
    """

    METAINFO = dict(classes=VOC_CLASSES, palette=class_colours(len(VOC_CLASSES)).tolist())
    how_to_get = (
        'Convert the multi-task release of PASCAL-Context (that of ASTMT, which MTI-Net, ATRC '
        'and InvPT use too) with m2h-mm convert-data pascal_context, or set data_root to where '
        'it is.'
    )

    def __init__(
        self,
        data_root: str | Path = 'data/PASCALContext',
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = TASKS,
        pipeline: Sequence = (),
        **kwargs,
    ) -> None:
        super().__init__(data_root=data_root, split=split, tasks=tasks, pipeline=pipeline, **kwargs)

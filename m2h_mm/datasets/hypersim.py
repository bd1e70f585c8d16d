"""Hypersim for multi-task learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2h_mm.registry import DATASETS

from .multitask_dataset import MultiTaskDataset
from .nyud import NYUDDataset


@DATASETS.register_module()
class HypersimDataset(MultiTaskDataset):
    """Hypersim: 59543 training, 7386 validation and 7690 test frames of 457 rendered indoor scenes
    at 768x1024 (Roberts et al., ICCV 2021), with the classes of NYU40.

    Made by ``m2h-mm convert-data hypersim``. Intrinsics come from ``cameras.json``; frames
    taken with a tilted lens are not in it unless the converter untilted them, and have no
    ``cam2img``.

    Args:
        data_root: folder of the converted data.
        split: 'train', 'val' or 'test'; no scene is in two of them.
        tasks: names, or name to arguments, as for the model.
        pipeline: transforms.
        reduce_zero_label: segmentation 0 is void, 1..40 the classes, as the converter writes it.
        **kwargs: of :class:`MultiTaskDataset`.

    Raises:
        FileNotFoundError, ValueError: see :class:`MultiTaskDataset`.
    """

    METAINFO = NYUDDataset.METAINFO
    how_to_get = (
        'Download Hypersim with the script of its repository, apple/ml-hypersim, and convert it: '
        'm2h-mm convert-data hypersim. Or set data_root to where it is.'
    )

    def __init__(
        self,
        data_root: str | Path = 'data/Hypersim',
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = ('semseg', 'depth', 'normals', 'edge'),
        pipeline: Sequence = (),
        reduce_zero_label: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(
            data_root=data_root,
            split=split,
            tasks=tasks,
            pipeline=pipeline,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )

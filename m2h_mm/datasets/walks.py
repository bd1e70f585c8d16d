"""Walks through procedural rooms as a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2h_mm.registry import DATASETS
from m2h_mm.rooms import WalkOptions, ensure_walks, walks_folder

from .nyud import NYUDDataset
from .sequence import SequenceDataset


@DATASETS.register_module()
class RoomWalksDataset(SequenceDataset):
    """Walks through furnished rooms that are rendered on first use; all four tasks, NYU40 classes,
    exact poses, nothing to download.

    Somebody carries a camera by hand through a room, around the furniture, and looks at one thing
    after the other. Every walk has a room of its own; (style, seed, index) and the options of the
    walk alone decide what it looks like. See :class:`RoomsDataset` for the rooms,
    :class:`SequenceDataset` for the samples.

    Args:
        data_root: parent folder of the rendered frames.
        split: 'train' or 'val'; no room is in both.
        tasks: names, or name to arguments, as for the model.
        pipeline: transforms.
        num_train, num_val: walks per split.
        size: (H, W) of the frames in pixels.
        seed: of all walks.
        style: 'plain' or 'varied', see :class:`RoomsDataset`.
        walk: options of the walks, see :class:`~m2h_mm.rooms.WalkOptions`: ``num_frames`` (60),
            ``fps`` (15), ``speed`` (0.4 m/s), ``shake`` (1), ``exposure`` ('fixed' or 'auto'),
            ``shutter`` (0 s, no blur), ``moving`` (None, 'ball' or 'box').
        num_workers: processes that render; None for one per core, 0 for none but this.
        check_normals: as of :class:`MultiTaskDataset`; rendered normals need no check.
        **kwargs: of :class:`SequenceDataset`.

    Raises:
        PermissionError: ``data_root`` cannot be written to.
        ValueError: impossible numbers, an unknown style or option, or a folder that was changed by
            hand.
    """

    METAINFO = NYUDDataset.METAINFO
    how_to_get = 'Delete that folder, it will be rendered anew.'

    def __init__(
        self,
        data_root: str | Path = 'data/rooms',
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = ('semseg', 'depth', 'normals', 'edge'),
        pipeline: Sequence = (),
        num_train: int = 40,
        num_val: int = 8,
        size: Sequence[int] = (240, 320),
        seed: int = 0,
        style: str = 'plain',
        walk: Mapping | None = None,
        num_workers: int | None = None,
        check_normals: bool = False,
        **kwargs,
    ) -> None:
        try:
            options = WalkOptions(**(walk or {}))
        except TypeError as error:
            raise ValueError(f'RoomWalksDataset.walk: {error}.') from None
        self._walks = dict(
            root=data_root,
            num_train=num_train,
            num_val=num_val,
            size=tuple(size),
            seed=seed,
            style=style,
            options=options,
        )
        self._num_workers = num_workers
        super().__init__(
            data_root=walks_folder(**self._walks),
            split=split,
            tasks=tasks,
            pipeline=pipeline,
            reduce_zero_label=True,
            check_normals=check_normals,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        ensure_walks(**self._walks, num_workers=self._num_workers)
        return super().load_data_list()

"""Procedural rooms as a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2h_mm.datasets.nyud import NYUDDataset
from m2h_mm.registry import DATASETS
from m2h_mm.rooms import ensure_rooms, rooms_folder


@DATASETS.register_module()
class RoomsDataset(NYUDDataset):
    """Furnished rooms that are rendered on first use; all four tasks, NYU40 classes, nothing to
    download.

    Every frame is a room of its own, made from (seed, index) alone, with exact labels and its own
    camera. Frames are kept under ``data_root`` in the layout of NYUD-MT, in a folder per
    combination of ``num_train``, ``num_val``, ``size``, ``seed``, ``style`` and version of the
    generator. All ranks of a distributed run may build the data set at once: one renders, the
    others wait.

    34 of the 40 classes occur, some rarely, and in style ``varied`` mirrors and other furniture as
    well; no pixel is void. Edges are the borders between instances (the four walls count as one).

    Args:
        data_root: parent folder of the rendered frames.
        split: 'train' or 'val'; no room is in both.
        tasks: names, or name to arguments, as for the model.
        pipeline: transforms.
        num_train, num_val: frames per split.
        size: (H, W) of the frames in pixels.
        seed: of all frames.
        style: 'plain', tidy rooms in even light; or 'varied', with clutter, dark and glossy
            surfaces, more textures, coloured light, larger rooms, a hand-held camera that clips,
            blurs and compresses. It is meant for models that will see real photos.
        num_workers: processes that render; None for one per core, 0 for none but this.
        check_normals: as of :class:`MultiTaskDataset`; rendered normals need no check.
        **kwargs: of :class:`NYUDDataset`.

    Raises:
        PermissionError: ``data_root`` cannot be written to.
        ValueError: impossible numbers, an unknown style, or a folder that was changed by hand.
    """

    how_to_get = 'Delete that folder, it will be rendered anew.'

    def __init__(
        self,
        data_root: str | Path = 'data/rooms',
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = ('semseg', 'depth', 'normals', 'edge'),
        pipeline: Sequence = (),
        num_train: int = 2000,
        num_val: int = 200,
        size: Sequence[int] = (240, 320),
        seed: int = 0,
        style: str = 'plain',
        num_workers: int | None = None,
        check_normals: bool = False,
        **kwargs,
    ) -> None:
        self._rooms = dict(
            root=data_root,
            num_train=num_train,
            num_val=num_val,
            size=tuple(size),
            seed=seed,
            style=style,
        )
        self._num_workers = num_workers
        super().__init__(
            data_root=rooms_folder(**self._rooms),
            split=split,
            tasks=tasks,
            pipeline=pipeline,
            check_normals=check_normals,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        ensure_rooms(**self._rooms, num_workers=self._num_workers)
        return super().load_data_list()

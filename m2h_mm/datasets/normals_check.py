"""The check that a data set's normals are in our convention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m2h_mm.geometry.normal_convention import Agreement, compare_conventions, paired_normals
from m2h_mm.tasks import Task

DEPTH, NORMALS = 'depth', 'normals'
COMMAND = 'm2h-mm check-normals'
_FRAMES = 4


def measure_agreement(
    data_list: Sequence[Mapping],
    tasks: Mapping[str, Task],
    num_frames: int = _FRAMES,
    skip_unreadable: bool = False,
) -> Agreement | None:
    """Compare normals with depth in frames spread over the data set.

    Args:
        data_list: frames as :meth:`MultiTaskDataset.load_data_list` lists them: ``label_paths``,
            ``camera``.
        tasks: how to read them.
        num_frames: how many to look at, at most.
        skip_unreadable: leave frames out whose files cannot be read, instead of raising a
            ValueError.

    Returns:
        None if no frame has both labels, a camera, and pixels where both are known.
    """
    usable = [
        data
        for data in data_list
        if data.get('camera') and {DEPTH, NORMALS} <= data['label_paths'].keys()
    ]
    chosen = np.unique(
        np.linspace(0, len(usable) - 1, min(num_frames, len(usable))).round().astype(int)
    )
    pairs = []
    for data in (usable[index] for index in chosen):
        try:
            maps = [tasks[name].read(data['label_paths'][name]).value for name in (DEPTH, NORMALS)]
        except (ValueError, OSError):
            if not skip_unreadable:
                raise
            continue
        pairs.append(paired_normals(*maps, data['camera']))
    if not sum(len(stored) for stored, _ in pairs):
        return None
    return compare_conventions(*(np.concatenate(side) for side in zip(*pairs, strict=True)))


def require_our_normals(
    data_list: Sequence[Mapping],
    tasks: Mapping[str, Task],
    root: Path,
    skip_unreadable: bool = False,
) -> None:
    """Raise unless the normals are in our convention, or cannot be told from it; see
    :func:`measure_agreement`.

    Raises:
        ValueError: another convention fits clearly better.
    """
    if not {DEPTH, NORMALS} <= tasks.keys():
        return
    agreement = measure_agreement(data_list, tasks, skip_unreadable=skip_unreadable)
    if agreement is not None and agreement.is_clearly_other:
        ours, best = (agreement.medians[axes] for axes in ('x,y,z', agreement.best))
        raise ValueError(
            f'The normals in {root / tasks[NORMALS].folder} are not x right, y up, z toward the '
            'camera: their channels '
            f'hold {agreement.best}, which is {best:.0f} degrees off the depth in the median of '
            f'{agreement.vectors} vectors; as x,y,z they are {ours:.0f} degrees off. Rewrite '
            'them:\n'
            f'  {COMMAND} {root} --rewrite FOLDER\n'
            'or, if it is the depth or the camera that is wrong, set check_normals=False in the '
            "config's data set."
        )

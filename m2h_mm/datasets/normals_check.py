"""The check that a data set's normals are in our convention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m2h_mm.geometry.normal_convention import (
    OURS,
    Agreement,
    compare_conventions,
    compose,
    paired_normals,
    parse_axes,
)
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
        if data.get('camera')
        and {DEPTH, NORMALS} <= data.get('label_paths', {}).keys()
        # The camera is of the upright image; the vectors cannot be turned in an unknown convention.
        and not data.get('label_turns')
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
) -> str:
    """Raise unless the normals are in our convention, or cannot be told from it; see
    :func:`measure_agreement`.

    Returns:
        What looks wrong: no convention fits. Else nothing.

    Raises:
        ValueError: another convention fits clearly better.
    """
    if not {DEPTH, NORMALS} <= tasks.keys():
        return ''
    agreement = measure_agreement(data_list, tasks, skip_unreadable=skip_unreadable)
    if agreement is None:
        return ''
    folder, best = root / tasks[NORMALS].folder, agreement.medians[agreement.best]
    if agreement.is_clearly_other:
        ours = agreement.medians[OURS]
        axes = compose(parse_axes(tasks[NORMALS].label_format.convention), agreement.best)
        raise ValueError(
            f'The normals in {folder} are not x right, y up, z toward the '
            'camera: their channels '
            f'hold {axes}, which is {best:.0f} degrees off the depth in the median of '
            f'{agreement.vectors} vectors; as they are read they are {ours:.0f} degrees off. Say '
            f'so in the data set of the config: {tasks[NORMALS].to_state("convention", axes)}; or '
            'rewrite them:\n'
            f'  {COMMAND} {root} --rewrite FOLDER\n'
            'or, if it is the depth or the camera that is wrong, set check_normals=False in the '
            "config's data set."
        )
    if agreement.is_of_something_else:
        return (
            f'The normals in {folder} are not those of the depth in any convention: '
            f'{best:.0f} degrees off in the median of {agreement.vectors} vectors. Are they in '
            'axes of the world instead of the camera, in another encoding (label_formats), or is '
            'the camera wrong? check_normals=False leaves this check out.'
        )
    return ''

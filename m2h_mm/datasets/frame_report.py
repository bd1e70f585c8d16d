"""What is said of the files that a data set has found."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.logging import print_log

from m2h_mm.structures.image_file import IMAGE_SUFFIXES

from .cameras import question_cameras
from .files import LABEL_SUFFIXES
from .frame_files import IMAGES, FrameFiles, look_at_names

if TYPE_CHECKING:
    from .multitask_dataset import MultiTaskDataset


def require_some_image(dataset: MultiTaskDataset, files: FrameFiles) -> None:
    """
    Raises:
        FileNotFoundError: there is no image, with the layout that is expected.
    """
    if files.images:
        return
    place = Path(dataset.place_of(IMAGES))
    reason = (
        '; '.join([f'no {", ".join(IMAGE_SUFFIXES)} in it or below', *files.left_out])
        if place.is_dir()
        else 'there is no such folder'
        if '{' not in place.name
        else '; '.join(['nothing fits', *files.left_out])
    )
    layout = [f'    {file:<34}{remark}'.rstrip() for file, remark in dataset.expected_files()]
    raise FileNotFoundError(
        f'No data for {type(dataset).__name__}: looked for images in {place.absolute()}, '
        f'{reason}.\nExpected layout:\n'
        + '\n'.join([f'  {files.root}/', *layout])
        + f'\n{dataset.how_to_get}'
    )


def report_frames(
    dataset: MultiTaskDataset, files: FrameFiles, data_list: Sequence[Mapping]
) -> None:
    """Log how many frames, labels and cameras there are, what is bad, and which tasks have no
    label.
    """
    who = f'{type(dataset).__name__} {dataset.split}'
    counts = {
        name: sum(name in data['label_paths'] for data in data_list) for name in dataset.tasks
    }
    print_log(
        f'{who}: {len(data_list)} frames in {files.root}; labels '
        + ', '.join(f'{name} {count}' for name, count in counts.items())
        + f'; cameras {sum(data.get("camera") is not None for data in data_list)}',
        'current',
    )
    bad = [data['error'] for data in data_list if 'error' in data]
    if bad:
        print_log(
            f'{who}: {len(bad)} frames are bad and will be skipped where they are drawn, such as: '
            f'{bad[0]}',
            'current',
            logging.WARNING,
        )
    for name, count in counts.items():
        if count:
            continue
        place = dataset.place_of(name)
        reason = (
            'its files belong to other frames'
            if files.labels[name]
            else f'it holds no {" or ".join(LABEL_SUFFIXES)}'
            if Path(place).is_dir()
            else 'there is no such folder'
            if '{' not in place and not place.startswith('labels')
            else 'no file fits'
        )
        print_log(
            f'{who}: no frame has a label for task {name!r}; looked in {place}, {reason}. On this '
            'data the task is not measured, and trained by losses between tasks at most.',
            'current',
            logging.WARNING,
        )


def tell_of_names(
    dataset: MultiTaskDataset,
    files: FrameFiles,
    cameras: Mapping[str, Sequence[float]],
    data_list: Sequence[Mapping],
) -> None:
    """Say what was left out of the folders, and what is doubtful in names and cameras."""
    who = f'{type(dataset).__name__} {dataset.split}'
    sizes = {data['frame_id']: data['ori_shape'] for data in data_list if 'error' not in data}
    upright = {data['frame_id']: data['camera'] for data in data_list}
    cameras_of_file = {frame_id: upright[frame_id] for frame_id in sizes.keys() & cameras}
    doubts = list(question_cameras(files.root, cameras_of_file, sizes).items())
    said = [(logging.INFO, line) for line in files.left_out]
    said += look_at_names(files, cameras, [data['frame_id'] for data in data_list])
    if doubts:
        frame_id, doubt = doubts[0]
        line = f'cameras that are doubtful: {len(doubts)} of {len(sizes)}, such as that of '
        said.append((logging.WARNING, f'{line}{frame_id!r}: {doubt}.'))
    for level, line in said:
        print_log(f'{who}: {line}', 'current', level)

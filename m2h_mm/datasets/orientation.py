"""How labels and cameras lie on photos that a camera took on its side (EXIF orientation)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from m2h_mm.structures.image_file import ImageHeader, image_header
from m2h_mm.structures.orientation import turned_axes
from m2h_mm.tasks.files import array_size

from .transforms.loading import WAY_OUT, require_size

DISPLAYED, STORED = 'displayed', 'stored'


def check_exif_labels(exif_labels: str | None) -> None:
    """Raise a ValueError unless this is what a data set's ``exif_labels`` may be."""
    if exif_labels not in (None, DISPLAYED, STORED):
        raise ValueError(
            f'exif_labels: expected {DISPLAYED!r}, {STORED!r} or None, got {exif_labels!r}.'
        )


def fit_frame(
    image: Path,
    labels: Mapping[str, Path],
    camera: Sequence[float] | None,
    exif_labels: str | None,
) -> dict:
    """How the files of a frame lie, for the data set's entry of it: ``ori_shape`` (H, W) of the
    upright image, ``camera`` of it, ``label_turns`` of those labels that have to be turned (task
    name to EXIF orientation), ``turned`` where the image itself is, ``exif_doubt`` where the labels
    cannot be told.

    Raises:
        ValueError, OSError: the image cannot be read, a label fits neither way.
    """
    try:
        header = image_header(image)
    except ValueError as error:
        raise ValueError(f'{error} {WAY_OUT}') from error
    turns = {
        name: label_turn(name, path, image, header, exif_labels) for name, path in labels.items()
    }
    entry: dict = dict(
        ori_shape=header.size, camera=camera and turn_camera(camera, header, exif_labels)
    )
    turns = {name: turn for name, turn in turns.items() if turn != 1}
    if turns:
        entry['label_turns'] = turns
    if header.orientation != 1:
        entry['turned'] = True
    if labels and is_doubtful(header, exif_labels):
        entry['exif_doubt'] = True
    return entry


def label_turn(
    name: str, label: Path, image: Path, header: ImageHeader, exif_labels: str | None
) -> int:
    """The EXIF orientation by which a label has to be turned to lie on the upright image, 1 where
    it lies there. Its size tells; where both fit, ``exif_labels`` does.

    Args:
        name: of the task.
        label, image: the files.
        header: of the image.
        exif_labels: see :class:`MultiTaskDataset`.

    Raises:
        ValueError: the label fits neither way.
    """
    size = array_size(label)
    orientation = header.orientation
    shown = str(image)
    if orientation != 1:
        if size == header.stored and (size != header.size or exif_labels == STORED):
            return orientation
        rows, columns = header.stored
        shown = f'{image} (EXIF orientation {orientation}, {rows}x{columns} as it is stored)'
    require_size(name, label, size, shown, header.size)
    return 1


def turn_camera(
    camera: Sequence[float], header: ImageHeader, exif_labels: str | None
) -> Sequence[float]:
    """``(fx, fy, cx, cy)`` of the upright image. A camera is of the stored image if its centre is
    nearer to the middle of that; where both have one middle, ``exif_labels`` tells.
    """
    if header.orientation == 1:
        return camera
    focal, centre = np.array(camera[:2]), np.array(camera[2:])
    stored, upright = ((np.array(size[::-1]) - 1) / 2 for size in (header.stored, header.size))
    off_stored, off_upright = (np.linalg.norm(centre - middle) for middle in (stored, upright))
    if off_upright < off_stored or (off_upright == off_stored and exif_labels != STORED):
        return camera
    axes = turned_axes(header.orientation)
    return (*(np.abs(axes) @ focal).tolist(), *(axes @ (centre - stored) + upright).tolist())


def is_doubtful(header: ImageHeader, exif_labels: str | None) -> bool:
    """Whether labels of the image fit as it is displayed and as it is stored, and nobody said how
    they lie.
    """
    return header.orientation != 1 and header.size == header.stored and exif_labels is None


def doubt(images: Sequence[str | Path]) -> str:
    """What is said of labelled images of which :func:`is_doubtful` holds."""
    return (
        f'photos that the camera says to turn (EXIF), but whose labels fit both ways: '
        f'{len(images)}, such as {images[0]}. The labels are taken to lie as the photos are '
        f"displayed. Say exif_labels='{DISPLAYED}' in the config's data set if they do, "
        f"exif_labels='{STORED}' if they lie as the pixels are stored."
    )


def warn_of_doubtful(data_list: Sequence[dict], who: str) -> None:
    """One warning for a data set; entries of doubtful images have ``exif_doubt``."""
    images = [data['img_path'] for data in data_list if data.pop('exif_doubt', False)]
    if images:
        print_log(f'{who}: {doubt(images)}', 'current', logging.WARNING)

"""Cityscapes, from the official download."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from m2h_mm.datasets.transforms.loading import require_size
from m2h_mm.geometry.pinhole import check_camera
from m2h_mm.tasks.disparity.task import pixels_from_png
from m2h_mm.tasks.files import array_size, read_array, require_dims

from .edges import edges_from_ids
from .job import Files, SourceFrame, convert_frames

SPLITS = ('train', 'val')
# Package and ending of the files of a frame: <package>/<split>/<city>/<frame id>_<ending>
FILES = dict(
    image=('leftImg8bit', 'leftImg8bit.png'),
    labels=('gtFine', 'gtFine_labelIds.png'),
    instances=('gtFine', 'gtFine_instanceIds.png'),
    disparity=('disparity', 'disparity.png'),
    camera=('camera', 'camera.json'),
)
# The raw ids of the 19 classes in their order, and the category of each, the seven classes.
CLASS_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CATEGORIES = (0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6)
VOID = 255
SKY_ID = 23
# Rectification border and out of region of interest: strips along the frame that are no part of the
# scene.
STRIP_IDS = (2, 3)
# Below a pixel, beyond some 470 m, the error of the matching is as large as the disparity.
MIN_DISPARITY = 1.0


def convert_cityscapes(
    source_root: str | Path,
    out_dir: str | Path,
    size: tuple[int, int],
    num_classes: int = 19,
    num_workers: int | None = None,
    allow_missing: bool = False,
) -> None:
    """Write ``images``, ``segmentation``, ``edge``, ``disparity`` and ``depth``, as far as the
    frames have them.

    Args:
        source_root: folder with ``leftImg8bit``, ``gtFine``, ``disparity`` and ``camera``, of which
            the first has to be there.
        out_dir: the folder to make.
        size: (height, width) of the converted frames in pixels; (1024, 2048) copies the images.
        num_classes: 19, or 7 for the categories.
        num_workers, allow_missing: see :func:`convert_frames`.

    Raises:
        FileNotFoundError: no images of a split.
        ValueError: see :func:`convert_frames`.
    """
    frames = find_frames(Path(source_root), size)
    counts = {
        kind: sum(kind in frame.source for frame in frames) for kind in FILES if kind != 'image'
    }
    print(
        f'{len(frames)} frames; '
        + ', '.join(f'{kind} of {count}' for kind, count in counts.items())
    )
    convert_frames(
        frames,
        partial(convert_frame, size, num_classes),
        out_dir,
        source_root,
        # What there is to convert is a setting: frames that are done would not get the labels of a
        # later download.
        dict(
            dataset='cityscapes',
            size=size,
            num_classes=num_classes,
            source=[kind for kind, count in counts.items() if count],
        ),
        num_workers,
        allow_missing,
    )


def find_frames(source_root: Path, size: tuple[int, int]) -> list[SourceFrame]:
    """The frames of train and val; ``source`` is a dict of the kinds in :data:`FILES` to the files
    that are there.
    """
    frames = []
    for split in SPLITS:
        package, ending = FILES['image']
        found = sorted((source_root / package / split).glob(f'*/*_{ending}'))
        images = [path for path in found if path.is_file()]
        if not images:
            raise FileNotFoundError(_how_to_get(source_root, split))
        for image in images:
            frame_id = image.name.removesuffix(f'_{ending}')
            paths = {
                kind: source_root / package / split / image.parent.name / f'{frame_id}_{ending}'
                for kind, (package, ending) in FILES.items()
            }
            source = {kind: path for kind, path in paths.items() if path.is_file()}
            frames.append(SourceFrame(frame_id, split, source, _intrinsics(source, size)))
    return frames


def _how_to_get(source_root: Path, split: str) -> str:
    lines = [
        f'    {package}/{split}/<city>/<city>_<sequence>_<frame>_{ending}'
        for package, ending in FILES.values()
    ]
    return '\n'.join(
        [
            f'No images of {split} in {source_root.absolute()}. Expected the official download, '
            'all but the images optional:',
            f'  {source_root}/',
            *lines,
            'They are in leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip, '
            'disparity_trainvaltest.zip and camera_trainvaltest.zip, which the web site of '
            'Cityscapes offers after registration. Unpack them in one folder.',
        ]
    )


def _intrinsics(
    source: Mapping[str, Path], size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """fx, fy, cx, cy of the converted frame; None without a camera file, and if it or the image is
    damaged, in which case :func:`convert_frame` says so.
    """
    try:
        height, width = array_size(source['image'])
        camera = read_camera(source['camera'])
    except (KeyError, ValueError, OSError):
        return None
    x, y = size[1] / width, size[0] / height
    return (
        camera['fx'] * x,
        camera['fy'] * y,
        (camera['u0'] + 0.5) * x - 0.5,
        (camera['v0'] + 0.5) * y - 0.5,
    )


def read_camera(path: Path) -> dict[str, float]:
    """``fx``, ``fy``, ``u0``, ``v0`` in pixels of the full resolution and ``baseline`` in metres.

    Raises:
        ValueError: the file is not a camera file, or focal lengths or baseline are not positive.
    """
    try:
        content = json.loads(path.read_text())
        camera = {name: float(content['intrinsic'][name]) for name in ('fx', 'fy', 'u0', 'v0')}
        camera['baseline'] = float(content['extrinsic']['baseline'])
        check_camera(camera['fx'], camera['fy'], camera['u0'], camera['v0'])
        if not 0 < camera['baseline'] < math.inf:
            raise ValueError(f'the baseline is to be positive, got {camera["baseline"]}')
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} cannot be read ({error!r}). Expected JSON with intrinsic.fx, fy, u0, v0 and '
            'extrinsic.baseline.'
        ) from error
    return camera


def convert_frame(size: tuple[int, int], num_classes: int, source: Mapping[str, Path]) -> Files:
    """One frame: folder to what its file holds.

    Maps are sampled at the nearest pixel first and computed afterwards, so that no two ids and no
    valid and invalid disparity are mixed, and edges are one pixel wide at any size. Images are
    averaged over the pixels they shrink.

    Raises:
        ValueError, OSError: a file of the frame is damaged, or of another size than its image.
    """
    full_size = array_size(source['image'])
    maps = {
        kind: _sample(kind, path, source['image'], full_size, size)
        for kind, path in source.items()
        if kind not in ('image', 'camera')
    }
    files: dict[str, np.ndarray | Path] = dict(images=source['image'])
    if size != full_size:
        image = require_dims(read_array(source['image']), 3, source['image'], 'image')
        files['images'] = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    if 'labels' in maps:
        files['segmentation'] = class_table(num_classes)[maps['labels']]
    if 'instances' in maps:
        files['edge'] = instance_edges(maps['instances'])
    if 'disparity' in maps:
        files['disparity'] = maps['disparity']
    if 'camera' in source:
        camera = read_camera(source['camera'])
        if 'disparity' in maps:
            files['depth'] = depth_from_disparity(
                maps['disparity'], camera['fx'], camera['baseline']
            )
            if 'labels' in maps:
                files['depth'][maps['labels'] == SKY_ID] = 0
    return files


def _sample(
    kind: str, path: Path, image: Path, full_size: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """A map of a frame at ``size``, nearest neighbour."""
    require_size(kind, path, array_size(path), image, full_size)
    stored = require_dims(read_array(path), 2, path, kind)
    expected = np.uint8 if kind == 'labels' else np.uint16
    if stored.dtype != expected:
        raise ValueError(
            f'{path}: expected the {kind} as {np.dtype(expected)}, got {stored.dtype}.'
        )
    return cv2.resize(stored, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)


def class_table(num_classes: int) -> np.ndarray:
    """``(256,)`` uint8, raw ``labelIds`` to 0..num_classes-1, all others to 255."""
    table = np.full(256, VOID, np.uint8)
    table[list(CLASS_IDS)] = (
        CATEGORIES if num_classes == max(CATEGORIES) + 1 else np.arange(len(CLASS_IDS))
    )
    return table


def instance_edges(instances: np.ndarray) -> np.ndarray:
    """Boundaries between instances and regions ``(H, W)``, raw ``instanceIds``, as uint8, 255 on a
    boundary; none along the strips at the frame's border.
    """
    strips = np.isin(instances, STRIP_IDS).astype(np.uint8)
    return np.where(
        cv2.dilate(strips, np.ones((3, 3), np.uint8)), np.uint8(0), edges_from_ids(instances)
    )


def depth_from_disparity(stored: np.ndarray, fx: float, baseline: float) -> np.ndarray:
    """Depth along the optical axis, ``(H, W)`` float32 metres, 0 where the disparity is invalid or
    below a pixel.

    Args:
        stored: ``(H, W)`` uint16, as in the official files: 0 invalid, else 256 times the
            disparity, plus 1.
        fx: focal length in pixels of the full resolution, to which the disparity refers.
        baseline: metres between the cameras.
    """
    disparity = pixels_from_png(stored)
    return np.where(
        disparity >= MIN_DISPARITY,
        np.float32(baseline * fx) / np.maximum(disparity, MIN_DISPARITY),
        0,
    )

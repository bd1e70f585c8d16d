"""Hypersim: high-dynamic-range renderings of indoor scenes (Roberts et al., ICCV 2021)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import h5py
import numpy as np

from m2h_mm.system.paths import path_inside
from m2h_mm.system.text import read_text
from m2h_mm.tasks import Normals

from .edges import edges_from_ids
from .hypersim_camera import STANDARD_CAMERA, image_plane_rotation, intrinsics, pixel_rays
from .job import Files, SourceFrame

SPLIT_CSV, CAMERA_CSV = 'metadata_images_split_scene_v1.csv', 'metadata_camera_parameters.csv'
SPLITS = ('train', 'val', 'test')
SIZE = (768, 1024)
NUM_CLASSES = 40
MISSING = -1
"""``render_entity_id`` where the scene has a hole, ``semantic`` and ``semantic_instance`` where
there is no label.
"""

BRIGHTNESS = np.array((0.3, 0.59, 0.11), np.float32)
GAMMA = 2.2
# What is shorter is left of opposite normals that cancel, and rounding of float16 gives its
# direction.
SHORTEST_NORMAL = 1e-2


@dataclass(frozen=True)
class HypersimFrame:
    """Where the files of a frame are, and how its camera sees.

    Attributes:
        images: the folder ``images`` of its scene.
        camera_name: the trajectory, such as ``cam_00``.
        number: of the frame in it.
        size: (H, W) in pixels.
        matrix: ``(3, 3)``, pixels to rays, see :mod:`.hypersim_camera`, in the frame that depth and
            normals get.
        rotation: ``(3, 3)``, from the camera frame of the files to that frame.
    """

    images: Path
    camera_name: str
    number: int
    size: tuple[int, int]
    matrix: np.ndarray
    rotation: np.ndarray

    def path(self, kind: str) -> Path:
        """The file of a map, such as ``depth_meters``."""
        folder = f'scene_{self.camera_name}_{"final" if kind == "color" else "geometry"}_hdf5'
        return self.images / folder / f'frame.{self.number:04d}.{kind}.hdf5'


# ---- the frames there are
def list_frames(
    root: str | Path,
    split_csv: str | Path | None = None,
    camera_csv: str | Path | None = None,
    splits: Sequence[str] = SPLITS,
    scenes: Sequence[str] = ('*',),
    untilt: bool = False,
) -> list[SourceFrame]:
    """The publicly released frames of the official split.

    Args:
        root: the folder of the scenes, ``ai_VVV_NNN``.
        split_csv, camera_csv: the two tables. Default: in ``root`` under their official names.
        splits: of 'train', 'val' and 'test'.
        scenes: names, or shell patterns.
        untilt: measure depth and normals in the frame of the image plane, where every camera is an
            ordinary one; otherwise in that of the files, where a tilted camera has no intrinsics.

    Raises:
        FileNotFoundError: a table, or every scene that is selected, is missing.
        ValueError: a table is not what it should be, or nothing is selected.
    """
    root = Path(root)
    cameras = read_cameras(_find_table(camera_csv or root / CAMERA_CSV, root))
    rows = [
        row
        for row in _read_table(
            _find_table(split_csv or root / SPLIT_CSV, root),
            (
                'scene_name',
                'camera_name',
                'frame_id',
                'included_in_public_release',
                'split_partition_name',
            ),
        )
        if row['included_in_public_release'] == 'True'
        and row['split_partition_name'] in splits
        and any(fnmatch(row['scene_name'], scene) for scene in scenes)
    ]
    names = dict.fromkeys(row['scene_name'] for row in rows)
    if not names:
        raise ValueError(
            f'No frame is in the splits {list(splits)} and the scenes {list(scenes)}. Scenes are '
            "named like ai_001_001, or by a pattern like 'ai_001_*'."
        )
    if not any(path_inside(root, name, links=True).is_dir() for name in names):
        raise FileNotFoundError(
            f'None of the selected scenes, such as {next(iter(names))}, is in '
            f'{root.absolute()}.\n'
            f'{_layout(root)}'
        )

    sizes: dict[str, tuple[int, int]] = {}
    frames = []
    for row in rows:
        scene, camera_name = row['scene_name'], row['camera_name']
        path_inside(root / scene, camera_name, links=True)
        number = _frame_number(row['frame_id'])
        matrix = cameras.get(scene, STANDARD_CAMERA)
        rotation = image_plane_rotation(matrix) if untilt else np.eye(3)
        source = HypersimFrame(
            root / scene / 'images', camera_name, number, SIZE, rotation @ matrix, rotation
        )
        if scene not in sizes:
            sizes[scene] = _peek_size(source.path('depth_meters'))
        frames.append(
            SourceFrame(
                f'{scene}_{camera_name}_{number:04d}',
                row['split_partition_name'],
                replace(source, size=sizes[scene]),
                intrinsics(source.matrix, sizes[scene]),
            )
        )
    return frames


def _frame_number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f'{SPLIT_CSV}: expected the number of a frame as frame_id, got {text!r}.')
    return int(text)


def read_cameras(path: Path) -> dict[str, np.ndarray]:
    """Scene to ``M_cam_from_uv``, ``(3, 3)`` float64.

    Raises:
        ValueError: the table lacks a column, or a row a number, or a camera does not look along -z
            with x to the right and y up.
    """
    entries = [f'M_cam_from_uv_{row}{column}' for row in range(3) for column in range(3)]
    cameras = {}
    for row in _read_table(path, ('scene_name', *entries)):
        try:
            matrix = np.array([float(row[entry]) for entry in entries]).reshape(3, 3)
            if not np.isfinite(matrix).all() or not (np.linalg.det(matrix) < 0 < matrix[0, 0]):
                raise ValueError(f'M_cam_from_uv is {matrix.tolist()}')
        except (ValueError, TypeError) as error:
            raise ValueError(
                f'{path}: scene {row["scene_name"]} has no usable camera ({error}). Get the file '
                'again.'
            ) from error
        cameras[row['scene_name']] = matrix
    return cameras


def _find_table(path: str | Path, root: Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f'There is no table {Path(path).absolute()}.\n{_layout(root)}')
    return Path(path)


def _read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(read_text(path), newline=''))
    missing = [column for column in columns if column not in (table.fieldnames or ())]
    if missing:
        raise ValueError(
            f'{path}: expected a table with the columns {list(columns)}, {missing} are not '
            'there. Get the file again.'
        )
    rows = list(table)
    short = next((row for row in rows if any(row[column] is None for column in columns)), None)
    if short is not None:
        raise ValueError(f'{path}: the row {short} is cut off. Get the file again.')
    return rows


def _layout(root: Path) -> str:
    return (
        f'Expected layout:\n  {root}/\n    '
        'ai_VVV_NNN/images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5\n'
        '    ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5, ...\n'
        f'    {SPLIT_CSV}    or elsewhere, with --split-csv\n'
        f'    {CAMERA_CSV}          or elsewhere, with --camera-csv\n'
        'The scenes come by dataset_download_images.py of the repository apple/ml-hypersim; '
        'the tables are in it, '
        'in evermotion_dataset/analysis and contrib/mikeroberts3000.'
    )


def _peek_size(path: Path) -> tuple[int, int]:
    try:
        with h5py.File(path, 'r') as file:
            return file['dataset'].shape[:2]
    except Exception:  # h5py raises nearly anything on damaged files; the conversion says so
        return SIZE  # which is that of every released frame


# ---- one frame
def convert_frame(frame: HypersimFrame) -> Files:
    """The files of a frame.

    Returns:
        ``images`` uint8; ``segmentation`` uint8, 0 void, 1..40; ``depth`` float16 metres, 0
        invalid; ``normals`` uint8, (n + 1) / 2 * 255, grey where invalid; ``edge`` uint8, 255
        between instances.

    Raises:
        ValueError: a file is missing, cannot be read, or holds something else; the message names
            it.
    """
    valid = _read(frame, 'render_entity_id') != MISSING
    semantic = _read(frame, 'semantic')
    unknown = np.setdiff1d(semantic, (MISSING, *range(1, NUM_CLASSES + 1)))
    if unknown.size:
        raise ValueError(
            f'{frame.path("semantic")} holds the ids {unknown[:8].tolist()}; expected {MISSING} '
            f'and 1..{NUM_CLASSES}.'
        )
    rays = pixel_rays(frame.matrix, frame.size)
    normals = camera_normals(
        _read(frame, 'normal_cam') @ frame.rotation.astype(np.float32).T, rays, valid
    )
    return dict(
        images=tone_map(_read(frame, 'color'), valid),
        segmentation=np.where(semantic == MISSING, 0, semantic).astype(np.uint8),
        depth=planar_depth(_read(frame, 'depth_meters'), rays, valid).astype(np.float16),
        normals=Normals().to_png(normals),
        edge=edges_from_ids(_read(frame, 'semantic_instance')),
    )


def tone_map(colour: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The picture of the official script: the 90th percentile of brightness becomes 0.8.

    Args:
        colour: ``(H, W, 3)`` linear RGB; NaN counts as 0.
        valid: ``(H, W)`` bool, the pixels whose brightness counts.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    colour = np.nan_to_num(colour, nan=0, posinf=np.finfo(np.float16).max, neginf=0)
    scale = 1.0
    if valid.any():
        brightness = np.percentile((colour @ BRIGHTNESS)[valid], 90)
        scale = 0.8**GAMMA / brightness if brightness >= 1e-4 else 0.0
    return np.rint(255 * np.clip(np.maximum(scale * colour, 0) ** (1 / GAMMA), 0, 1)).astype(
        np.uint8
    )


def planar_depth(distance: np.ndarray, rays: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Depth along -z of the points at a distance along unit rays.

    Args:
        distance: ``(H, W)`` metres from the camera's centre.
        rays: ``(H, W, 3)``.
        valid: ``(H, W)`` bool.

    Returns:
        ``(H, W)`` float32 metres, 0 where not valid or the distance is no positive number.
    """
    return np.where(valid & np.isfinite(distance) & (distance > 0), -rays[..., 2] * distance, 0)


def camera_normals(normals: np.ndarray, rays: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Normals of unit length that face the camera.

    Args:
        normals: ``(H, W, 3)``, of any length and sign.
        rays: ``(H, W, 3)``.
        valid: ``(H, W)`` bool.

    Returns:
        ``(H, W, 3)`` float32, zero where not valid or there is no direction.
    """
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    usable = valid[..., None] & np.isfinite(length) & (length > SHORTEST_NORMAL)
    away = (normals * rays).sum(axis=2, keepdims=True) > 0
    return np.divide(
        normals, np.where(away, -length, length), out=np.zeros_like(normals), where=usable
    )


def _read(frame: HypersimFrame, kind: str) -> np.ndarray:
    """``(H, W)`` or ``(H, W, 3)``; what is stored in float16 comes as float32."""
    path = frame.path(kind)
    expected = frame.size if kind not in ('color', 'normal_cam') else (*frame.size, 3)
    if not path.is_file():
        raise ValueError(f'There is no {path}. Download its scene, or leave it out with --scenes.')
    try:
        with h5py.File(path, 'r') as file:
            found = file['dataset'].shape  # before it is read: a damaged one may claim anything
            stored = file['dataset'][()] if found == expected else None
    except Exception as error:
        raise ValueError(f'{path} cannot be read ({error}). Download its scene again.') from error
    if stored is None:
        raise ValueError(f'{path} is {found}; expected {expected}.')
    return stored if np.issubdtype(stored.dtype, np.integer) else stored.astype(np.float32)

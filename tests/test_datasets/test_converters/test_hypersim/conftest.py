"""Small scenes of Hypersim in the layout of the official download."""

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from m2h_mm.datasets.converters.hypersim import CAMERA_CSV, SPLIT_CSV
from m2h_mm.datasets.converters.hypersim_camera import STANDARD_CAMERA

SIZE = H, W = 24, 32
SHIFTED = [[0.578, 0, -0.035], [0, 0.4335, 0.058], [0, 0, -1.0015]]
TILTED = [[0.603, 0, -0.02], [0, 0.433, 0.1], [0, -0.13, -1.044]]
CAMERAS = {
    'ai_001_001': None,
    'ai_001_002': SHIFTED,
    'ai_002_001': TILTED,
}  # None: the table has no row
ROWS = [
    ('ai_001_001', 'cam_00', 0, 'True', 'train'),
    ('ai_001_001', 'cam_00', 12, 'False', 'train'),
    ('ai_001_001', 'cam_01', 3, 'True', 'train'),
    ('ai_001_002', 'cam_00', 7, 'True', 'val'),
    ('ai_001_002', 'cam_00', 8, 'True', 'val'),
    ('ai_002_001', 'cam_00', 1, 'True', 'test'),
]
FRAMES = {
    'train': ['ai_001_001_cam_00_0000', 'ai_001_001_cam_01_0003'],
    'val': ['ai_001_002_cam_00_0007', 'ai_001_002_cam_00_0008'],
    'test': ['ai_002_001_cam_00_0001'],
}


def file_of(root: Path, row: tuple, kind: str) -> Path:
    scene, camera, number = row[:3]
    kind_of_pass = 'final' if kind == 'color' else 'geometry'
    return (
        root
        / scene
        / 'images'
        / f'scene_{camera}_{kind_of_pass}_hdf5'
        / f'frame.{number:04d}.{kind}.hdf5'
    )


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        file.create_dataset('dataset', data=array, compression='gzip')


def noise(seed: int) -> dict[str, np.ndarray]:
    """All maps of a frame, with everything in them that the real ones have."""
    rng = np.random.default_rng(seed)
    entity = rng.integers(1, 90, SIZE).astype(np.int32)
    entity[:3] = -1
    distance = rng.uniform(0.4, 90, SIZE)
    normals = rng.normal(size=(*SIZE, 3)) * rng.uniform(0.2, 2, (*SIZE, 1))
    normals[5, :4] = 0
    distance[:2] = normals[:2] = np.nan  # row 2 has numbers, and is invalid all the same
    normals[6, 0], distance[6, 1] = np.nan, np.inf
    semantic = rng.integers(1, 41, SIZE)
    semantic[:4] = -1
    instance = np.full(SIZE, -1)
    instance[:, 10:] = 17
    instance[14:, 10:] = 3
    colour = rng.gamma(0.5, 3, (*SIZE, 3))
    colour[0, 0] = (np.nan, np.inf, -2)
    colour[8, 8] = -0.5
    return dict(
        color=colour.astype(np.float16),
        depth_meters=distance.astype(np.float16),
        normal_cam=normals.astype(np.float16),
        render_entity_id=entity,
        semantic=semantic.astype(np.int16),
        semantic_instance=instance.astype(np.int16),
    )


@pytest.fixture
def make_hypersim(tmp_path: Path) -> Callable[..., Path]:
    """Writes the frames of ROWS in the official layout; ``maps(row index, camera)`` makes those of
    one.
    """

    def make(maps: Callable[[int, np.ndarray], dict] = lambda index, _: noise(index)) -> Path:
        root = tmp_path / 'scenes'
        root.mkdir()
        with open(root / SPLIT_CSV, 'w', newline='') as file:
            table = csv.writer(file)
            table.writerow(
                [
                    'scene_name',
                    'camera_name',
                    'frame_id',
                    'included_in_public_release',
                    'exclude_reason',
                    'split_partition_name',
                ]
            )
            table.writerows(
                (*row[:4], '' if row[3] == 'True' else 'CONTENT FLAGGED FOR REMOVAL', row[4])
                for row in ROWS
            )
        with open(root / CAMERA_CSV, 'w', newline='') as file:
            table = csv.writer(file)
            table.writerow(
                [
                    'scene_name',
                    'settings_output_img_height',
                    'settings_output_img_width',
                    *(f'M_cam_from_uv_{i}{j}' for i in range(3) for j in range(3)),
                    'M_proj_00',
                ]
            )
            table.writerows(
                [name, *SIZE, *np.ravel(matrix), 1.73] for name, matrix in CAMERAS.items() if matrix
            )
        for index, row in enumerate(ROWS):
            if row[3] == 'True':
                matrix = np.array(CAMERAS[row[0]] or STANDARD_CAMERA)
                for kind, array in maps(index, matrix).items():
                    save(file_of(root, row, kind), array)
        return root

    return make


@pytest.fixture
def convert(run, tmp_path):
    """``convert(root, *options)``: the folder that is written, and what was printed."""

    def convert(root: Path, *options: str, status: int = 0) -> tuple[Path, str]:
        arguments = ('--out-dir', tmp_path / 'out', '--num-workers', 0, *options)
        return tmp_path / 'out', run('convert-data', 'hypersim', root, *arguments, status=status)

    return convert

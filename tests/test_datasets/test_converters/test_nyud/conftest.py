"""A made NYU Depth v2 in the official format, and what its conversion is read back as."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from label_fields import plain

from m2h_mm.datasets import NYUDDataset

COUNT, HEIGHT, WIDTH = 3, 480, 640
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
FX, FY, CX, CY = 518.857901, 519.469611, 325.582449, 253.736166
WALL = np.array([0.3, 0.1, 0.9]) / np.linalg.norm([0.3, 0.1, 0.9])
FLOOR = np.array([0, 0.9, 0.2]) / np.linalg.norm([0, 0.9, 0.2])
HOLE = (slice(150, 220), slice(200, 300))


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Depth and normals of a wall above a floor."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(u - CX) / FX, (CY - v) / FY, -np.ones((HEIGHT, WIDTH))], axis=-1)
    wall = -2.5 / (rays @ WALL)
    floor = np.where(rays @ FLOOR < -0.05, -1.3 / np.minimum(rays @ FLOOR, -0.05), np.inf)
    is_wall = wall < floor
    return np.minimum(wall, floor), np.where(is_wall[..., None], WALL, FLOOR)


@pytest.fixture(scope='module')
def matlab() -> dict[str, np.ndarray]:
    """The variables as MATLAB has them: the frame is the last axis."""
    rng = np.random.default_rng(0)
    depth, _ = scene()
    raw = np.repeat(depth[..., None], COUNT, axis=2).astype(np.float32)
    filled = raw.copy()
    raw[HOLE] = 0
    filled[HOLE] = rng.uniform(1, 3, filled[HOLE].shape)

    def blocks(high, kind, *channels):
        return (
            rng.integers(0, high, (12, 16, *channels, COUNT))
            .repeat(40, 0)
            .repeat(40, 1)
            .astype(kind)
        )

    labels = blocks(895, np.uint16)
    labels[:100, :200] = 7  # one class, so that only the instances differ
    return dict(
        images=blocks(256, np.uint8, 3),
        depths=filled,
        rawDepths=raw,
        labels=labels,
        instances=blocks(40, np.uint8),
    )


@pytest.fixture(scope='module')
def mapping() -> np.ndarray:
    return np.random.default_rng(1).integers(1, 41, (1, 894)).astype(np.uint8)


@pytest.fixture
def download(tmp_path, matlab, mapping) -> Path:
    """The three official files."""
    root = tmp_path / 'download'
    root.mkdir()
    path = root / 'nyu_depth_v2_labeled.mat'
    with h5py.File(path, 'w', userblock_size=512) as file:  # MATLAB 7.3
        for name, array in matlab.items():
            file.create_dataset(
                name,
                data=array.T,
                chunks=(1, *array.T.shape[1:]),
                compression='gzip',
                compression_opts=1,
            )
        text = file.create_dataset(
            '#refs#/a', data=np.array([[ord(letter)] for letter in 'wall'], np.uint16)
        )
        file.create_dataset(
            'names', data=np.array([[text.ref]], h5py.ref_dtype), dtype=h5py.ref_dtype
        )
        file.create_group('#subsystem#')
    with open(path, 'r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file')
    scipy.io.savemat(
        root / 'splits.mat',
        dict(trainNdxs=np.array([[2]], np.uint16), testNdxs=np.array([[3], [1]], np.uint16)),
    )
    scipy.io.savemat(
        root / 'classMapping40.mat',
        dict(mapClass=mapping, className=np.array([['a', 'b']], object)),
    )
    return root


def load(out: Path, split: str = 'train', **options) -> list[dict]:
    dataset = NYUDDataset(out, split, pipeline=LOAD, **options)
    return [plain(dataset[index]) for index in range(len(dataset))]

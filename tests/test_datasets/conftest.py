"""Small data sets on disk for the tests of the data side."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

SIZE = (24, 32)


@pytest.fixture
def make_nyud(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``count`` frames of random noise in the NYUD-MT layout and returns the folder."""

    def make(
        count: int = 3,
        size: tuple[int, int] = SIZE,
        image: str = '.png',
        depth: str = '.npy',
        normals: str = '.png',
        edge: str = '.png',
        name: str = 'nyud',
    ) -> Path:
        root = tmp_path / name
        rng = np.random.default_rng(0)
        for folder in ('images', 'segmentation', 'depth', 'normals', 'edge', 'gt_sets'):
            (root / folder).mkdir(parents=True)
        ids = [f'{number:04d}' for number in range(count)]
        for frame in ids:
            save(
                root / 'images' / (frame + image), rng.integers(0, 256, (*size, 3)).astype(np.uint8)
            )
            save(root / 'segmentation' / f'{frame}.png', rng.integers(0, 41, size).astype(np.uint8))
            metres = rng.integers(500, 9500, size) / 1000
            metres[:2] = 0
            save(
                root / 'depth' / (frame + depth),
                metres.astype(np.float32)
                if depth == '.npy'
                else np.rint(metres * 1000).astype(np.uint16),
            )
            vectors = rng.normal(size=(*size, 3))
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
            vectors[:2] = 0
            stored = np.rint((vectors + 1) * 127.5).astype(np.uint8)
            save(
                root / 'normals' / (frame + normals),
                vectors.astype(np.float32) if normals == '.npy' else stored,
            )
            marks = (rng.random(size) < 0.1).astype(np.uint8)
            save(
                root / 'edge' / (frame + edge),
                marks.astype(np.float32) if edge == '.npy' else marks * 255,
            )
        for split in ('train', 'val'):
            (root / 'gt_sets' / f'{split}.txt').write_text('\n'.join(ids) + '\n')
        return root

    return make


def save(path: Path, array: np.ndarray) -> None:
    if path.suffix == '.npy':
        np.save(path, array)
    else:
        assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)


CAMERA = dict(
    extrinsic=dict(baseline=0.209313, pitch=0.038, roll=0.0, x=1.7, y=0.1, yaw=-0.0195, z=1.22),
    intrinsic=dict(fx=2262.52, fy=2265.3017905988554, u0=27.5, v0=10.25),
)


@pytest.fixture
def make_cityscapes(tmp_path: Path) -> Callable[..., Path]:
    """Writes two frames of train and one of val as the official download has them, but small:
    random blocks of ids.
    """

    def make(size: tuple[int, int] = (24, 48)) -> Path:
        root = tmp_path / 'download'
        rng = np.random.default_rng(1)
        for split, city, number in (
            ('train', 'aachen', 0),
            ('train', 'bremen', 1),
            ('val', 'lindau', 2),
        ):
            stem = f'{city}_{number:06d}_000019'

            def path(package: str, ending: str, folder=(split, city), stem=stem) -> Path:
                path = root / package / Path(*folder) / f'{stem}_{ending}'
                path.parent.mkdir(parents=True, exist_ok=True)
                return path

            image = rng.integers(0, 256, (*size, 3), np.uint8)
            blocks = rng.integers(0, 34, (-(-size[0] // 4), -(-size[1] // 6))).astype(np.uint8)
            labels = blocks.repeat(4, axis=0).repeat(6, axis=1)[: size[0], : size[1]]
            labels[:, -2:] = 3
            instances = np.where(
                labels >= 24, labels.astype(np.int32) * 1000 + (np.arange(size[1]) // 9), labels
            )
            disparity = rng.integers(0, 128 * 256, size).astype(np.uint16)
            disparity[0, :8] = (0, 1, 2, 256, 257, 258, 0, 1)
            Image.fromarray(image).save(path('leftImg8bit', 'leftImg8bit.png'))
            Image.fromarray(labels).save(path('gtFine', 'gtFine_labelIds.png'))
            Image.fromarray(instances.astype(np.uint16)).save(
                path('gtFine', 'gtFine_instanceIds.png')
            )
            Image.fromarray(disparity).save(path('disparity', 'disparity.png'))
            path('camera', 'camera.json').write_text(json.dumps(CAMERA, indent=4))
        (root / 'leftImg8bit' / 'test' / 'berlin').mkdir(parents=True)
        Image.new('RGB', size[::-1]).save(
            root / 'leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png'
        )
        return root

    return make

"""Small data sets on disk for the tests of the data side."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE = (24, 32)


@pytest.fixture
def make_nyud(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``count`` frames of random noise in the NYUD-MT layout and returns the folder."""

    def make(count: int = 3, size: tuple[int, int] = SIZE, image: str = '.png', depth: str = '.npy',
             normals: str = '.png', edge: str = '.png', name: str = 'nyud') -> Path:
        root = tmp_path / name
        rng = np.random.default_rng(0)
        for folder in ('images', 'segmentation', 'depth', 'normals', 'edge', 'gt_sets'):
            (root / folder).mkdir(parents=True)
        ids = [f'{number:04d}' for number in range(count)]
        for frame in ids:
            save(root / 'images' / (frame + image), rng.integers(0, 256, (*size, 3)).astype(np.uint8))
            save(root / 'segmentation' / f'{frame}.png', rng.integers(0, 41, size).astype(np.uint8))
            metres = rng.integers(500, 9500, size) / 1000
            metres[:2] = 0
            save(root / 'depth' / (frame + depth),
                 metres.astype(np.float32) if depth == '.npy' else np.rint(metres * 1000).astype(np.uint16))
            vectors = rng.normal(size=(*size, 3))
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
            vectors[:2] = 0
            stored = np.rint((vectors + 1) * 127.5).astype(np.uint8)
            save(root / 'normals' / (frame + normals), vectors.astype(np.float32) if normals == '.npy' else stored)
            marks = (rng.random(size) < 0.1).astype(np.uint8)
            save(root / 'edge' / (frame + edge), marks.astype(np.float32) if edge == '.npy' else marks * 255)
        for split in ('train', 'val'):
            (root / 'gt_sets' / f'{split}.txt').write_text('\n'.join(ids) + '\n')
        return root

    return make


def save(path: Path, array: np.ndarray) -> None:
    if path.suffix == '.npy':
        np.save(path, array)
    else:
        assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)

"""A made release of PASCAL-Context whose files are built as the official ones are."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from label_fields import plain
from PIL import Image

from m2h_mm.datasets import PASCALContextMTDataset

SIZE = (20, 28)
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
TRAIN, VAL = ['2008_000008', '2008_000015', '2009_000001'], ['2010_000002', '2010_000003']


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


# Per frame: objects of (class, number, mask, parts).
COW = ('cow', 10, box(0, 0, 20, 28), [('head', box(0, 0, 5, 5)), ('torso', box(5, 5, 9, 9))])
WHOLE = (
    'person',
    15,
    box(2, 3, 18, 12),
    [
        ('torso', box(2, 3, 12, 12)),
        ('hair', box(2, 3, 4, 9)),
        ('mouth', box(4, 5, 5, 7)),
        ('neck', box(5, 4, 6, 9)),
        ('ruarm', box(6, 3, 9, 5)),
        ('lhand', box(9, 3, 10, 5)),
        ('luleg', box(12, 4, 15, 8)),
        ('rlleg', box(15, 4, 17, 8)),
        ('lfoot', box(17, 4, 18, 8)),
    ],
)
IN_FRONT = (
    'person',
    15,
    box(4, 8, 12, 20),
    [('hair', box(4, 8, 8, 20)), ('torso', box(8, 8, 12, 20))],
)
WITHOUT_PARTS = ('person', 15, box(10, 20, 20, 28), [])
OBJECTS = dict(
    zip(
        TRAIN + VAL,
        ([COW, WHOLE, WITHOUT_PARTS], [COW], [WITHOUT_PARTS], [WHOLE, IN_FRONT], [IN_FRONT]),
        strict=True,
    )
)


def write_parts(path: Path, objects: list) -> None:
    """Nested structs of MATLAB, as PASCAL-Part stores them."""
    stored = np.zeros(
        (1, len(objects)), [(name, object) for name in ('class', 'class_ind', 'mask', 'parts')]
    )
    for index, (name, number, mask, parts) in enumerate(objects):
        listed = np.zeros((1, len(parts)), [('part_name', object), ('mask', object)])
        for position, part in enumerate(parts):
            listed[0, position] = part
        stored[0, index] = (name, number, mask, listed if parts else np.zeros((0, 0)))
    anno = np.zeros((1, 1), [('imname', object), ('objects', object)])
    anno[0, 0] = (path.stem, stored)
    scipy.io.savemat(path, dict(anno=anno), do_compression=True)


def write_frame(root: Path, frame_id: str, voc: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(int(frame_id.replace('_', '')))
    arrays = dict(
        semseg=rng.choice([*range(21), 255], SIZE).astype(np.uint8),
        normals=rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8),
        saliency=rng.choice([0, 127, 128, 255], SIZE).astype(np.uint8),
        label_map=np.kron(
            rng.choice([158, 440, 284, 420, 360, 9], (5, 7)), np.ones((4, 4), int)
        ).astype(np.uint16),
    )
    arrays['normals'][3:5, 7:11] = 0
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)).save(
        root / 'JPEGImages' / f'{frame_id}.jpg'
    )
    picture = Image.fromarray(arrays['semseg'])
    picture.putpalette(rng.integers(0, 256, 768).astype(np.uint8).tobytes())
    assert picture.mode == 'P'
    picture.save(root / 'semseg' / ('VOC12' if voc else 'pascal-context') / f'{frame_id}.png')
    Image.fromarray(arrays['normals']).save(root / 'normals_distill' / f'{frame_id}.png')
    Image.fromarray(arrays['saliency']).save(root / 'sal_distill' / f'{frame_id}.png')
    scipy.io.savemat(
        root / 'pascal-context' / 'trainval' / f'{frame_id}.mat', dict(LabelMap=arrays['label_map'])
    )
    write_parts(root / 'human_parts' / f'{frame_id}.mat', OBJECTS[frame_id])
    return arrays


@pytest.fixture
def release(tmp_path) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    """Its folder, and what was stored of each frame."""
    root = tmp_path / 'release'
    for folder in (
        'JPEGImages',
        'ImageSets/Context',
        'semseg/VOC12',
        'semseg/pascal-context',
        'human_parts',
        'normals_distill',
        'sal_distill',
        'pascal-context/trainval',
    ):
        (root / folder).mkdir(parents=True)
    for split, ids in (('train', TRAIN), ('val', VAL)):
        (root / 'ImageSets' / 'Context' / f'{split}.txt').write_text(
            ''.join(f'{frame_id}\n' for frame_id in ids)
        )
    return root, {
        frame_id: write_frame(root, frame_id, voc=index % 2 == 0)
        for index, frame_id in enumerate(TRAIN + VAL)
    }


def load(root: Path, split: str = 'train') -> dict[str, dict]:
    return {
        frame['frame_id']: plain(frame)
        for frame in PASCALContextMTDataset(root, split, pipeline=LOAD)
    }

"""The converter of PASCAL-Context, on a made release whose files are built as the official ones
are.
"""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from label_fields import plain
from PIL import Image

from m2h_mm.datasets import PASCALContextMTDataset
from m2h_mm.datasets.converters.pascal_context import (
    NYU_CLASSES,
    convert_pascal_context,
    label_map_edges,
)
from m2h_mm.datasets.nyud import NYU40_CLASSES
from m2h_mm.tasks.edge.thinning import thin

SIZE = (20, 28)
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
TRAIN, VAL = ['2008_000008', '2008_000015', '2009_000001'], ['2010_000002', '2010_000003']
EXPECTED_PARTS = dict(
    background=0, hair=1, mouth=1, neck=2, torso=2, ruarm=3, lhand=4, luleg=5, rlleg=6, lfoot=6
)


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


def slow_parts(objects: list) -> np.ndarray:
    expected = np.full(SIZE, 255)
    persons = [parts for _, number, _, parts in objects if number == 15 and parts]
    for row in range(SIZE[0]) if persons else ():
        for column in range(SIZE[1]):
            names = [
                'background',
                *(name for parts in persons for name, mask in parts if mask[row, column]),
            ]
            expected[row, column] = EXPECTED_PARTS[names[-1]]
    return expected


def slow_laplacian(ids: np.ndarray) -> np.ndarray:
    (height, width), ids = ids.shape, ids.astype(int)
    marked = np.zeros(ids.shape, bool)
    for row in range(height):
        for column in range(width):
            around = [
                (abs(row - 1), column),
                (min(row + 1, 2 * height - 3 - row), column),
                (row, abs(column - 1)),
                (row, min(column + 1, 2 * width - 3 - column)),
            ]
            marked[row, column] = sum(ids[place] for place in around) != 4 * ids[row, column]
    return marked


@pytest.mark.parametrize('num_workers', [0, 2])
def test_every_label_is_what_a_slow_computation_finds(release, tmp_path, num_workers):
    root, stored = release
    out = tmp_path / 'out'
    convert_pascal_context(root, out, num_workers=num_workers)
    frames = {**load(out), **load(out, 'val')}
    assert list(frames) == TRAIN + VAL
    masked = 0
    for frame_id, frame in frames.items():
        arrays = stored[frame_id]
        copied, original = (
            folder / f'{frame_id}.jpg' for folder in (out / 'images', root / 'JPEGImages')
        )
        assert copied.read_bytes() == original.read_bytes()
        np.testing.assert_array_equal(frame['gt_semseg'], arrays['semseg'])
        np.testing.assert_array_equal(frame['gt_human_parts'], slow_parts(OBJECTS[frame_id]))
        np.testing.assert_array_equal(frame['gt_saliency'], arrays['saliency'] > 127)
        np.testing.assert_array_equal(frame['gt_edge'], thin(slow_laplacian(arrays['label_map'])))
        for place in np.ndindex(*SIZE):
            vector = arrays['normals'][place] * (2 / 255) - 1
            length = np.linalg.norm(vector)
            known = (
                arrays['label_map'][place] in (158, 440, 284, 9) and arrays['normals'][place].any()
            )
            masked += not known
            expected = vector / length if known and length > 0.5 else np.zeros(3)
            np.testing.assert_allclose(frame['gt_normals'][place], expected, atol=1e-5)
        assert 'cam2img' not in frame
    assert 0.2 < masked / (5 * SIZE[0] * SIZE[1]) < 0.8
    assert (frames[TRAIN[1]]['gt_human_parts'] == 255).all() and (
        frames[TRAIN[2]]['gt_human_parts'] == 255
    ).all()
    assert set(np.unique(frames[TRAIN[0]]['gt_human_parts'])) == set(range(7))


def test_classes_shared_with_nyu_and_one_that_is_called_otherwise():
    assert set(NYU_CLASSES) - set(NYU40_CLASSES) == {'tvmonitor'}
    assert len(set(NYU_CLASSES.values())) == 25 and sorted(NYU_CLASSES) == sorted(
        NYU_CLASSES, key=NYU_CLASSES.get
    )


def test_normals_of_every_class_and_in_another_convention(release, tmp_path):
    root, stored = release
    convert_pascal_context(root, tmp_path / 'out', 'geonet', every_class=True, num_workers=0)
    for frame_id, frame in load(tmp_path / 'out').items():
        vectors = stored[frame_id]['normals'] * (2 / 255) - 1
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        expected = vectors / lengths * (1, -1, -1)  # y down, z forward
        expected[(lengths[..., 0] < 0.5) | ~stored[frame_id]['normals'].any(axis=2)] = 0
        np.testing.assert_allclose(frame['gt_normals'], expected, atol=1e-5)


def test_a_laplacian_of_zero_is_no_edge_though_classes_meet():
    ramp = np.repeat(np.array([[1, 2, 3, 4, 4]]), 5, axis=0)
    np.testing.assert_array_equal(label_map_edges(ramp) > 0, thin(slow_laplacian(ramp)))
    assert not label_map_edges(ramp)[:, 1:3].any() and label_map_edges(ramp).any()
    assert set(np.unique(label_map_edges(ramp))) == {0, 255}


def test_segmentation_of_voc_goes_first(release, tmp_path):
    root, _ = release
    other = np.full(SIZE, 7, np.uint8)
    Image.fromarray(other).save(root / 'semseg' / 'pascal-context' / f'{TRAIN[0]}.png')
    Image.fromarray(other).save(root / 'semseg' / 'VOC12' / f'{TRAIN[1]}.png')
    convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    frames = load(tmp_path / 'out')
    assert (frames[TRAIN[1]]['gt_semseg'] == 7).all() and not (
        frames[TRAIN[0]]['gt_semseg'] == 7
    ).all()


def test_a_frame_may_lack_any_label(release, tmp_path, capsys):
    root, _ = release
    (root / 'sal_distill' / f'{TRAIN[0]}.png').unlink()
    (root / 'human_parts' / f'{TRAIN[0]}.mat').unlink()
    (root / 'pascal-context' / 'trainval' / f'{TRAIN[1]}.mat').unlink()
    convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    said = capsys.readouterr().out
    assert 'semseg 5, human_parts 4, saliency 4, normals 5, label_map 4' in said
    fields = [
        {key for key in frame if key.startswith('gt_')} for frame in load(tmp_path / 'out').values()
    ]
    assert fields == [
        {'gt_semseg', 'gt_normals', 'gt_edge'},
        {'gt_semseg', 'gt_human_parts', 'gt_saliency'},
        {'gt_semseg', 'gt_human_parts', 'gt_saliency', 'gt_normals', 'gt_edge'},
    ]


@pytest.mark.parametrize(
    'folder',
    [
        'JPEGImages',
        'semseg/VOC12',
        'human_parts',
        'normals_distill',
        'sal_distill',
        'pascal-context/trainval',
    ],
)
@pytest.mark.parametrize('damage', ['cut', 'empty', 'other'])
def test_a_damaged_file_is_named_and_the_others_are_kept(release, tmp_path, folder, damage):
    root, _ = release
    path = next((root / folder).glob(f'{TRAIN[2]}.*'))
    content = path.read_bytes()
    path.write_bytes(
        dict(cut=content[: len(content) // 2], empty=b'', other=b'<html>' * 40)[damage]
    )
    with pytest.raises(
        ValueError,
        match=rf'1 frames cannot be converted:\n  {TRAIN[2]}: '
        rf'.*{folder}/{path.name}',
    ):
        convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    assert sorted(file.stem for file in (tmp_path / 'out' / 'images').iterdir()) == sorted(
        {*TRAIN, *VAL} - {TRAIN[2]}
    )
    path.write_bytes(content)
    convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    assert list(load(tmp_path / 'out')) == TRAIN


def test_files_of_another_kind_are_named(release, tmp_path):
    root, _ = release
    small = np.zeros((10, 10), np.uint8)
    scipy.io.savemat(root / 'pascal-context' / 'trainval' / f'{TRAIN[0]}.mat', dict(other=small))
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(
        root / 'semseg' / 'pascal-context' / f'{TRAIN[1]}.png'
    )
    Image.fromarray(small).save(root / 'sal_distill' / f'{TRAIN[2]}.png')
    Image.fromarray(np.full(SIZE, 21, np.uint8)).save(
        root / 'semseg' / 'pascal-context' / f'{VAL[0]}.png'
    )
    write_parts(
        root / 'human_parts' / f'{VAL[1]}.mat',
        [('person', 15, box(0, 0, 9, 9), [('wing', box(0, 0, 9, 9))])],
    )
    with pytest.raises(ValueError) as error:
        convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    lines = str(error.value).split('\n')[1:6]
    for line, words in zip(
        lines,
        [
            ('LabelMap', f'{TRAIN[0]}.mat'),
            ('it is RGB',),
            ('10x10', '20x28'),
            ('[21]',),
            ("'wing'", 'luarm'),
        ],
        strict=True,
    ):
        assert all(word in line for word in words), line
    write_parts(root / 'human_parts' / f'{VAL[1]}.mat', [('person', 15, small, [('head', small)])])
    with pytest.raises(ValueError, match=rf'human_parts/{VAL[1]}.mat cannot be read'):
        convert_pascal_context(root, tmp_path / 'out', num_workers=0)


def test_what_is_missing_of_the_release_is_said(release, tmp_path):
    root, _ = release
    (root / 'ImageSets' / 'Context' / 'val.txt').unlink()
    os.rename(root / 'normals_distill', root / 'normals')
    with pytest.raises(
        FileNotFoundError,
        match=r'no ImageSets/Context/val.txt, no '
        r'normals_distill\.\nExpected:\n',
    ):
        convert_pascal_context(root, tmp_path / 'out')


def test_the_command_and_a_second_run(release, tmp_path, run):
    root, _ = release
    (root / 'JPEGImages' / f'{VAL[0]}.jpg').unlink()

    convert = partial(run, 'convert-data', 'pascal_context', root, '--out-dir', tmp_path / 'out')
    said = convert('--num-workers', 0, '--allow-missing')
    assert f'JPEGImages/{VAL[0]}.jpg' in said
    assert (tmp_path / 'out' / 'gt_sets' / 'val.txt').read_text() == f'{VAL[1]}\n'
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').glob('*/*.*g')}
    said = convert('--num-workers', 0, '--allow-missing')
    assert '4 frames, 0 of them converted now' in said
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').glob('*/*.*g')}
    for options, words in (
        (['--normals-of-every-class'], 'normals_of_every_class = False, now True'),
        (['--normals-convention', 'sideways'], 'sideways'),
    ):
        assert words in convert(*options, status=1)

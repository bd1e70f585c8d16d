"""Cityscapes: from files in the official format to samples."""

import json
import math
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from label_fields import plain
from PIL import Image

from m2h_mm.datasets import MultiTaskCityscapesDataset
from m2h_mm.datasets.converters.cityscapes import (
    class_table,
    convert_cityscapes,
    convert_frame,
    instance_edges,
)
from m2h_mm.tasks.edge.thinning import thin

FULL = (24, 48)
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
FIRST = 'aachen_000000_000019'
FX, FY, U0, V0, BASELINE = 2262.52, 2265.3017905988554, 27.5, 10.25, 0.209313
# Raw ids by class, as the benchmark lists them: name, category.
CLASSES = {
    7: ('road', 'flat'),
    8: ('sidewalk', 'flat'),
    11: ('building', 'construction'),
    12: ('wall', 'construction'),
    13: ('fence', 'construction'),
    17: ('pole', 'object'),
    19: ('traffic light', 'object'),
    20: ('traffic sign', 'object'),
    21: ('vegetation', 'nature'),
    22: ('terrain', 'nature'),
    23: ('sky', 'sky'),
    24: ('person', 'human'),
    25: ('rider', 'human'),
    26: ('car', 'vehicle'),
    27: ('truck', 'vehicle'),
    28: ('bus', 'vehicle'),
    31: ('train', 'vehicle'),
    32: ('motorcycle', 'vehicle'),
    33: ('bicycle', 'vehicle'),
}


@pytest.fixture
def source(make_cityscapes) -> Path:
    return make_cityscapes()


def convert(source: Path, out: Path, size=FULL, **options) -> None:
    convert_cityscapes(source, out, size, **{**dict(num_workers=0), **options})


def official(
    source: Path, package: str, ending: str, frame: str = FIRST, split: str = 'train'
) -> Path:
    return source / package / split / frame.split('_')[0] / f'{frame}_{ending}'


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def samples(out: Path, split: str = 'train', num_classes: int = 19) -> dict:
    tasks = dict(semseg=dict(num_classes=num_classes), depth=dict(), disparity=dict(), edge=dict())
    return {
        sample['frame_id']: plain(sample)
        for sample in MultiTaskCityscapesDataset(
            out, split, tasks, pipeline=LOAD, serialize_data=False
        )
    }


@pytest.mark.parametrize('size', [FULL, (12, 24), (16, 24)])
def test_a_sample_is_what_the_official_files_say(source, tmp_path, size):
    convert(source, tmp_path / 'out', size)
    sample = samples(tmp_path / 'out')[FIRST]
    image, labels, instances, stored = (
        read(official(source, *name))
        for name in (
            ('leftImg8bit', 'leftImg8bit.png'),
            ('gtFine', 'gtFine_labelIds.png'),
            ('gtFine', 'gtFine_instanceIds.png'),
            ('disparity', 'disparity.png'),
        )
    )
    steps = FULL[0] / size[0], FULL[1] / size[1]
    names = list(CLASSES)
    ids, marks = np.zeros(size, int), np.zeros(size, bool)
    for row in range(size[0]):
        for column in range(size[1]):
            y, x = int((row + 0.5) * steps[0]), int((column + 0.5) * steps[1])
            label, p = labels[y, x], stored[y, x]
            ids[row, column] = instances[y, x]
            assert sample['gt_semseg'][row, column] == (
                names.index(label) if label in names else 255
            )
            disparity = (p - 1) / 256 if p else 0
            assert sample['gt_disparity'][row, column] == disparity
            depth = BASELINE * FX / disparity if disparity >= 1 and label != 23 else 0
            assert sample['gt_depth'][row, column] == pytest.approx(depth, rel=1e-6)
            if size != (16, 24):
                top, left = int(row * steps[0]), int(column * steps[1])
                block = image[top : top + int(steps[0]), left : left + int(steps[1])]
                assert np.abs(sample['img'][row, column] - block.mean(axis=(0, 1))).max() <= 0.75
    near_strip = np.zeros(size, bool)
    for row in range(size[0]):
        for column in range(size[1]):
            marks[row, column] = (
                column + 1 < size[1]
                and ids[row, column] != ids[row, column + 1]
                or row + 1 < size[0]
                and ids[row, column] != ids[row + 1, column]
            )
            around = ids[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            near_strip[row, column] = ((around == 2) | (around == 3)).any()
    assert near_strip.any() and (marks & near_strip).any()
    np.testing.assert_array_equal(sample['gt_edge'], thin(marks) & ~near_strip)
    fx, fy = FX / steps[1], FY / steps[0]
    expected = [
        [fx, 0, (U0 + 0.5) / steps[1] - 0.5],
        [0, fy, (V0 + 0.5) / steps[0] - 0.5],
        [0, 0, 1],
    ]
    np.testing.assert_allclose(sample['cam2img'], expected, rtol=1e-12)


def test_at_full_size_images_and_disparities_are_the_official_ones(source, tmp_path):
    convert(source, tmp_path / 'out')
    image = tmp_path / 'out' / 'images' / f'{FIRST}.png'
    assert image.read_bytes() == official(source, 'leftImg8bit', 'leftImg8bit.png').read_bytes()
    stored = read(tmp_path / 'out' / 'disparity' / f'{FIRST}.png')
    np.testing.assert_array_equal(stored, read(official(source, 'disparity', 'disparity.png')))


def test_no_depth_is_infinite(source, tmp_path):
    convert(source, tmp_path / 'out')
    for sample in samples(tmp_path / 'out').values():
        stored = read(official(source, 'disparity', 'disparity.png', sample['frame_id']))
        assert {0, 1, 2, 256, 257} <= set(stored.ravel())
        depth = sample['gt_depth']
        assert 0 < depth.max() <= math.ceil(BASELINE * FX) and (depth[stored <= 256] == 0).all()
        assert (sample['gt_disparity'] == 0).sum() == (stored <= 1).sum()


def test_splits_and_the_test_split_is_left_out(source, tmp_path):
    convert(source, tmp_path / 'out')
    lists = {
        path.stem: path.read_text().split() for path in (tmp_path / 'out' / 'gt_sets').iterdir()
    }
    assert lists == dict(train=[FIRST, 'bremen_000001_000019'], val=['lindau_000002_000019'])
    assert len(list((tmp_path / 'out' / 'images').iterdir())) == 3


def test_classes():
    table = class_table(19)
    assert {raw: table[raw] for raw in range(256) if table[raw] != 255} == {
        raw: number for number, raw in enumerate(CLASSES)
    }
    order = ['flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle']
    assert [class_table(7)[raw] for raw in range(34)] == [
        order.index(CLASSES[raw][1]) if raw in CLASSES else 255 for raw in range(34)
    ]
    assert (class_table(7)[34:] == 255).all()


def test_edges_part_two_cars_and_not_the_strips():
    instances = np.full((9, 12), 26001, np.uint16)
    instances[:, 6:] = 26002
    instances[:, 0], instances[-1] = 2, 3
    edges = instance_edges(instances)
    assert edges.dtype == np.uint8 and set(np.unique(edges)) == {0, 255}
    expected = np.zeros((9, 12), bool)
    expected[:7, 5] = True
    np.testing.assert_array_equal(edges > 0, expected)


# ---- what is missing or damaged
KINDS = dict(
    image=('leftImg8bit', 'leftImg8bit.png'),
    labels=('gtFine', 'gtFine_labelIds.png'),
    instances=('gtFine', 'gtFine_instanceIds.png'),
    disparity=('disparity', 'disparity.png'),
    camera=('camera', 'camera.json'),
)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [FULL, (12, 24)])
def test_a_file_that_is_cut_off_is_named_and_the_other_frames_are_kept(
    source, tmp_path, kind, size
):
    path = official(source, *KINDS[kind])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=rf'1 frames cannot be converted:\n  {FIRST}: .*{path.name}'
    ):
        convert(source, tmp_path / 'out', size)
    images = tmp_path / 'out' / 'images'
    assert {file.stem for file in images.iterdir()} == {
        'bremen_000001_000019',
        'lindau_000002_000019',
    }
    path.write_bytes(content)
    convert(source, tmp_path / 'out', size)
    sample = samples(tmp_path / 'out')[FIRST]
    assert 'cam2img' in sample and 'gt_depth' in sample


@pytest.mark.parametrize(
    ('kind', 'content', 'said'),
    [
        ('disparity', np.zeros(FULL, np.uint8), 'expected the disparity as uint16, got uint8'),
        ('labels', np.zeros((24, 47), np.uint8), r'24x47, its image'),
        ('labels', np.full((*FULL, 3), (0, 1, 2), np.uint8), 'expected'),
        (
            'camera',
            dict(intrinsic=dict(fx=1, fy=1, u0=1, v0=1), extrinsic={}),
            "KeyError.'baseline'",
        ),
        (
            'camera',
            dict(intrinsic=dict(fx=0, fy=1, u0=1, v0=1), extrinsic=dict(baseline=1)),
            'positive fx and fy',
        ),
        ('camera', [], 'Expected JSON with intrinsic.fx'),
    ],
)
def test_a_file_with_something_else_in_it_is_named(source, kind, content, said):
    path = official(source, *KINDS[kind])
    if kind == 'camera':
        path.write_text(json.dumps(content))
    else:
        assert cv2.imwrite(str(path), content)
    with pytest.raises(ValueError, match=rf'(?s){path.name}.*{said}'):
        convert_frame(FULL, 19, {name: official(source, *ending) for name, ending in KINDS.items()})


@pytest.mark.parametrize(
    ('kind', 'gone'),
    [
        ('labels', {'gt_semseg'}),
        ('instances', {'gt_edge'}),
        ('disparity', {'gt_disparity', 'gt_depth'}),
        ('camera', {'gt_depth', 'cam2img'}),
    ],
)
def test_a_frame_without_a_file_lacks_what_is_made_of_it(source, tmp_path, capsys, kind, gone):
    official(source, *KINDS[kind]).unlink()
    convert(source, tmp_path / 'out')
    assert f'{kind} of 2' in capsys.readouterr().out
    first, second = samples(tmp_path / 'out').values()
    assert second.keys() - first.keys() == gone


def test_a_missing_download_is_said_with_what_to_do(source, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r'(?s)No images of '
        r'train.*leftImg8bit/train/<city>.*gtFine_trainval',
    ):
        convert(tmp_path / 'nowhere', tmp_path / 'out')
    official(source, 'leftImg8bit', 'leftImg8bit.png', 'lindau_000002_000019', 'val').unlink()
    with pytest.raises(FileNotFoundError, match='No images of val'):
        convert(source, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


# ---- again
def test_a_second_run_does_nothing(source, tmp_path, capsys):
    convert(source, tmp_path / 'out')
    times = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / 'out').glob('*/*.*')
        if path.suffix != '.txt'
    }
    assert len(times) == 15
    convert(source, tmp_path / 'out')
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert '3 frames, 0 of them converted now' in capsys.readouterr().out


def test_other_settings_need_another_folder(source, tmp_path):
    for package, *_ in KINDS.values():
        if package == 'disparity':
            (source / package).rename(tmp_path / 'later')
    convert(source, tmp_path / 'out')
    for options, said in (
        (dict(size=(12, 24)), r'size = \[24, 48\], now \[12, 24\]'),
        (dict(num_classes=7), 'num_classes = 19, now 7'),
    ):
        with pytest.raises(ValueError, match=said):
            convert(source, tmp_path / 'out', **options)
    (tmp_path / 'later').rename(source / 'disparity')
    with pytest.raises(ValueError, match=r"source = \['labels', 'instances', 'camera'\], now"):
        convert(source, tmp_path / 'out')


def test_the_command_line(source, tmp_path, run):
    convert = partial(run, 'convert-data', 'cityscapes', source)
    convert('--size', 12, 24, '--classes', 7, '--num-workers', 0)
    sample = samples(tmp_path / 'data' / 'CityscapesMT', num_classes=7)[FIRST]
    labels = read(official(source, 'gtFine', 'gtFine_labelIds.png'))[1::2, 1::2]
    np.testing.assert_array_equal(sample['gt_semseg'], class_table(7)[labels])
    assert 'argument --size: expected a whole number' in convert('--size', 0, 24, status=2)

"""Labels and cameras of photos that a camera took on its side."""

import json
import logging

import cv2
import numpy as np
import pytest
from image_kinds import exif
from PIL import Image

from m2h_mm.datasets import NYUDDataset
from m2h_mm.datasets.inspection import inspect_dataset
from m2h_mm.structures.orientation import turn_upright

SIZE = (24, 32)
PIPELINE = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
FIELDS = ('gt_semseg', 'gt_depth', 'gt_normals', 'gt_edge')
CAMERA = [30.0, 40.0, 14.5, 12.0]
# To what is to be found when the stored pixels are turned upright, and back.
BACK = {5: 5, 6: 8, 7: 7, 8: 6, 2: 2, 3: 3, 4: 4}


@pytest.fixture
def photos(make_nyud):
    """``photos(orientation)``: a data set and what its frame is, upright. Its photos are stored as
    the orientation says, its labels lie as the photos are ``stored`` or displayed.
    """

    def make(orientation, stored, size=SIZE):
        name = f'{orientation}{stored}{size}'
        root = make_nyud(count=2, size=size, depth='.npy', normals='.npy', name=f'upright{name}')
        (root / 'cameras.json').write_text(json.dumps({'0000': CAMERA}))
        expected = sample(root)
        other = make_nyud(count=2, size=size, depth='.npy', normals='.npy', name=name)
        (other / 'cameras.json').write_text(json.dumps({'0000': CAMERA}))
        for path in sorted(other.glob('*/*.*')):
            if path.parent.name == 'images':
                pixels = turn_upright(cv2.imread(str(path))[..., ::-1], BACK[orientation])
                Image.fromarray(pixels).save(path, exif=exif(orientation))
            elif stored and path.suffix in ('.npy', '.png'):
                lay_down(path, orientation)
        if stored:
            camera = lay_camera(orientation, size)
            (other / 'cameras.json').write_text(json.dumps({'0000': camera}))
        return other, expected

    return make


def lay_down(path, orientation):
    """Turn a label as its stored photo lies; of normals, the vectors too."""
    back = BACK[orientation]
    if path.suffix == '.png':
        array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), turn_upright(array, back))
        return
    array = turn_upright(np.load(path), back)
    if array.ndim == 3:
        x, y, z = np.moveaxis(array, 2, 0)
        x, y = {
            2: (-x, y),
            3: (-x, -y),
            4: (x, -y),
            5: (-y, -x),
            6: (-y, x),
            7: (y, x),
            8: (y, -x),
        }[orientation]
        array = np.stack([x, y, z], axis=2)
    np.save(path, array)


def lay_camera(orientation, size):
    fx, fy, cx, cy = CAMERA
    right, below = size[1] - 1 - cx, size[0] - 1 - cy
    return {
        2: [fx, fy, right, cy],
        3: [fx, fy, right, below],
        4: [fx, fy, cx, below],
        5: [fy, fx, cy, cx],
        6: [fy, fx, cy, right],
        7: [fy, fx, below, right],
        8: [fy, fx, below, cx],
    }[orientation]


def build(root, **options):
    return NYUDDataset(root, pipeline=PIPELINE, check_normals=False, **options)


def sample(root, **options):
    return build(root, **options)[0]


def assert_same(found, expected):
    np.testing.assert_array_equal(found['img'], expected['img'])
    for field in FIELDS:
        np.testing.assert_array_equal(found[field].valid, expected[field].valid)
        np.testing.assert_allclose(found[field].value, expected[field].value, atol=1e-6)
    np.testing.assert_allclose(found['cam2img'], expected['cam2img'])


@pytest.fixture
def said(monkeypatch):
    """What is logged about orientations."""
    lines = []
    monkeypatch.setattr(
        'm2h_mm.datasets.orientation.print_log', lambda text, _, level: lines.append((text, level))
    )
    return lines


@pytest.mark.parametrize('stored', [False, True], ids=['displayed', 'stored'])
@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_labels_of_a_photo_on_its_side_are_recognised_by_their_size(
    photos, orientation, stored, said
):
    root, expected = photos(orientation, stored)
    assert_same(sample(root), expected)
    assert not said
    report = inspect_dataset(build(root, lazy_init=True), ['train'])
    assert not [f for f in report.findings if f.fatal or 'EXIF' in f.kind]


@pytest.mark.parametrize('stored', [False, True], ids=['displayed', 'stored'])
@pytest.mark.parametrize(
    ('orientation', 'size'), [(2, SIZE), (3, SIZE), (4, SIZE), (6, (24, 24))], ids=str
)
def test_where_both_fit_it_is_asked_for(photos, orientation, size, stored, said):
    root, expected = photos(orientation, stored, size)
    assert_same(sample(root, exif_labels='stored' if stored else 'displayed'), expected)
    assert not said
    dataset = build(root)
    ((text, level),) = said
    assert level == logging.WARNING
    assert '(EXIF), but whose labels fit both ways: 2, such as' in text
    assert "exif_labels='stored' if" in text
    if not stored:  # the default
        assert_same(dataset[0], expected)
    report = inspect_dataset(build(root, lazy_init=True), ['train'])
    assert len([f for f in report.findings if 'EXIF' in f.kind and not f.fatal]) == 2


def test_labels_may_lie_differently(photos):
    """Depth as the sensor has it, classes drawn on what is displayed."""
    root, expected = photos(6, False)
    for path in (root / 'depth').iterdir():
        lay_down(path, 6)
    assert_same(sample(root), expected)


def test_a_label_that_fits_neither_way_names_exif(photos):
    root, _ = photos(6, False)
    np.save(root / 'depth' / '0000.npy', np.ones((20, 20), np.float32))
    with pytest.raises(ValueError, match=r'20x20, .*orientation 6, 32x24 as it is stored\) is 24x'):
        build(root)


def test_a_photo_that_lost_its_orientation_is_told_from_another_release(photos):
    root, _ = photos(6, False)
    path = root / 'images' / '0000.png'
    Image.open(path).copy().save(path, exif=b'')
    with pytest.raises(ValueError, match='lies on its side: turn it, or restore the EXIF'):
        build(root)


def test_only_two_ways_are_known(make_nyud):
    with pytest.raises(ValueError, match="exif_labels: expected 'displayed', 'stored' or None"):
        build(make_nyud(), exif_labels='upright')

"""Every label of NYU Depth v2 is what its definition says, for every crop and convention."""

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import NYUDDataset
from m2h_mm.datasets.converters.nyud import CROPS, NYU40_TO_NYU13, convert_nyud
from m2h_mm.datasets.nyud import NYU13_CLASSES, NYU40_CLASSES
from m2h_mm.tasks.edge.thinning import thin

from .conftest import COUNT, CX, CY, FX, FY, HOLE, load, scene

CORNERS = {
    'full': (0, 0, 480, 640),
    'toolkit': (44, 40, 471, 601),
    'eigen': (45, 41, 471, 601),
    'mt': (44, 40, 469, 600),
}


def degrees(found, expected):
    return np.degrees(np.arccos(np.clip((found * expected).sum(axis=-1), -1, 1)))


@pytest.mark.parametrize('crop', list(CORNERS))
def test_all_labels_pixel_for_pixel(tmp_path, download, matlab, mapping, crop):
    out = tmp_path / 'out'
    convert_nyud(download, out, crop=crop, num_workers=0)
    top, left, bottom, right = CORNERS[crop]
    assert CROPS[crop] == (bottom - top, right - left)
    for split, numbers in (('train', [2]), ('val', [1, 3])):
        frames = load(out, split)
        assert [frame['frame_id'] for frame in frames] == [f'{number:04d}' for number in numbers]
        for frame, number in zip(frames, numbers, strict=True):
            cut = {
                name: array[top:bottom, left:right, ..., number - 1]
                for name, array in matlab.items()
            }
            np.testing.assert_array_equal(frame['img'], cut['images'])
            np.testing.assert_array_equal(frame['gt_depth'], cut['depths'])
            classes = np.full(cut['labels'].shape, 255)
            for label in np.unique(cut['labels'][cut['labels'] > 0]):
                classes[cut['labels'] == label] = mapping[0, label - 1] - 1
            np.testing.assert_array_equal(frame['gt_semseg'], classes)
            unique = cut['labels'].astype(int) * 64 + cut['instances']
            marked = np.zeros(unique.shape, bool)
            marked[:, :-1] = np.diff(unique, axis=1) != 0
            marked[:-1] |= np.diff(unique, axis=0) != 0
            np.testing.assert_array_equal(frame['gt_edge'], thin(marked))
            np.testing.assert_allclose(
                frame['cam2img'], [[FX, 0, CX - left], [0, FY, CY - top], [0, 0, 1]], atol=1e-4
            )


def test_normals_come_from_the_raw_depth(tmp_path, download):
    convert_nyud(download, tmp_path / 'out', num_workers=0)
    normals = load(tmp_path / 'out')[0]['gt_normals']
    expected = scene()[1][44:469, 40:600]
    known = normals.any(axis=2)
    assert degrees(normals, expected)[known].max() < 0.5  # 8 bits
    hole = np.zeros(known.shape, bool)
    hole[150 - 44 : 220 - 44, 200 - 40 : 300 - 40] = True
    assert known[~hole].all() and not known[hole].all()


def test_13_classes_and_raw_depth(tmp_path, download, matlab, mapping):
    convert_nyud(
        download, tmp_path / 'out', crop='full', num_classes=13, depth='raw', num_workers=0
    )
    tasks = dict(semseg=dict(num_classes=13), depth=dict())
    frame = load(tmp_path / 'out', tasks=tasks)[0]
    np.testing.assert_array_equal(frame['gt_depth'], matlab['rawDepths'][..., 1])
    assert not frame['gt_depth'][HOLE].any()
    labels = matlab['labels'][..., 1]
    for label in np.unique(labels[labels > 0]):
        assert (
            frame['gt_semseg'][labels == label] == NYU40_TO_NYU13[mapping[0, label - 1] - 1] - 1
        ).all()
    assert (frame['gt_semseg'][labels == 0] == 255).all()
    dataset = NYUDDataset(tmp_path / 'out', tasks=tasks)
    assert dataset.metainfo['classes'] == NYU13_CLASSES and len(dataset.metainfo['palette']) == 13
    assert NYUDDataset(tmp_path / 'out', tasks=['depth']).metainfo['classes'] == NYU40_CLASSES


def test_what_the_40_classes_become_among_the_13():
    names = {
        name: NYU13_CLASSES[NYU40_TO_NYU13[index] - 1] for index, name in enumerate(NYU40_CLASSES)
    }
    assert {
        **names,
        'wall': 'wall',
        'floor': 'floor',
        'floor mat': 'floor',
        'door': 'wall',
        'cabinet': 'furniture',
        'desk': 'table',
        'television': 'tv',
        'blinds': 'window',
        'pillow': 'objects',
    } == names
    same = set(NYU13_CLASSES) - {'furniture', 'objects', 'tv'}
    assert all(names[name] == name for name in same)


@pytest.mark.parametrize(
    ('convention', 'channels', 'signs', 'crop'),
    [
        ('nyud-mt', (0, 1, 2), (1, 1, 1), 'mt'),
        ('refinenet', (0, 2, 1), (1, -1, 1), 'full'),
        ('ladicky', (2, 1, 0), (-1, -1, 1), 'mt'),
        ('geonet', (0, 1, 2), (1, -1, -1), 'full'),
        ('-y,x,z', (1, 0, 2), (-1, 1, 1), 'full'),
    ],
)
def test_official_normals_in_any_convention(tmp_path, download, convention, channels, signs, crop):
    """Written channel by channel; as full frames and as crops; one frame has none."""
    expected = scene()[1]
    stored = np.rint((expected[..., channels] * signs + 1) * 127.5).astype(np.uint8)
    stored[50:60, 50:60] = 0 if convention == 'geonet' else 127
    stored = stored if crop == 'full' else stored[44:469, 40:600]
    for name in ('test/1.png', 'train/000002.png'):
        (tmp_path / 'normals' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'normals' / name), stored[..., ::-1])
    convert_nyud(
        download,
        tmp_path / 'out',
        normals_dir=tmp_path / 'normals',
        normals_convention=convention,
        num_workers=0,
    )
    (with_normals,), (_, without) = load(tmp_path / 'out'), load(tmp_path / 'out', 'val')
    normals = with_normals['gt_normals']
    known = normals.any(axis=2)
    assert degrees(normals, expected[44:469, 40:600])[known].max() < 1
    assert np.argwhere(~known).min(axis=0).tolist() == [6, 10] and (~known).sum() == 100
    assert 'gt_normals' not in without and 'gt_depth' in without


def test_a_wrong_convention_is_refused_by_the_loader(tmp_path, download):
    folder = tmp_path / 'normals'
    folder.mkdir()
    stored = np.rint((scene()[1][..., [0, 2, 1]] * (1, -1, 1) + 1) * 127.5).astype(np.uint8)
    for number in range(1, COUNT + 1):
        cv2.imwrite(str(folder / f'{number}.png'), stored[..., ::-1])
    convert_nyud(
        download, tmp_path / 'out', normals_dir=folder, normals_convention='nyud-mt', num_workers=0
    )
    with pytest.raises(ValueError, match='channels hold'):
        load(tmp_path / 'out')


def test_normals_in_another_encoding_are_refused(tmp_path, download):
    half = np.float32([[[0.5, 0.5, 1]]]).repeat(425, axis=0).repeat(560, axis=1)  # (n + 1) / 2
    (tmp_path / 'normals').mkdir()
    np.save(tmp_path / 'normals' / '1.npy', half)
    with pytest.raises(ValueError, match=r'1\.npy: no unit vectors .* from 0\.\.1'):
        convert_nyud(
            download,
            tmp_path / 'out',
            normals_dir=tmp_path / 'normals',
            normals_convention='geonet',
            num_workers=0,
        )

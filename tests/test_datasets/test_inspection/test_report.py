"""Sums, classes, units and conventions in the report of an inspection."""

import json

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import MultiTaskDataset

from .conftest import SIZE, found, inspect, put, write


def test_normals_that_fit_the_depth_in_another_convention(nyud_sample, tmp_path):
    for folder in ('images', 'depth', 'normals', 'gt_sets'):
        (tmp_path / folder).mkdir()
        for path in (nyud_sample / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    tasks = ('depth', 'normals')
    assert not inspect(tmp_path, tasks=tasks).is_fatal
    write('normals/000433.png', lambda normals: normals[..., ::-1])(tmp_path)
    kinds = found(inspect(tmp_path, tasks=tasks))
    assert 'z,y,x' in kinds['normals of val in another convention', True][0]
    assert not inspect(tmp_path, tasks=tasks, check_normals=False).is_fatal


def test_sums_are_those_of_the_files(root):
    report = inspect(root)
    ids = dict(train=('0000', '0001', '0002'), val=('0003', '0004'))
    assert report.frames == dict(train=3, val=2)
    for split, frames in ids.items():
        totals = report.totals[split]
        stored = np.stack(
            [cv2.imread(str(root / 'segmentation' / f'{frame}.png'), -1) for frame in frames]
        )
        expected = [int((stored == index + 1).sum()) for index in range(40)]
        assert totals['semseg'].statistics[:40].tolist() == expected
        assert (
            totals['semseg'].valid == (stored > 0).sum() and totals['semseg'].pixels == stored.size
        )
        depth = np.stack([np.load(root / 'depth' / f'{frame}.npy') for frame in frames])
        assert totals['depth'].valid == (depth > 0).sum() and totals['depth'].labels == len(frames)
        assert float(totals['depth'].statistics[0]) == pytest.approx(depth.sum(dtype=float))
    assert report.classes['semseg'][:2] == ['wall', 'floor']


def test_depth_in_millimetres_and_normals_in_8_bits(make_nyud):
    root = make_nyud(depth='.png', normals='.png', size=SIZE)
    kinds = {kind for kind, _ in found(inspect(root))}
    assert not any(kind.startswith('depth') for kind in kinds) and not any(
        'unit vectors' in kind for kind in kinds
    )
    write('depth/0000.png', put(10001))(root)
    write('depth/0001.png', lambda depth: depth // 1000)(root)
    kinds = found(inspect(root, ('train',)))
    assert [
        (kind, len(items)) for (kind, _), items in kinds.items() if kind.startswith('depth')
    ] == [
        (
            'depth label: nearer than 0.255 m everywhere: another unit? It would fit with '
            "label_formats.depth.unit='m'. If it is right, say so: label_formats.depth.unit='mm'.",
            1,
        ),
    ]


def test_classes_that_never_occur_are_named(root):
    for frame in ('0003', '0004'):
        write(
            f'segmentation/{frame}.png',
            lambda stored: np.where(stored == 2, 1, stored).astype(np.uint8),
        )(root)
    report = inspect(root)
    items = [
        finding.item
        for finding in report.findings
        if finding.kind == 'class of semseg that never occurs in val'
    ]
    stored = [
        cv2.imread(str(root / 'segmentation' / f'{frame}.png'), -1) for frame in ('0003', '0004')
    ]
    missing = set(range(1, 41)) - set(np.unique(stored).tolist())
    assert 2 in missing and items == [
        report.classes['semseg'][index - 1] for index in sorted(missing)
    ]
    assert not report.is_fatal


def test_human_parts_of_nobody_are_no_finding_and_saliency_of_other_values_is(root):
    for folder, value in (('human_parts', 255), ('saliency', 255)):
        (root / folder).mkdir()
        for index in range(5):
            cv2.imwrite(str(root / folder / f'{index:04d}.png'), np.full(SIZE, value, np.uint8))
    write('human_parts/0000.png', put(3))(root)
    write('saliency/0001.png', put(100))(root)
    report = inspect(root, kind=MultiTaskDataset, tasks=('human_parts', 'saliency'))
    assert list(found(report)) == [('saliency label: other values than 0 and 255', False)]
    assert report.totals['train']['human_parts'].valid == 6 * SIZE[1]
    assert report.classes['human_parts'][3] == 'upper arms'


def test_classes_of_another_class_space(root):
    report = inspect(
        root, class_space=['inside', 'outside'], class_map={'wall': 'inside', 'window': 'outside'}
    )
    stored = np.stack(
        [cv2.imread(str(root / 'segmentation' / f'000{index}.png'), -1) for index in range(3)]
    )
    assert report.classes['semseg'] == ['inside', 'outside']
    assert report.totals['train']['semseg'].statistics[:2].tolist() == [
        (stored == 1).sum(),
        (stored == 9).sum(),
    ]


def test_a_camera_makes_no_finding(root):
    (root / 'cameras.json').write_text(json.dumps({'0000': [30, 31, 15, 11]}))
    assert not inspect(root).is_fatal

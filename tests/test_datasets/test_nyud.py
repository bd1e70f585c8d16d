"""Every release of NYUD-MT is read, with its cameras."""

import json
import logging

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from label_fields import plain

from m2h_mm.datasets import MultiTaskDataset, NYUDDataset, frame_report
from m2h_mm.registry import DATASETS

PACK = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='PackMultiTaskInputs'),
]
LOAD = PACK[:2]
FIELDS = {
    'semseg': 'gt_semseg',
    'depth': 'gt_depth',
    'normals': 'gt_normals',
    'edge': 'gt_edge',
}


@pytest.fixture
def messages(monkeypatch):
    """What is logged, as (level, text)."""
    said = []

    def listen(text, logger=None, level=logging.INFO):
        said.append((level, text))

    monkeypatch.setattr(frame_report, 'print_log', listen)
    return said


# ---- reading
def test_a_packed_sample(make_nyud):
    packed = NYUDDataset(make_nyud(size=(24, 32)), pipeline=PACK)[1]
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 24, 32) and packed['inputs'].dtype == torch.uint8
    shapes = {name: tuple(sample.get(field).data.shape) for name, field in FIELDS.items()}
    assert shapes == {
        'semseg': (1, 24, 32),
        'depth': (1, 24, 32),
        'normals': (3, 24, 32),
        'edge': (1, 24, 32),
    }
    assert sample.gt_depth.data.dtype == sample.gt_normals.data.dtype == torch.float32
    assert sample.frame_id == '0001' and sample.ori_shape == sample.img_shape == (24, 32)
    assert sample.cam2img.shape == (3, 3) and sample.cam2img.dtype == np.float64


@pytest.mark.parametrize('image', ['.png', '.jpg'])
def test_every_file_type_gives_the_same_labels(make_nyud, image):
    roots = (
        make_nyud(depth='.npy', normals='.npy', edge='.npy', name='a'),
        make_nyud(depth='.png', normals='.png', edge='.png', image=image, name='b'),
    )
    arrays, pictures = (plain(NYUDDataset(root, pipeline=LOAD)[2]) for root in roots)
    np.testing.assert_allclose(pictures['gt_depth'], arrays['gt_depth'], atol=1e-6)
    np.testing.assert_array_equal(pictures['gt_edge'], arrays['gt_edge'])
    np.testing.assert_allclose(pictures['gt_normals'], arrays['gt_normals'], atol=0.01)
    for results in (arrays, pictures):
        length = np.linalg.norm(results['gt_normals'], axis=-1)
        assert (length[:2] == 0).all() and np.allclose(length[2:], 1, atol=1e-6)
        assert (results['gt_depth'][:2] == 0).all()
    if image == '.png':
        np.testing.assert_array_equal(pictures['img'], arrays['img'])


@pytest.fixture
def astmt(make_nyud) -> tuple:
    """The same frames in the layouts of ASTMT and MTI-Net; normals are smooth, as JPEG keeps no
    noise.
    """
    roots = [
        make_nyud(count=2, image='.jpg', size=(64, 80), name=name) for name in ('astmt', 'plain')
    ]
    angle = np.linspace(-1, 1, 80)[None].repeat(64, 0)
    normals = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=2)
    normals[:16] = 0
    for root, suffix in zip(roots, ('.jpg', '.png'), strict=True):
        for frame in ('0000', '0001'):
            (root / 'normals' / f'{frame}.png').unlink()
            stored = np.rint((normals + 1) * 127.5).astype(np.uint8)
            cv2.imwrite(str(root / 'normals' / (frame + suffix)), stored[..., ::-1])
    for folder, suffix in (('segmentation', '.png'), ('depth', '.npy')):
        for path in (roots[0] / folder).iterdir():
            array = (
                np.load(path) if suffix == '.npy' else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            )
            scipy.io.savemat(
                path.with_suffix('.mat'), {folder: array}, do_compression=path.stem == '0001'
            )
            path.unlink()
    return tuple(roots)


def test_the_layout_of_astmt(astmt):
    """.mat with one variable for segmentation and depth, JPEG for normals."""
    datasets = [map(plain, NYUDDataset(root, pipeline=LOAD)) for root in astmt]
    for mat, usual in zip(*datasets, strict=True):
        for field in ('img', 'gt_semseg', 'gt_depth', 'gt_edge'):
            np.testing.assert_array_equal(mat[field], usual[field])
            assert mat[field].dtype == usual[field].dtype
        # Rows 8..24 are the JPEG blocks at the border of what is missing.
        assert not mat['gt_normals'][:8].any()
        np.testing.assert_allclose(mat['gt_normals'][24:], usual['gt_normals'][24:], atol=0.05)


@pytest.mark.parametrize('damage', ['cut', 'empty', 'other', 'two variables', 'version 7.3'])
@pytest.mark.parametrize('frame', ['0000', '0001'])
def test_a_damaged_mat_file_is_named_when_built(astmt, frame, damage):
    path = astmt[0] / 'depth' / f'{frame}.mat'
    content = path.read_bytes()
    if damage == 'two variables':
        scipy.io.savemat(path, dict(a=np.ones((64, 80)), b=np.ones((64, 80))))
    else:
        path.write_bytes(
            dict(cut=content[:-40], empty=b'', other=b'<html>' * 50).get(
                damage, b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM' + bytes(400)
            )
        )
    with pytest.raises(ValueError, match=f'depth/{frame}.mat cannot be read'):
        NYUDDataset(astmt[0], check_normals=False)  # which decodes labels too


def test_only_normals_may_be_jpeg(make_nyud):
    root = make_nyud(count=1)
    (root / 'segmentation/0000.png').unlink()
    cv2.imwrite(str(root / 'segmentation/0000.jpg'), np.zeros((24, 32), np.uint8))
    with pytest.raises(ValueError, match=r"0000\.jpg of task 'semseg': JPEG changes numbers"):
        NYUDDataset(root)


def test_images_come_as_rgb(make_nyud):
    root = make_nyud(count=1)
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 2] = 250
    cv2.imwrite(str(root / 'images/0000.png'), red)
    assert (NYUDDataset(root, pipeline=LOAD)[0]['img'] == (250, 0, 0)).all()


def test_segmentation_zero_becomes_void(make_nyud):
    root = make_nyud(count=1)
    stored = cv2.imread(str(root / 'segmentation/0000.png'), cv2.IMREAD_UNCHANGED)
    stored[0, :3] = (0, 40, 255)
    cv2.imwrite(str(root / 'segmentation/0000.png'), stored)
    label = plain(NYUDDataset(root, pipeline=LOAD)[0])['gt_semseg']
    assert label.dtype == np.uint8 and label[0, :3].tolist() == [255, 39, 255]
    known = (stored > 0) & (stored < 255)
    np.testing.assert_array_equal(label[known], stored[known] - 1)


def test_other_data_keeps_class_zero(make_nyud):
    root = make_nyud(count=1)
    stored = cv2.imread(str(root / 'segmentation/0000.png'), cv2.IMREAD_UNCHANGED)
    dataset = MultiTaskDataset(root, tasks=dict(semseg=dict(num_classes=41)), pipeline=LOAD)
    np.testing.assert_array_equal(dataset[0]['gt_semseg'].value, stored)
    assert 'cam2img' not in dataset[0]


def test_non_finite_depth_is_invalid(make_nyud):
    root = make_nyud(count=1)
    depth = np.load(root / 'depth/0000.npy')
    depth[5, :3] = (np.nan, np.inf, -1)
    np.save(root / 'depth/0000.npy', depth)
    label = NYUDDataset(root, pipeline=LOAD)[0]['gt_depth']
    assert not label.valid[5, :3].any() and label.valid[5, 3]
    assert (label.value[5, :3] == 0).all() and label.value[5, 3] == depth[5, 3]


def test_array_file_wins_over_picture(make_nyud):
    root = make_nyud(count=1)
    cv2.imwrite(str(root / 'depth/0000.png'), np.full((24, 32), 1000, np.uint16))
    assert NYUDDataset(root, pipeline=LOAD)[0]['gt_depth'].value.max() > 1


def test_partial_labels(make_nyud, messages):
    root = make_nyud(count=3)
    (root / 'normals/0001.png').unlink()
    for path in (root / 'edge').iterdir():
        path.unlink()
    (root / 'edge').rmdir()
    dataset = NYUDDataset(root, pipeline=PACK)
    present = [
        [name for name, field in FIELDS.items() if field in sample['data_samples']]
        for sample in dataset
    ]
    assert present == [
        ['semseg', 'depth', 'normals'],
        ['semseg', 'depth'],
        ['semseg', 'depth', 'normals'],
    ]
    warned = [text for level, text in messages if level == logging.WARNING]
    assert len(warned) == 1 and "'edge'" in warned[0] and str(root / 'edge') in warned[0]
    assert any('normals 2' in text for _, text in messages)


def test_sample_of_the_real_data(nyud_sample):
    dataset = NYUDDataset(nyud_sample, split='val', pipeline=LOAD)
    full, partial = plain(dataset[0]), plain(dataset[1])
    assert set(np.unique(full['gt_semseg'])) == {0, 1, 8, 10, 21, 37, 38, 39, 255}
    assert abs((full['gt_semseg'] == 255).mean() - 0.1172) < 1e-4
    depth = full['gt_depth']
    assert abs((depth == 0).mean() - 0.3419) < 1e-4
    assert 1.49 < depth[depth > 0].min() and depth.max() < 5.94
    length = np.linalg.norm(full['gt_normals'], axis=-1)
    assert abs((length > 0).mean() - 0.7794) < 1e-4 and np.allclose(
        length[length > 0], 1, atol=1e-6
    )
    floor = full['gt_normals'][(full['gt_semseg'] == 1) & (length > 0)]
    np.testing.assert_allclose(np.median(floor, axis=0), (0.01, 0.98, 0.19), atol=0.02)
    assert full['gt_edge'].sum() == 8495 and partial['gt_edge'].sum() == 11896
    assert 'gt_normals' not in partial and 'gt_depth' in partial


# ---- cameras
@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((480, 640), (518.8579, 519.4696, 325.5824, 253.7362)),
        ((427, 561), (518.8579, 519.4696, 285.5824, 209.7362)),
        ((425, 560), (518.8579, 519.4696, 285.5824, 209.7362)),
        ((240, 320), (259.42895, 259.7348, 162.5412, 126.6181)),
    ],
)
def test_camera_follows_the_size(make_nyud, size, expected):
    camera = NYUDDataset(make_nyud(count=1, size=size), pipeline=LOAD[:1])[0]['cam2img']
    np.testing.assert_allclose(
        (camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2]), expected, atol=1e-4
    )


def test_camera_file_overrides(make_nyud):
    root = make_nyud(count=2)
    (root / 'cameras.json').write_text(json.dumps({'0001': [30, 31, 15, 11]}))
    dataset = NYUDDataset(root, pipeline=LOAD[:1])
    np.testing.assert_array_equal(dataset[1]['cam2img'], [[30, 0, 15], [0, 31, 11], [0, 0, 1]])
    np.testing.assert_allclose(dataset[0]['cam2img'][0, 0], 518.8579 / 20)


# ---- the rest of BaseDataset
def test_base_dataset_features(make_nyud):
    root = make_nyud(count=4)
    dataset = NYUDDataset(root, pipeline=LOAD, indices=[3, 1], lazy_init=True)
    assert [dataset[0]['frame_id'], dataset[1]['frame_id']] == ['0003', '0001'] and len(
        dataset
    ) == 2
    assert len(NYUDDataset(root, serialize_data=False).get_subset(3)) == 3
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 40
    assert dataset.metainfo['classes'][:2] == ('wall', 'floor')


def test_own_transforms_whatever_the_scope(make_nyud):
    """mmcv registers a RandomFlip and a Resize too, which know nothing of depth and normals."""
    dataset = DATASETS.build(
        dict(
            type='NYUDDataset',
            data_root=str(make_nyud(count=1)),
            _scope_='m2h_mm',
            pipeline=[*LOAD, dict(type='Resize', size=(12, 16)), dict(type='RandomFlip', prob=1.0)],
        )
    )
    assert {type(step).__module__.split('.')[0] for step in dataset.pipeline.transforms} == {
        'm2h_mm'
    }
    assert dataset[0]['gt_normals'].value.shape == (12, 16, 3)

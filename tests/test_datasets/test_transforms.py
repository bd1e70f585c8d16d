"""The transforms move image, labels and camera together."""

import numpy as np
import pytest
import torch
from label_fields import label_of, plain

from m2h_mm.datasets.transforms import (
    PackMultiTaskInputs,
    Pad,
    PhotometricDistortion,
    RandomCrop,
    RandomFlip,
    RandomZoom,
    Resize,
)
from m2h_mm.models.data_preprocessor import MultiTaskDataPreprocessor
from m2h_mm.models.labels import stack_labels
from m2h_mm.registry import TRANSFORMS
from m2h_mm.structures import Label
from m2h_mm.tasks import build_tasks

FIELDS = ('gt_semseg', 'gt_depth', 'gt_normals', 'gt_edge')
CAMERA = np.array([[60.0, 0, 37.3], [0, 62.0, 21.8], [0, 0, 1]])
SIZE = (48, 64)


def frame(seed=0, size=SIZE, lacking=()):
    """A frame of noise with no label in every fifth row."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(*size, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    labels = dict(
        gt_semseg=rng.integers(0, 40, size).astype(np.uint8),
        gt_normals=normals,
        gt_depth=rng.uniform(0.5, 9, size).astype(np.float32),
        gt_edge=(rng.random(size) < 0.2).astype(np.uint8),
    )
    valid = np.ones(size, bool)
    valid[::5] = False
    for field, value in labels.items():
        value[::5] = 0
        labels[field] = Label(value, valid.copy())
    return dict(
        img=rng.integers(0, 256, (*size, 3)).astype(np.uint8),
        img_path='a.png',
        frame_id='a',
        ori_shape=size,
        img_shape=size,
        cam2img=CAMERA.copy(),
        tasks=build_tasks(('semseg', 'depth', 'normals', 'edge')),
        rng=np.random.default_rng(seed),
        **{key: value for key, value in labels.items() if key not in lacking},
    )


def plane_frame(size=SIZE, normal=(0.5, -0.3, -0.8), distance=3.0):
    """A slanted plane n.X = -distance, seen by a camera x right, y down, z forward."""
    normal = np.array(normal) / np.linalg.norm(normal)
    depth = -distance / (rays(CAMERA, size) @ normal)
    results = frame(size=size)
    normals = np.broadcast_to(normal * (1, -1, -1), (*size, 3))
    results['gt_depth'] = label_of(depth.astype(np.float32))
    results['gt_normals'] = label_of(normals.astype(np.float32))
    return results


def rays(camera, size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([columns, rows, np.ones(size)], axis=-1) @ np.linalg.inv(camera).T


def plane_normal(depth, camera):
    """Unit normal, x right, y up, toward the camera, of the plane through the valid points."""
    points = (rays(camera, depth.shape) * depth[..., None])[depth > 0].astype(np.float64)
    normal = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][2]
    return normal * -np.sign(normal @ points.mean(0)) * (1, -1, -1)


GEOMETRIC = {
    'zoom in': RandomZoom((1.7, 1.7)),
    'zoom out': RandomZoom((0.6, 0.6)),
    'zoom': RandomZoom((0.5, 2.0)),
    'resize': Resize(size=(30, 70)),
    'scale': Resize(scale=2.0),
    'crop': RandomCrop((20, 31)),
    'flip': RandomFlip(1.0),
}
geometric = pytest.mark.parametrize('transform', GEOMETRIC.values(), ids=GEOMETRIC)


# ---- all of them
@geometric
def test_maps_keep_one_size(transform):
    before, results = frame(), transform(frame())
    assert results['img'].shape[:2] == results['img_shape']
    assert results['img'].dtype == np.uint8 and results['ori_shape'] == SIZE
    for field in FIELDS:
        value, valid = results[field].value, results[field].valid
        assert value.shape[:2] == valid.shape == results['img_shape']
        assert value.dtype == before[field].value.dtype and valid.dtype == bool


@geometric
def test_points_project_where_their_pixels_went(transform):
    """The source pixel travels in the normals' place; its 3-D point must land on the pixel it came
    to.
    """
    start = frame()
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    source = np.stack([columns + 1, rows + 1, np.ones(SIZE)], axis=-1).astype(np.float32)
    depth_before = np.random.default_rng(1).uniform(1, 5, SIZE).astype(np.float32)
    start.update(gt_normals=label_of(source), gt_depth=label_of(depth_before.copy()))
    results = plain(transform(start))
    carried = results['gt_normals']
    inside = carried[..., 2] == 1
    x, y = (
        np.abs(carried[..., axis][inside]).astype(int) - 1 for axis in (0, 1)
    )  # a flip negates x
    mirror = -1 if results.get('flip') else 1
    z = results['gt_depth'][inside]
    shrink = z / depth_before[y, x]
    points = rays(CAMERA, SIZE)[y, x] * (depth_before[y, x] * shrink)[:, None] * (mirror, 1, 1)
    projected = points @ results['cam2img'].T
    offset = projected[:, :2] / projected[:, 2:] - np.argwhere(inside)[:, ::-1]
    step = max(results['cam2img'][0, 0] / CAMERA[0, 0], results['cam2img'][1, 1] / CAMERA[1, 1])
    resampled = isinstance(transform, RandomZoom | Resize)
    assert np.abs(offset).max() <= (step / 2 + 1e-3 if resampled else 1e-3)
    # Nearest neighbours round to both sides: a shift by half a pixel would show in the mean.
    assert np.abs(offset.mean(0)).max() < 0.1
    assert inside.sum() > 0 and results['cam2img'][0, 0] > 0


@geometric
@pytest.mark.parametrize('lacking', [('gt_semseg',), ('gt_normals', 'gt_edge'), FIELDS])
def test_partial_labels_pass(transform, lacking):
    whole, part = transform(frame()), transform(frame(lacking=lacking))
    assert [field for field in FIELDS if field in part] == [
        field for field in FIELDS if field not in lacking
    ]
    if not isinstance(transform, RandomCrop):  # the window depends on the segmentation
        np.testing.assert_array_equal(whole['img'], part['img'])
    packed = PackMultiTaskInputs()(part)
    assert set(packed['data_samples'].keys()) == set(FIELDS) - set(lacking)


@geometric
def test_no_value_is_invented_and_the_mask_moves_along(transform):
    before, after = frame(), transform(frame())
    mask = after['gt_semseg'].valid
    assert mask.any() and not mask.all()
    for field in FIELDS:
        label = after[field]
        np.testing.assert_array_equal(label.valid, mask)
        # The rows without a label are the ones that were filled with 0 above.
        known = label.value if label.value.ndim == 2 else label.value.any(axis=-1)
        assert not known[~mask].any()
        if field in ('gt_semseg', 'gt_edge'):
            assert set(label.value.flat) <= set(before[field].value.flat)
    lengths = np.linalg.norm(after['gt_normals'].value[mask], axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


@geometric
def test_unknown_camera_stays_unknown(transform):
    results = frame()
    del results['cam2img']
    assert 'cam2img' not in transform(results)


def test_image_stays_aligned_with_labels():
    """The image, a ramp, and a label that holds the column agree after everything."""
    results = frame(size=(64, 96))
    ramp = np.arange(96)[None].repeat(64, 0)
    results['img'] = (2 * ramp)[..., None].repeat(3, 2).astype(np.uint8)
    results['gt_edge'] = label_of(ramp.astype(np.uint8))
    for step in (
        RandomZoom((1.5, 1.5)),
        RandomCrop((70, 100), cat_max_ratio=1),
        RandomFlip(1.0),
    ):
        results = step(results)
    assert results['img_shape'] == (70, 100)
    difference = results['img'].mean(-1) / 2 - results['gt_edge'].value
    assert np.abs(difference).max() <= 0.5 and abs(difference.mean()) < 0.05


# ---- zoom and resize
@pytest.mark.parametrize('scale', [0.5, 2.0])
def test_zoom_divides_depth_and_keeps_normals(scale):
    before, after = plain(plane_frame()), plain(RandomZoom((scale, scale))(plane_frame()))
    assert after['img_shape'] == tuple(round(length * scale) for length in SIZE)
    np.testing.assert_allclose(
        np.median(after['gt_depth']), np.median(before['gt_depth']) / scale, rtol=0.02
    )
    np.testing.assert_allclose(after['cam2img'][:2, :2], CAMERA[:2, :2] * scale)
    truth = after['gt_normals'][0, 0]
    np.testing.assert_array_equal(truth, before['gt_normals'][0, 0])
    assert plane_normal(after['gt_depth'], after['cam2img']) @ truth > np.cos(np.deg2rad(0.5))
    # The check can fail: with the old focal lengths the plane would be another one.
    wrong = after['cam2img'].copy()
    wrong[:2, :2] = CAMERA[:2, :2]
    assert plane_normal(after['gt_depth'], wrong) @ truth < np.cos(np.deg2rad(5))


@geometric
def test_normals_of_the_depth_stay_those_of_the_label(transform):
    after = plain(transform(plane_frame()))
    truth = after['gt_normals'][np.linalg.norm(after['gt_normals'], axis=-1) > 0][0]
    assert plane_normal(after['gt_depth'], after['cam2img']) @ truth > np.cos(np.deg2rad(0.5))


def test_zoom_covers_its_range():
    scales = [RandomZoom((0.5, 2.0))(frame(seed))['img_shape'][1] / SIZE[1] for seed in range(60)]
    assert 0.5 <= min(scales) < 0.65 and 1.8 < max(scales) <= 2.0 and 1.1 < np.mean(scales) < 1.4


def test_resize_keeps_depth():
    before, after = plain(frame()), plain(Resize(scale=2.0)(frame()))
    np.testing.assert_array_equal(after['gt_depth'][::2, ::2], before['gt_depth'])
    np.testing.assert_allclose(after['cam2img'], [[120, 0, 75.1], [0, 124, 44.1], [0, 0, 1]])


# ---- flip
def test_flip_twice_is_identity():
    flip, before = RandomFlip(1.0), plain(frame())
    moved = flip(frame())
    once = plain(moved)
    assert not np.array_equal(once['gt_normals'], before['gt_normals'][:, ::-1])
    np.testing.assert_array_equal(once['gt_normals'][..., 0], -before['gt_normals'][:, ::-1, 0])
    twice = plain(flip(moved))
    for key in ('img', 'cam2img', *FIELDS):
        np.testing.assert_array_equal(twice[key], before[key])


def test_flip_happens_with_its_probability():
    flips = [RandomFlip(0.3)(frame(seed, size=(4, 4)))['flip'] for seed in range(200)]
    assert 40 < sum(flips) < 80
    kept = RandomFlip(0.0)(frame())
    assert kept['flip'] is False and np.array_equal(kept['img'], frame()['img'])


# ---- crop
def test_crop_limits_the_largest_class():
    """One class fills the left three quarters: only windows on the right are varied enough."""
    label = np.zeros(SIZE, np.uint8)
    label[:, 48:] = 1
    shares = []
    for seed in range(40):
        results = frame(seed)
        results['gt_semseg'] = label_of(label)
        cropped = RandomCrop((48, 24), 0.75, tries=200)(results)['gt_semseg'].value
        shares.append(np.bincount(cropped.ravel()).max())
    assert max(shares) <= 0.75 * 48 * 24
    free = [
        RandomCrop((48, 24), 1.0)(frame(seed) | {'gt_semseg': label_of(label)})[
            'gt_semseg'
        ].value.mean()
        for seed in range(40)
    ]
    assert free.count(0) > 5


def test_crop_ignores_void_and_gives_up():
    ids = np.where(np.arange(64) < 60, 255, np.arange(64) % 2).astype(np.uint8)[None].repeat(48, 0)
    # Also after a flip, which is a view that runs backwards.
    for seed, first in enumerate((RandomFlip(0.0), RandomFlip(1.0))):
        start = first(frame(seed) | {'gt_semseg': label_of(ids, 255)})
        cropped = plain(RandomCrop((48, 30), 0.75, tries=300)(start))['gt_semseg']
        assert set(np.unique(cropped)) == {0, 1, 255}
    uniform = frame()
    uniform['gt_semseg'] = label_of(np.full(SIZE, 3, np.uint8))
    assert RandomCrop((20, 20))(uniform)['img_shape'] == (20, 20)


def test_crop_counts_the_classes_of_the_task_that_it_is_told():
    label = np.zeros(SIZE, np.uint8)
    label[:, 48:] = 1
    crop = RandomCrop((48, 24), 0.75, tries=200, task='human_parts')
    means = []
    for seed in range(20):
        tasks = build_tasks(['human_parts'])
        results = frame(seed, lacking=FIELDS) | dict(tasks=tasks, gt_human_parts=label_of(label))
        means.append(crop(results)['gt_human_parts'].value.mean())
    assert 0.25 <= min(means) and max(means) <= 0.75


def test_crop_reaches_every_corner():
    windows = {
        tuple(RandomCrop((47, 63), cat_max_ratio=1)(frame(seed))['cam2img'][:2, 2])
        for seed in range(40)
    }
    assert len(windows) == 4


def test_crop_of_a_smaller_frame_is_the_frame():
    results = RandomCrop((100, 20))(frame())
    assert results['img_shape'] == (48, 20) and results['cam2img'][1, 2] == CAMERA[1, 2]


# ---- pad
def test_pad_notes_the_size_and_moves_nothing():
    before, after = frame(), Pad((57, 70))(frame())
    np.testing.assert_array_equal(after['img'], before['img'])
    for field in FIELDS:
        np.testing.assert_array_equal(after[field].value, before[field].value)
    assert after['img_shape'] == SIZE
    assert PackMultiTaskInputs()(after)['data_samples'].pad_to == (57, 70)


def test_padding_is_zero_after_normalisation_and_valid_nowhere():
    packed = PackMultiTaskInputs()(Pad((57, 70))(frame()))
    inputs, sample = packed['inputs'], packed['data_samples']
    data = MultiTaskDataPreprocessor(size_divisor=1)(
        dict(inputs=[inputs], data_samples=[sample]), training=True
    )
    inside = np.zeros((57, 70), bool)
    inside[4:52, 3:67] = True  # the odd row goes to the bottom
    assert data['inputs'].shape == (1, 3, 57, 70)
    assert not data['inputs'][0][:, ~torch.from_numpy(inside)].any()
    for task in build_tasks(('semseg', 'depth', 'normals', 'edge')).values():
        label = stack_labels(task, data['data_samples'], (57, 70), torch.device('cpu'))
        assert not label.valid[0, 0][~torch.from_numpy(inside)].any()
        packed_field = sample.get(task.gt_field)
        assert label.value[0, :, 4:52, 3:67].equal(packed_field.data)
        assert label.valid[0, :, 4:52, 3:67].equal(packed_field.valid)


def test_pad_refuses_larger_frames():
    with pytest.raises(
        ValueError, match=r'Pad\.size \(40, 70\).*a\.png.*\(48, 64\).*crop or resize'
    ):
        Pad((40, 70))(frame())


# ---- colour
def test_distortion_touches_colours_only():
    before, after = plain(frame()), plain(PhotometricDistortion(prob=1.0)(frame()))
    assert after['img'].dtype == np.uint8 and not np.array_equal(after['img'], before['img'])
    for field in FIELDS:
        np.testing.assert_array_equal(after[field], before[field])
    np.testing.assert_array_equal(PhotometricDistortion(prob=0.0)(frame())['img'], before['img'])
    np.testing.assert_array_equal(PhotometricDistortion(prob=1.0)(frame())['img'], after['img'])


def test_brightness_and_contrast():
    grey = np.full((8, 8, 3), 100, np.uint8)
    still = dict(saturation=(1, 1), hue=0, prob=1.0)
    bright = [
        int(PhotometricDistortion(32, (1, 1), **still)(frame(seed) | {'img': grey})['img'][0, 0, 0])
        for seed in range(50)
    ]
    assert 68 <= min(bright) < 75 and 125 < max(bright) <= 132
    contrast = [
        int(
            PhotometricDistortion(0, (0.5, 1.5), **still)(frame(seed) | {'img': grey})['img'][
                0, 0, 0
            ]
        )
        for seed in range(50)
    ]
    assert 50 <= min(contrast) < 60 and 140 < max(contrast) <= 150


def test_saturation_and_hue():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    pale = PhotometricDistortion(0, (1, 1), (0.5, 0.5), 0, prob=1.0)(frame() | {'img': red})['img'][
        0, 0
    ]
    assert pale[0] == 200 and 98 <= pale[1] <= 102 and pale[1] == pale[2]
    turned = [
        PhotometricDistortion(0, (1, 1), (1, 1), 18, prob=1.0)(frame(seed) | {'img': red})['img'][
            0, 0
        ]
        for seed in range(50)
    ]
    assert all(
        colour[0] == 200 and min(colour) == 0 for colour in turned
    )  # red stays the strongest, up to 36 degrees
    green, blue = max(colour[1] for colour in turned), max(colour[2] for colour in turned)
    assert 90 < green <= 121 and 90 < blue <= 121


def test_distortion_wants_bytes():
    with pytest.raises(ValueError, match='expected an 8-bit image, got float32'):
        PhotometricDistortion()(frame() | dict(img=np.zeros((4, 4, 3), np.float32)))


# ---- pack and the whole recipe
def test_packed_frame():
    packed = PackMultiTaskInputs()(RandomFlip(1.0)(frame()))
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 48, 64) and packed['inputs'].is_contiguous()
    np.testing.assert_array_equal(packed['inputs'].permute(1, 2, 0), frame()['img'][:, ::-1])
    assert [sample.get(field).data.dtype for field in FIELDS] == [
        torch.uint8,
        torch.float32,
        torch.float32,
        torch.uint8,
    ]
    assert all(sample.get(field).valid.dtype == torch.bool for field in FIELDS)
    assert sample.flip is True and sample.frame_id == 'a' and sample.cam2img[0, 2] == 63 - 37.3
    assert 'rng' not in sample.metainfo


def test_training_recipe_gives_one_size():
    recipe = [
        RandomZoom(),
        RandomCrop((40, 56)),
        RandomFlip(),
        PhotometricDistortion(),
        Pad((40, 56)),
        PackMultiTaskInputs(),
    ]
    for seed in range(12):
        results = plane_frame()
        results['rng'] = np.random.default_rng(seed)
        for step in recipe:
            results = step(results)
        sample = results['data_samples']
        assert sample.pad_to == (40, 56)
        assert all(has <= most for has, most in zip(sample.img_shape, (40, 56), strict=True))
        depth, normals = sample.gt_depth.data[0].numpy(), sample.gt_normals.data.numpy()
        truth = normals[:, depth > 0].mean(axis=1)
        assert plane_normal(depth, sample.cam2img) @ truth > np.cos(np.deg2rad(1))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='RandomZoom', scale_range=(0, 2)), r'RandomZoom\.scale_range'),
        (dict(type='RandomZoom', scale_range=(2, 1)), r'RandomZoom\.scale_range'),
        (dict(type='Resize'), 'either size or scale'),
        (dict(type='Resize', size=(4, 4), scale=2), 'either size or scale'),
        (dict(type='Resize', scale=-1), r'Resize\.scale'),
        (dict(type='RandomCrop', size=448), r'RandomCrop\.size.*\(height, width\)'),
        (dict(type='RandomCrop', size=(0, 4)), r'RandomCrop\.size'),
        (dict(type='RandomCrop', size=(4, 4), cat_max_ratio=0), 'cat_max_ratio'),
        (dict(type='RandomCrop', size=(4, 4), tries=0), 'tries'),
        (dict(type='RandomFlip', prob=2), r'RandomFlip\.prob'),
        (dict(type='Pad', size=(0, 4)), r'Pad\.size'),
    ],
)
def test_wrong_arguments_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(config)

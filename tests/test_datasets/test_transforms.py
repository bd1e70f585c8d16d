"""The transforms move image, labels and camera together."""

import numpy as np
import pytest
import torch

from m2h_mm.datasets.transforms import (
    PackMultiTaskInputs,
    Pad,
    PhotometricDistortion,
    RandomCrop,
    RandomFlip,
    RandomZoom,
    Resize,
)
from m2h_mm.registry import TRANSFORMS
from m2h_mm.tasks import build_tasks

FIELDS = ('gt_sem_seg', 'gt_depth_map', 'gt_normal_map', 'gt_edge_map')
CAMERA = np.array([[60.0, 0, 37.3], [0, 62.0, 21.8], [0, 0, 1]])
SIZE = (48, 64)


def frame(seed=0, size=SIZE, lacking=()):
    """A frame of noise with every fifth row void."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(*size, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    labels = dict(
        gt_sem_seg=rng.integers(0, 40, size).astype(np.uint8),
        gt_normal_map=normals,
        gt_depth_map=rng.uniform(0.5, 9, size).astype(np.float32),
        gt_edge_map=(rng.random(size) < 0.2).astype(np.uint8),
    )
    for field, void in zip(FIELDS, (255, 0, 0, 255), strict=True):
        labels[field][::5] = void
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
    results['gt_depth_map'] = depth.astype(np.float32)
    results['gt_normal_map'] = np.broadcast_to(normal * (1, -1, -1), (*size, 3)).astype(np.float32)
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
    'pad': Pad(size=(57, 70)),
    'divisor': Pad(size_divisor=14),
}
geometric = pytest.mark.parametrize('transform', GEOMETRIC.values(), ids=GEOMETRIC)


# ---- all of them
# -----------------------------------------------------------------------------------------------------
@geometric
def test_maps_keep_one_size(transform):
    results = transform(frame())
    assert results['img'].shape[:2] == results['img_shape']
    assert results['img'].dtype in (np.uint8, np.float32) and results['ori_shape'] == SIZE
    for field, before in zip(FIELDS, (frame()[field] for field in FIELDS), strict=True):
        assert (
            results[field].shape[:2] == results['img_shape']
            and results[field].dtype == before.dtype
        )


@geometric
def test_points_project_where_their_pixels_went(transform):
    """The source pixel travels in the normals' place; its 3-D point must land on the pixel it came
    to.
    """
    start = frame()
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    start['gt_normal_map'] = np.stack([columns + 1, rows + 1, np.ones(SIZE)], axis=-1).astype(
        np.float32
    )
    start['gt_depth_map'] = np.random.default_rng(1).uniform(1, 5, SIZE).astype(np.float32)
    depth_before = start['gt_depth_map'].copy()
    results = transform(start)
    carried = results['gt_normal_map']
    inside = carried[..., 2] == 1
    x, y = (
        np.abs(carried[..., axis][inside]).astype(int) - 1 for axis in (0, 1)
    )  # a flip negates x
    mirror = -1 if results.get('flip') else 1
    z = results['gt_depth_map'][inside]
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
@pytest.mark.parametrize('lacking', [('gt_sem_seg',), ('gt_normal_map', 'gt_edge_map'), FIELDS])
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
def test_no_value_is_invented(transform):
    before, after = frame(), transform(frame())
    for field, void in (('gt_sem_seg', 255), ('gt_edge_map', 255)):
        assert set(np.unique(after[field])) <= set(np.unique(before[field])) | {void}
    length = np.linalg.norm(after['gt_normal_map'], axis=-1)
    assert (np.isclose(length, 1, atol=1e-6) | (length == 0)).all() and (length == 0).any()
    assert (after['gt_depth_map'] == 0).any() and (length > 0).any()
    if isinstance(
        transform, RandomZoom | Resize
    ):  # what is void is void for all tasks, before and after
        void = after['gt_sem_seg'] == 255
        for field, value in (('gt_edge_map', 255), ('gt_depth_map', 0), ('gt_normal_map', 0)):
            same = after[field] == value
            np.testing.assert_array_equal(same.all(-1) if same.ndim == 3 else same, void)


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
    results['gt_edge_map'] = ramp.astype(np.uint8)
    for step in (
        RandomZoom((1.5, 1.5)),
        RandomCrop((70, 100), cat_max_ratio=1),
        RandomFlip(1.0),
        Pad((80, 120)),
    ):
        results = step(results)
    inside = results['gt_edge_map'] != 255
    assert inside.sum() == 70 * 100
    difference = results['img'][inside].mean(-1) / 2 - results['gt_edge_map'][inside]
    assert np.abs(difference).max() <= 0.5 and abs(difference.mean()) < 0.05


# ---- zoom and resize
# -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize('scale', [0.5, 2.0])
def test_zoom_divides_depth_and_keeps_normals(scale):
    before, after = plane_frame(), RandomZoom((scale, scale))(plane_frame())
    assert after['img_shape'] == tuple(round(length * scale) for length in SIZE)
    np.testing.assert_allclose(
        np.median(after['gt_depth_map']), np.median(before['gt_depth_map']) / scale, rtol=0.02
    )
    np.testing.assert_allclose(after['cam2img'][:2, :2], CAMERA[:2, :2] * scale)
    truth = after['gt_normal_map'][0, 0]
    np.testing.assert_array_equal(truth, before['gt_normal_map'][0, 0])
    assert plane_normal(after['gt_depth_map'], after['cam2img']) @ truth > np.cos(np.deg2rad(0.5))
    # The check can fail: with the old focal lengths the plane would be another one.
    wrong = after['cam2img'].copy()
    wrong[:2, :2] = CAMERA[:2, :2]
    assert plane_normal(after['gt_depth_map'], wrong) @ truth < np.cos(np.deg2rad(5))


@geometric
def test_normals_of_the_depth_stay_those_of_the_label(transform):
    after = transform(plane_frame())
    truth = after['gt_normal_map'][np.linalg.norm(after['gt_normal_map'], axis=-1) > 0][0]
    assert plane_normal(after['gt_depth_map'], after['cam2img']) @ truth > np.cos(np.deg2rad(0.5))


def test_zoom_covers_its_range():
    scales = [RandomZoom((0.5, 2.0))(frame(seed))['img_shape'][1] / SIZE[1] for seed in range(60)]
    assert 0.5 <= min(scales) < 0.65 and 1.8 < max(scales) <= 2.0 and 1.1 < np.mean(scales) < 1.4


def test_resize_keeps_depth():
    before, after = frame(), Resize(scale=2.0)(frame())
    np.testing.assert_array_equal(after['gt_depth_map'][::2, ::2], before['gt_depth_map'])
    np.testing.assert_allclose(after['cam2img'], [[120, 0, 75.1], [0, 124, 44.1], [0, 0, 1]])


# ---- flip
# ------------------------------------------------------------------------------------------------------------
def test_flip_twice_is_identity():
    flip, before = RandomFlip(1.0), frame()
    once = flip(frame())
    assert not np.array_equal(once['gt_normal_map'], before['gt_normal_map'][:, ::-1])
    np.testing.assert_array_equal(
        once['gt_normal_map'][..., 0], -before['gt_normal_map'][:, ::-1, 0]
    )
    twice = flip(once)
    for key in ('img', 'cam2img', *FIELDS):
        np.testing.assert_array_equal(twice[key], before[key])


def test_flip_happens_with_its_probability():
    flips = [RandomFlip(0.3)(frame(seed, size=(4, 4)))['flip'] for seed in range(200)]
    assert 40 < sum(flips) < 80
    kept = RandomFlip(0.0)(frame())
    assert kept['flip'] is False and np.array_equal(kept['img'], frame()['img'])


# ---- crop
# ------------------------------------------------------------------------------------------------------------
def test_crop_limits_the_largest_class():
    """One class fills the left three quarters: only windows on the right are varied enough."""
    label = np.zeros(SIZE, np.uint8)
    label[:, 48:] = 1
    shares = []
    for seed in range(40):
        results = frame(seed)
        results['gt_sem_seg'] = label
        shares.append(
            np.bincount(RandomCrop((48, 24), 0.75, tries=200)(results)['gt_sem_seg'].ravel()).max()
        )
    assert max(shares) <= 0.75 * 48 * 24
    free = [
        RandomCrop((48, 24), 1.0)(frame(seed) | {'gt_sem_seg': label})['gt_sem_seg'].mean()
        for seed in range(40)
    ]
    assert free.count(0) > 5


def test_crop_ignores_void_and_gives_up():
    results = frame()
    results['gt_sem_seg'] = (
        np.where(np.arange(64) < 60, 255, np.arange(64) % 2).astype(np.uint8)[None].repeat(48, 0)
    )
    cropped = RandomCrop((48, 30), 0.75, tries=300)(results)['gt_sem_seg']
    assert set(np.unique(cropped)) == {0, 1, 255}
    plain = frame()
    plain['gt_sem_seg'] = np.full(SIZE, 3, np.uint8)
    assert RandomCrop((20, 20))(plain)['img_shape'] == (20, 20)


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
# -------------------------------------------------------------------------------------------------------------
def test_pad_centres_and_is_void():
    before, after = frame(), Pad((57, 70))(frame())
    inside = (slice(4, 52), slice(3, 67))  # the odd row goes to the bottom
    outside = np.ones((57, 70), bool)
    outside[inside] = False
    for field, void in zip(FIELDS, (255, 0, 0, 255), strict=True):
        np.testing.assert_array_equal(after[field][inside], before[field])
        assert (after[field][outside] == void).all()
    np.testing.assert_array_equal(after['img'][inside], before['img'])
    np.testing.assert_allclose(after['cam2img'][:2, 2], CAMERA[:2, 2] + (3, 4))
    mean = torch.tensor((123.675, 116.28, 103.53))
    packed = PackMultiTaskInputs()(after)['inputs']
    assert (packed.float() - mean[:, None, None])[:, torch.from_numpy(outside)].abs().max() == 0


def test_pad_leaves_what_fits():
    results = Pad(SIZE)(frame())
    assert results['img'].dtype == np.uint8 and np.array_equal(results['img'], frame()['img'])
    assert Pad(size_divisor=14)(frame())['img_shape'] == (56, 70)


def test_pad_refuses_larger_frames():
    with pytest.raises(
        ValueError, match=r'Pad\.size \(40, 70\).*a\.png.*\(48, 64\).*crop or resize'
    ):
        Pad((40, 70))(frame())


# ---- colour
# ----------------------------------------------------------------------------------------------------------
def test_distortion_touches_colours_only():
    before, after = frame(), PhotometricDistortion(prob=1.0)(frame())
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
    with pytest.raises(ValueError, match='before Pad'):
        PhotometricDistortion()(Pad((50, 70))(frame()))


# ---- pack and the whole recipe
# ---------------------------------------------------------------------------------------
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
        assert results['inputs'].shape == (3, 40, 56)
        depth, normals = sample.gt_depth_map.data[0].numpy(), sample.gt_normal_map.data.numpy()
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
        (dict(type='Pad'), 'either size or size_divisor'),
        (dict(type='Pad', size_divisor=0), 'size_divisor'),
    ],
)
def test_wrong_arguments_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(config)

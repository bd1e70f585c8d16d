"""Zoom, resize, flip and crop move image, labels and camera together."""

import numpy as np
import pytest
from label_fields import label_of, plain
from labelled_frames import CAMERA, FIELDS, SIZE, frame, plane_frame, plane_normal, rays

from m2h_mm.datasets.transforms import (
    PackMultiTaskInputs,
    RandomCrop,
    RandomFlip,
    RandomZoom,
    Resize,
    scaling,
)
from m2h_mm.registry import TRANSFORMS
from m2h_mm.tasks import build_tasks

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


@pytest.mark.parametrize(('steps', 'count'), [([Resize(size=(4, 6))], 1), ([], 0)])
def test_a_resize_of_a_test_pipeline_is_questioned(steps, count, monkeypatch):
    """The inferencer and an exported file do not have it."""
    said = []
    monkeypatch.setattr(scaling, 'print_log', lambda text, *rest: said.append(text))
    scaling.warn_of_resize(steps, 'NYUDDataset val')
    assert len(said) == count and all('say model.data_preprocessor.size' in text for text in said)

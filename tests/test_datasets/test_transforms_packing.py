"""Padding, colours and packing, and all transforms of a training in a row."""

import numpy as np
import pytest
import torch
from label_fields import plain
from labelled_frames import FIELDS, SIZE, frame, plane_frame, plane_normal

from m2h_mm.datasets.transforms import (
    PackMultiTaskInputs,
    Pad,
    PhotometricDistortion,
    RandomCrop,
    RandomFlip,
    RandomZoom,
)
from m2h_mm.models.data_preprocessor import MultiTaskDataPreprocessor
from m2h_mm.models.labels import stack_labels
from m2h_mm.tasks import build_tasks


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
    ('name', 'value'),
    [
        ('prob', 1.5),
        ('brightness', -1),
        ('hue', float('nan')),
        ('contrast', (1.5, 0.5)),
        ('saturation', (1.0,)),
    ],
)
def test_distortions_that_cannot_be_are_refused_by_their_name(name, value):
    with pytest.raises(ValueError, match=f'PhotometricDistortion.{name}: expected '):
        PhotometricDistortion(**{name: value})

"""A label and its mask move together."""

import numpy as np
import pytest
import torch
from label_fields import label_of
from mmengine.structures import PixelData

from m2h_mm.structures import Label, MultiTaskDataSample
from m2h_mm.structures.label import read_label, read_prediction


def moved_together(label):
    """Values say where they come from, and even ones are not valid."""
    return np.array_equal(label.valid, label.value % 2 == 1)


@pytest.fixture
def label():
    value = np.arange(54, dtype=np.float32).reshape(6, 9)
    return Label(value, value % 2 == 1)


@pytest.mark.parametrize('size', [(13, 20), (4, 5), (6, 9)])
def test_resize_takes_the_nearest_and_mixes_nothing(label, size):
    resized = label.resize(size)
    assert resized.value.shape == resized.valid.shape == size and resized.valid.dtype == bool
    assert moved_together(resized) and set(resized.value.flat) <= set(label.value.flat)


def test_resize_of_channels_and_of_views(label):
    channels = Label(np.repeat(label.value[..., None], 3, axis=2), label.valid)
    resized = channels.flip().crop(slice(1, 5), slice(2, 8)).resize((8, 12))
    assert resized.value.shape == (8, 12, 3)
    assert moved_together(Label(resized.value[..., 1], resized.valid))
    np.testing.assert_array_equal(resized.value[::2, ::2, 0], label.value[1:5, 6:0:-1])


def test_flip_and_crop_move_the_mask_and_a_crop_copies_nothing(label):
    flipped, cropped = label.flip(), label.crop(slice(1, 4), slice(2, 7))
    assert moved_together(flipped) and moved_together(cropped)
    assert np.shares_memory(cropped.value, label.value)
    assert np.shares_memory(cropped.valid, label.valid)
    np.testing.assert_array_equal(flipped.value, label.value[:, ::-1])
    np.testing.assert_array_equal(flipped.flip().value, label.value)


def test_a_label_that_is_known_everywhere_stays_so():
    resized = Label(np.zeros((4, 5), np.uint8), np.ones((4, 5), bool)).resize((7, 3))
    assert resized.valid.shape == (7, 3) and resized.valid.dtype == bool and resized.valid.all()


def test_labels_are_read_from_samples_and_from_their_dicts():
    made = label_of(torch.tensor([[[1.0, 0.0]]]), 0)
    sample = MultiTaskDataSample(gt_depth=PixelData(data=made.value, valid=made.valid))
    for source in (sample, sample.to_dict()):
        read = read_label(source, 'gt_depth')
        assert torch.equal(read.value, made.value) and torch.equal(read.valid, made.valid)
        assert read_label(source, 'gt_edge') is None and read_prediction(source, 'pred_a') is None


def test_a_label_without_a_mask_is_refused():
    sample = MultiTaskDataSample(gt_depth=PixelData(data=torch.ones(1, 2, 2)))
    for source in (sample, sample.to_dict()):
        with pytest.raises(
            ValueError, match=r'gt_depth of a sample has no mask.*valid=\(1, H, W\)'
        ):
            read_label(source, 'gt_depth')

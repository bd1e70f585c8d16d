"""Disparity."""

import numpy as np
import pytest
import torch
from label_fields import label_of
from PIL import Image

from m2h_mm.registry import TASKS
from m2h_mm.tasks import Depth, Disparity, build_tasks

STORED = np.array([[0, 1, 2], [257, 5121, 65535]], np.uint16)
PIXELS = np.array([[0, 0, 1 / 256], [1, 20, 65534 / 256]], np.float32)


def test_contract():
    assert TASKS.get('disparity') is Disparity
    task, depth = build_tasks(['disparity', 'depth']).values()
    assert (task.name, task.folder, task.metric, task.higher_is_better) == (
        'disparity',
        'disparity',
        'rmse',
        False,
    )
    assert not {task.gt_field, task.pred_field, task.folder} & {
        depth.gt_field,
        depth.pred_field,
        depth.folder,
    }


def test_the_official_files_are_read(tmp_path):
    Image.fromarray(STORED).save(tmp_path / 'd.png')
    read = Disparity().read(tmp_path / 'd.png')
    np.testing.assert_array_equal(read.value, PIXELS)
    assert read.value.dtype == np.float32
    assert read.valid.tolist() == [[False, False, True], [True, True, True]]


def test_arrays_hold_pixels(tmp_path):
    np.save(tmp_path / 'd.npy', np.array([[1.5, -1.0, np.nan, np.inf, 0.0]]))
    read = Disparity().read(tmp_path / 'd.npy')
    np.testing.assert_array_equal(read.value, [[1.5, 0, 0, 0, 0]])
    np.testing.assert_array_equal(read.valid, read.value > 0)
    with pytest.raises(
        ValueError,
        match=r"d\.npy of task 'disparity': expected finite numbers "
        r'\(px\), got NaN',
    ):
        Disparity().read_prediction(tmp_path / 'd.npy')


@pytest.mark.parametrize('array', [np.ones((4, 4), np.uint8), np.ones((4, 4, 3), np.uint8)])
def test_other_pictures_are_refused(tmp_path, array):
    Image.fromarray(array).save(tmp_path / 'd.png')
    with pytest.raises(ValueError, match=r"d\.png of task 'disparity': expected"):
        Disparity().read(tmp_path / 'd.png')


@pytest.mark.parametrize(('suffix', 'tolerance'), [('.npy', 0), ('.png', 0.5 / 256 + 1e-6)])
def test_a_written_prediction_is_read_back(tmp_path, suffix, tolerance):
    prediction = np.random.default_rng(0).uniform(0, 200, (6, 9)).astype(np.float32)
    prediction[0, 0] = 0
    Disparity().write_prediction(prediction, tmp_path / f'd{suffix}')
    np.testing.assert_allclose(
        Disparity().read_prediction(tmp_path / f'd{suffix}'), prediction, atol=tolerance, rtol=0
    )


def test_a_png_holds_no_more_than_its_range(tmp_path):
    Disparity().write_prediction(np.array([[-3.0, 1e4]], np.float32), tmp_path / 'd.png')
    np.testing.assert_array_equal(Disparity().read(tmp_path / 'd.png').value, [[0, 65534 / 256]])


def test_a_zoom_multiplies_where_it_divides_depth():
    for scale in (0.5, 2.0):
        label = label_of(PIXELS, 0)
        resized = label.resize((4, 6)).value
        zoomed = Disparity().zoom(label, scale, (4, 6)).value
        np.testing.assert_array_equal(zoomed, resized * scale)
        depth = Depth().zoom(label, scale, (4, 6)).value
        np.testing.assert_allclose(depth * zoomed, resized**2, rtol=1e-6)


def test_predictions_are_not_negative():
    output = torch.tensor([[[[-1.0, 0.0, 200.0]]]])
    assert Disparity().decode(output).tolist() == [[[[0, 0, 200]]]]
    assert Disparity().error(PIXELS + 1, label_of(PIXELS, 0))[1].tolist() == [1, 1, 1]

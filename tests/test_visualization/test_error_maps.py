"""Errors of a map: their mean, the limit of their colours, and how they are painted."""

import numpy as np
import pytest
from halved_frames import SIZE, TASKS, VIEWS, hatched, prediction_of, values_of
from label_fields import label_of

from m2h_mm.visualization.error_maps import error_limit, error_panel, mean_error, paint


@pytest.mark.parametrize(
    ('name', 'wrong', 'text'),
    [
        ('semseg', 5, '50.0 % wrong class'),
        ('human_parts', 5, '50.0 % wrong part'),
        ('depth', 2.5, '0.25 m'),
        ('normals', (1, 0, 0), '45.0°'),
        ('edge', 0.25, '|p − y| = 0.125'),
        ('saliency', 0.5, '|p − y| = 0.250'),
    ],
)
def test_a_mean_error_is_of_the_labelled_pixels_and_in_the_tasks_unit(name, wrong, text):
    task, prediction = TASKS[name], prediction_of(name)
    prediction[: SIZE[0] // 2] = wrong
    label = label_of(values_of(name))
    assert VIEWS[name].error_style.text(mean_error(task.error(prediction, label))) == text
    label.valid[: SIZE[0] // 2] = False
    assert mean_error(task.error(prediction, label)) == pytest.approx(0, abs=1e-4)
    label.valid[:] = False
    assert np.isnan(mean_error(task.error(prediction, label)))


def test_natural_limits_are_kept_whatever_the_errors():
    for name, limit in dict(semseg=1, human_parts=1, normals=30, edge=1, saliency=1).items():
        assert (
            error_limit(VIEWS[name], []) == error_limit(VIEWS[name], [np.full(SIZE, 1e-3)]) == limit
        )


def test_the_limit_is_round_common_to_all_runs_and_not_the_outliers():
    depth = VIEWS['depth']
    small, large = np.linspace(0, 0.1, 1000)[None], np.linspace(0, 1.3, 1000)[None]
    assert error_limit(depth, [small]) == pytest.approx(0.1)
    assert error_limit(depth, [small, large]) == error_limit(depth, [large, small]) > 1
    outlier = small.copy()
    outlier[0, :10] = 80
    assert error_limit(depth, [outlier]) == pytest.approx(0.1)
    for high in (
        0.02,
        0.3,
        1,
        5,
        10,
        7.3,
    ):  # a round number, and no smaller than what it stands for
        limit = error_limit(depth, [np.full(SIZE, high)])
        assert (
            limit >= high * (1 - 1e-5)
            and limit <= 1.5 * high
            and float(f'{limit:.2g}') == pytest.approx(limit)
        )


@pytest.mark.parametrize('errors', [[], [np.zeros(SIZE)], [np.full(SIZE, np.nan)]])
def test_there_is_a_limit_where_nothing_is_wrong_or_labelled(errors):
    assert error_limit(VIEWS['depth'], errors) == 1


def test_a_rare_error_does_not_vanish():
    error = np.zeros(SIZE)
    error[0, 0] = 0.4
    assert error_limit(VIEWS['depth'], [error]) == pytest.approx(0.4)


@pytest.mark.parametrize('scale', [0.5, 1, 3])
def test_no_label_is_hatched_and_no_error_is_pale(scale):
    error = np.zeros(SIZE, np.float32)
    error[:, 8:] = np.nan
    panel = error_panel(error, 1, scale, tuple(round(side * scale) for side in SIZE))
    half = panel.shape[1] // 2
    assert hatched(panel[:, half:]).all()
    assert (panel[:, :half] == paint(np.zeros((1, 1)), 1)).all()


def test_an_infinite_error_is_as_dark_as_the_limit():
    assert (error_panel(np.full(SIZE, np.inf), 2, 1, SIZE) == paint(np.full((1, 1), 2), 2)).all()

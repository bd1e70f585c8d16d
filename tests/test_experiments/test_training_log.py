import json
import math

import pytest

from m2h_mm.experiments.training_log import Curve, best_direction, read_training_log


def train(step, **values):
    return dict(lr=0.1, time=0.5, **values, iter=step, step=step)


def validation(step, **values):
    return {**values, 'time': 9.0, 'data_time': 8.0, 'step': step}


@pytest.fixture
def write(tmp_path):
    """``write(stamp, *records)``: the log of one start."""

    def write(stamp, *records, tail='', names=('scalars', 'copy')):
        folder = tmp_path / 'run' / stamp / 'vis_data'
        folder.mkdir(parents=True)
        for name in names:
            (folder / f'{name}.json').write_text(
                ''.join(json.dumps(record) + '\n' for record in records) + tail
            )
        return tmp_path / 'run'

    return write


def points(curve):
    return dict(zip(curve.iterations, curve.values, strict=True))


def test_training_and_validation(write):
    log = read_training_log(
        write(
            '1',
            train(10, loss=3.0),
            train(20, loss=2.0),
            validation(20, **{'a/b': 5}),
            train(30, loss=1.0),
        )
    )
    assert points(log['loss']) == {10: 3.0, 20: 2.0, 30: 1.0}
    assert points(log['a/b']) == {20: 5.0}
    assert points(log['time']) == {10: 0.5, 20: 0.5, 30: 0.5}
    assert set(log) == {'loss', 'a/b', 'lr', 'time'}


def test_a_resumed_run_is_one_curve_and_the_later_start_wins(write):
    write(
        '20200101',
        *(train(step, loss=step) for step in (10, 20, 30, 40)),
        validation(40, **{'a/b': 1}),
    )
    # Resumed from iteration 25 with another interval: 30 and 40 were never part of what became of
    # the run.
    run = write(
        '20200102', *(train(step, loss=-step) for step in (35, 45)), validation(45, **{'a/b': 2})
    )
    log = read_training_log(run)
    assert points(log['loss']) == {10: 10, 20: 20, 30: 30, 35: -35, 45: -45}
    assert points(log['a/b']) == {45: 2}


def test_a_fresh_start_replaces_a_longer_one(write):
    write('1', *(train(step, loss=step, old=1) for step in (10, 20, 30)))
    log = read_training_log(write('2', train(10, loss=-1)))
    assert points(log['loss']) == {10: -1} and 'old' not in log


def test_a_start_that_logged_nothing_changes_nothing(write):
    write('1', train(10, loss=1))
    assert points(read_training_log(write('2'))['loss']) == {10: 1}


def test_validations_numbered_by_epochs_stand_at_the_iteration_before(write):
    log = read_training_log(
        write(
            '1',
            train(50, epoch=1),
            validation(1, **{'a/b': 1}),
            train(100, epoch=2),
            validation(2, **{'a/b': 2}),
        )
    )
    assert points(log['a/b']) == {50: 1, 100: 2}


@pytest.mark.parametrize('tail', ['{"loss": 1.0, "it', '{', '{"loss": 1.0, "a": "\udcc3'])
def test_a_half_written_last_line_is_ignored(write, tail):
    run = write('1', train(10, loss=1))
    path = run / '1' / 'vis_data' / 'scalars.json'
    path.write_bytes(path.read_bytes() + tail.encode(errors='surrogateescape'))
    assert points(read_training_log(run)['loss']) == {10: 1}


def test_a_broken_line_elsewhere_is_not(write):
    run = write('1', train(10, loss=1), tail='{"lo\n' + json.dumps(train(20, loss=2)))
    with pytest.raises(ValueError, match='scalars.json, line 2'):
        read_training_log(run)


def test_another_json_file(write):
    with pytest.raises(ValueError, match="'step'"):
        read_training_log(write('1', dict(metrics=1)))


def test_the_log_under_another_name(write):
    assert points(read_training_log(write('1', train(10, loss=1), names=['other']))['loss']) == {
        10: 1
    }


def test_values_that_are_no_numbers(write):
    log = read_training_log(
        write('1', train(10, loss=math.nan, note='x', flag=True, per_class=[1, 2]))
    )
    assert math.isnan(log['loss'].last) and set(log) == {'loss', 'lr', 'time'}


def test_no_log(write, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        read_training_log(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='vis_data'):
        read_training_log(write('1', tail='{"half'))


def test_the_best_value():
    curve = Curve((10, 20, 30, 40), (2.0, math.nan, 5.0, 2.0))
    assert (
        curve.best('greater') == (30, 5.0) and curve.best('less') == (10, 2.0) and curve.last == 2.0
    )
    assert Curve((10,), (math.nan,)).best('less') is None


@pytest.mark.parametrize(
    'key, direction',
    [
        ('loss', 'less'),
        ('loss_depth', 'less'),
        ('raw_semseg', 'less'),
        ('w_depth', None),
        ('lr', None),
        ('time', None),
        ('semseg/mIoU', 'greater'),
        ('depth/rmse', 'less'),
        ('depth/delta1', 'greater'),
        ('normals/mean', 'less'),
        ('normals/within_30', 'greater'),
        ('edge/odsF', 'greater'),
        ('saliency/maxF', 'greater'),
        ('gain/depth', 'greater'),
        ('delta_m', 'greater'),
        ('mine/unheard_of', None),
    ],
)
def test_directions(key, direction):
    assert best_direction(key) == direction

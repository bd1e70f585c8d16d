"""Edges and saliency as people store them: each is read rightly, or refused with what mends it."""

import cv2
import numpy as np
import pytest
import torch
from png_chunks import png_bytes

from m2h_mm.structures import Label
from m2h_mm.tasks.edge import Edge
from m2h_mm.tasks.saliency import Saliency

YES = np.array([[0, 0, 1, 0], [0, 1, 0, 0]], np.uint8)
BAND = np.array([[1, 0, 0, 0]] * 2, bool)


def written(tmp_path, array, suffix='.png'):
    path = tmp_path / f'a{suffix}'
    if suffix == '.png':
        cv2.imwrite(str(path), array)
    else:
        np.save(path, array)
    return path


def doubts(task, path):
    return [doubt for doubt in task.inspect(path, task.read(path)) if doubt.pixels.any()]


@pytest.mark.parametrize('task', [Edge(), Saliency()], ids=lambda task: task.name)
@pytest.mark.parametrize(
    'stored, suffix, settings',
    [
        (YES * 255, '.png', {}),
        (YES, '.png', {}),  # 0 and 1
        (YES.astype(np.uint16) * 65535, '.png', {}),
        (YES, '.npy', {}),
        (YES.astype(bool), '.npy', {}),
        (YES.astype(np.float64), '.npy', {}),
        (YES * 255, '.npy', dict(yes=255)),
        (YES * 255.0, '.npy', dict(yes=255)),
        (YES * 7, '.png', dict(yes=7)),
        ((1 - YES) * 255, '.png', dict(yes=0, no=255)),
        (YES + 1, '.png', dict(yes=2, no=1, void=0)),
    ],
)
def test_yes_and_no(tmp_path, task, stored, suffix, settings):
    path = written(tmp_path, stored, suffix)
    label = task.with_format(**settings).read(path)
    assert label.value.dtype == np.uint8
    assert (label.value == YES).all() and label.valid.all()
    assert not doubts(task.with_format(**settings), path)


@pytest.mark.parametrize(
    'stored, suffix, settings',
    [
        (np.where(BAND, 255, YES), '.npy', {}),
        (np.where(BAND, 255, YES), '.png', dict(yes=1)),
        (np.where(BAND, 128, YES * 255), '.png', dict(void=128)),
        (np.where(BAND, 100, YES * 255), '.png', dict(yes=255, void=[100, 128])),
        (np.where(BAND, -1, YES.astype(int)), '.npy', dict(void=-1)),
    ],
)
def test_void(tmp_path, stored, suffix, settings):
    stored = stored.astype(np.int16) if suffix == '.npy' else stored.astype(np.uint8)
    label = Edge().with_format(**settings).read(written(tmp_path, stored, suffix))
    assert (label.value == YES).all() and (label.valid == ~BAND).all()


def test_a_picture_of_one_bit(tmp_path):
    (tmp_path / 'a.png').write_bytes(png_bytes(4, 1, 1, 0, b'\0\x50'))
    assert Edge().read(tmp_path / 'a.png').value.tolist() == [[0, 1, 0, 1]]
    assert Edge().read_prediction(tmp_path / 'a.png').tolist() == [[0, 1, 0, 1]]
    Edge().look_at_predictions([tmp_path / 'a.png'])


@pytest.mark.parametrize(
    'stored, suffix, cause',
    [
        (
            np.where(BAND, 255, YES),
            '.png',
            r'0 and 1 and 255, which may stand.*label_formats\.edge\.yes',
        ),
        (YES * 255, '.npy', '0 and 255, which may stand'),
        (YES * 255.0, '.npy', '0 and 255, which may stand'),
        (YES * 3, '.npy', 'got 3'),
        (YES - 1.0, '.npy', 'got -1'),
        (YES * np.nan, '.npy', 'Write a number of void instead of NaN'),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, stored, suffix, cause):
    with pytest.raises(ValueError, match=rf"'edge'.*{cause}"):
        Edge().read(written(tmp_path, stored, suffix))


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(yes='255'), r'edge\.yes: expected a number'),
        (dict(yes=10**400), r'edge\.yes: expected a number'),
        (dict(void=[1, 1j]), r'edge\.void: expected a number'),
        (dict(void=float('nan')), r'edge\.void: expected a number'),
        (dict(no=1), r'edge\.no: expected yes too'),
        (dict(yes=0), r'edge\.yes: expected another number'),
        (dict(yes=255, void=255), r'\[255\] stands for yes or no'),
        (dict(void='255'), r'edge\.void: expected a number'),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Edge().with_format(**settings)


def test_more_edges_than_not_are_doubtful_and_what_lies_between_is_too(tmp_path):
    path = written(tmp_path, (1 - YES) * 255)
    (doubt,) = doubts(Edge(), path)
    assert (
        'inverted' in doubt.what
        and 'edge.yes=0 and label_formats.edge.no=255' in doubt.advice
        and not doubt.certain
    )
    assert not doubts(Saliency(), path)
    (doubt,) = doubts(Edge(), written(tmp_path, YES * 200))
    assert doubt.what == 'other values than 0 and 255'


# ---- predictions
@pytest.mark.parametrize(
    'stored, suffix, settings, expected',
    [
        (YES * 51, '.png', {}, 0.2),
        (YES * 51, '.npy', {}, 0.2),
        (YES.astype(np.uint16) * 13107, '.png', {}, 0.2),
        (YES * 0.2, '.npy', {}, 0.2),
        (YES.astype(np.int64), '.npy', {}, 1),
        (YES.astype(bool), '.npy', {}, 1),
        (YES, '.png', dict(yes=1), 1),
        (YES.astype(np.uint16) * 51, '.png', dict(yes=255), 0.2),
        (YES * 20.0, '.npy', dict(yes=100), 0.2),
        (255 - YES * 51, '.png', dict(yes=0, no=255), 0.2),
    ],
)
def test_probabilities(tmp_path, stored, suffix, settings, expected):
    reader = Edge().with_format(yes=9).for_predictions(**settings)
    path = written(tmp_path, stored, suffix)
    read = reader.read_prediction(path)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, YES * expected, rtol=1e-6)
    reader.look_at_predictions([path])


@pytest.mark.parametrize(
    'stored, cause',
    [
        (YES * 200, r'--prediction-format edge\.yes'),
        (YES * 1e300, 'sigmoid'),
        (YES * np.nan, 'nan'),
        (YES - 3.0, 'sigmoid'),
        (YES * 1j, 'complex'),
    ],
)
def test_predictions_that_make_no_sense_are_refused(tmp_path, stored, cause):
    stored = stored.astype(np.int64) if stored.dtype == np.uint8 else stored
    with pytest.raises(ValueError, match=rf'a\.npy.*{cause}'):
        Edge().for_predictions().read_prediction(written(tmp_path, stored, '.npy'))


@pytest.mark.parametrize('stored, yes', [(YES, 1), (YES.astype(np.uint16) * 200, 255)])
def test_a_folder_of_nearly_nothing_is_questioned(tmp_path, stored, yes):
    paths = [tmp_path / 'faint.png', tmp_path / 'blank.png', tmp_path / 'bright.png']
    bright = np.full_like(stored, np.iinfo(stored.dtype).max)
    for path, array in zip(paths, (stored, stored * 0, bright), strict=True):
        cv2.imwrite(str(path), array)
    with pytest.raises(ValueError, match=rf'--prediction-format edge\.yes={yes}; if not'):
        Edge().for_predictions().look_at_predictions(paths[:2])
    Edge().look_at_predictions(paths)  # one is bright: the others have no edges
    Edge().look_at_predictions(paths[1:2])
    Edge().for_predictions(yes=int(np.iinfo(stored.dtype).max)).look_at_predictions(paths[:2])


def test_void_counts_in_no_error_and_no_statistics(tmp_path):
    label = Edge().read(written(tmp_path, np.where(BAND, 255, YES).astype(np.uint8), '.npy'))
    assert (np.isnan(Edge().error(YES.astype(np.float32), label)) == BAND).all()
    tensors = Label(torch.from_numpy(label.value)[None], torch.from_numpy(label.valid)[None])
    assert Edge().label_statistics(tensors).tolist() == [2, 6]

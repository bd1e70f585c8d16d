"""Class ids as people store them: each is read rightly, or refused with what mends it."""

import cv2
import numpy as np
import pytest
from PIL import Image

from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.human_parts import HumanParts
from m2h_mm.tasks.semseg import Semseg

CLASSES = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [224, 224, 192]], np.uint8)
PALETTE = [tuple(map(int, colour)) for colour in COLOURS[:3]]


def written(tmp_path, array, suffix='.png'):
    path = tmp_path / f'a{suffix}'
    if suffix == '.png':
        cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
    else:
        np.save(path, array)
    return path


def doubts(task, path):
    return [doubt for doubt in task.inspect(path, task.read(path)) if doubt.pixels.any()]


@pytest.mark.parametrize(
    'stored, settings',
    [
        (CLASSES, {}),
        (CLASSES.astype(np.float64), {}),
        (CLASSES.astype('>i8'), {}),
        (CLASSES + 1, dict(first=1)),
        (np.array([7, 11, 1163], np.uint16)[CLASSES], dict(ids=[7, 11, 1163])),
        (np.array([7, 11, 26])[CLASSES], dict(ids={7: 0, 8: 0, 11: 1, 26: 2})),
        (np.array([0, 255, 3], np.uint8)[CLASSES], dict(ids=[0, 255, 3])),
    ],
)
def test_numbers_of_classes(tmp_path, stored, settings):
    label = Semseg(3).with_format(**settings).read(written(tmp_path, stored, '.npy'))
    assert label.value.dtype == np.uint8
    assert (label.value == CLASSES).all() and label.valid.all()


@pytest.mark.parametrize(
    'settings, void', [({}, [255]), (dict(void=254), [254]), (dict(void=[200, 255]), [200, 255])]
)
def test_numbers_of_void(tmp_path, settings, void):
    stored = np.concatenate([CLASSES, np.resize(void, (2, 3))]).astype(np.uint8)
    label = Semseg(3).with_format(**settings).read(written(tmp_path, stored))
    assert (label.valid == (stored < 3)).all() and (label.value[:2] == CLASSES).all()


@pytest.mark.parametrize('kind', ['colours', 'palette', 'opaque'])
@pytest.mark.parametrize('table', ['list', 'dict', 'void'])
def test_colours_of_classes(tmp_path, kind, table):
    stored = np.concatenate([CLASSES, CLASSES[:1] * 0 + 3]) if table == 'void' else CLASSES
    path = tmp_path / 'a.png'
    if kind == 'palette':  # in an order that means nothing
        image = Image.fromarray(3 - stored, 'P')
        image.putpalette(COLOURS[::-1].ravel().tolist())
        image.save(path)
    else:
        alpha = np.full((*stored.shape, int(kind == 'opaque')), 255, np.uint8)
        Image.fromarray(np.concatenate([COLOURS[stored], alpha], -1)).save(path)
    palette = {
        'list': PALETTE,
        'dict': {0: [PALETTE[0]], 1: PALETTE[1], 2: [PALETTE[2], (9, 9, 9)]},
        'void': [*PALETTE, (224, 224, 192)],
    }[table]
    label = Semseg(3).with_format(palette=palette).read(path)
    assert (label.value[:2] == CLASSES).all() and (label.valid == (stored < 3)).all()


def test_colours_that_are_not_in_the_table_are_named(tmp_path):
    path = written(tmp_path, COLOURS[CLASSES])
    with pytest.raises(ValueError, match=r'a\.png.*colours \[\(0, 128, 0\)\].*semseg\.palette'):
        Semseg(2).with_format(palette=PALETTE[:2]).read(path)
    with pytest.raises(ValueError, match='colours.*palette'):
        Semseg(3).read(path)


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(first=2), r'semseg\.first: expected 0 or 1'),
        (dict(first=1.0), r'semseg\.first: expected 0 or 1, got 1.0'),
        (dict(ids={1: [2]}), r'semseg\.ids: expected a list'),
        (dict(ids=[10**400]), r'semseg\.ids: expected a list'),
        (dict(void=1j), r'semseg\.void: expected a number'),
        (dict(palette=[(0, 0, 10**400)] * 3), r'expected colours \(R, G, B\)'),
        (dict(ids=[1, 1, 2]), 'a number occurs twice'),
        (dict(ids={1: 7}), r'semseg\.ids: expected class ids 0\.\.2'),
        (dict(ids='7'), r'semseg\.ids: expected a list'),
        (dict(ids=[7.5]), r'semseg\.ids: expected a list'),
        (dict(ids=[0, 1, 2], void=1), r'\[1\] are classes'),
        (dict(void='x'), r'semseg\.void: expected a number'),
        (dict(void=-1), r'semseg\.void: expected a number'),
        (dict(palette=PALETTE[:2]), 'a colour for each of the 3 classes, got 2'),
        (dict(palette=[*PALETTE, PALETTE[0]]), 'occur twice'),
        (dict(palette=[(0, 0)] * 3), r'expected colours \(R, G, B\)'),
        (dict(palette={9: (0, 0, 0)}), r'\[9\] are neither classes nor void'),
        (dict(palette='colours'), "'dataset'"),
        (dict(voids=1), "Did you mean 'void'"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Semseg(3).with_format(**settings)


@pytest.mark.parametrize(
    'stored, cause',
    [
        (CLASSES + 0.25, 'interpolation'),
        (CLASSES * np.nan, 'NaN is no class'),
        (CLASSES + 1, r'semseg\.first=1'),
        (CLASSES - 300.0, r'semseg\.ids'),
        (CLASSES.astype(np.uint16) + 256, r'num_classes to'),
        (CLASSES > 0, 'True and False'),
    ],
)
def test_what_is_no_class_is_refused_with_its_cause(tmp_path, stored, cause):
    path = written(tmp_path, stored, '.npy')
    with pytest.raises(ValueError, match=rf'a\.npy.*{cause}'):
        Semseg(3).read(path)
    with pytest.raises(ValueError, match=r'a\.npy'):
        Semseg(3).read_prediction(path)


def test_of_two_classes_true_and_false_can_be_nothing_else(tmp_path):
    assert (Semseg(2).read(written(tmp_path, CLASSES > 0, '.npy')).value == (CLASSES > 0)).all()


def test_0_alone_beside_255_is_doubtful(tmp_path):
    task = Semseg(2)
    path = written(tmp_path, (CLASSES > 0).astype(np.uint8) * 255)
    (doubt,) = doubts(task, path)
    assert 'is 255 a class' in doubt.what and doubt.pixels.sum() == 4 and not doubt.certain
    assert 'ids=[0, 255]' in doubt.advice
    assert not doubts(task.with_format(ids=[0, 255]), path)
    assert not doubts(task.with_format(void=255), path)


@pytest.mark.parametrize('stored, doubtful', [((0, 3, 255), True), ((0, 40, 255), False)])
def test_255_beside_0_where_0_is_void_is_doubtful(tmp_path, stored, doubtful):
    task = Semseg(40).with_format(first=1)
    found = doubts(task, written(tmp_path, np.array([stored], np.uint8)))
    assert bool(found) == doubtful
    assert not doubtful or 'first=0' in found[0].advice


@pytest.mark.parametrize('stored', [(0, 1, 255), (0, 0, 0), (2, 2, 255)])
def test_ordinary_labels_raise_no_doubt(tmp_path, stored):
    assert not doubts(Semseg(3), written(tmp_path, np.array([stored], np.uint8)))


def test_predictions_have_their_own_format(tmp_path):
    labels = Semseg(3).with_format(ids=[7, 8, 9], void=0)
    path = written(tmp_path, CLASSES)
    assert (labels.for_predictions().read_prediction(path) == CLASSES).all()
    theirs = Semseg(3).for_predictions(palette=PALETTE)
    path = written(tmp_path, COLOURS[CLASSES])
    assert (theirs.read_prediction(path) == CLASSES).all()
    with pytest.raises(ValueError, match='expected classes as the 3 colours'):
        theirs.read_prediction(written(tmp_path, COLOURS))
    with pytest.raises(ValueError, match=r'semseg\.void: a prediction'):
        Semseg(3).for_predictions(void=255)
    path = written(tmp_path, np.array([[0, 255]], np.uint8))
    with pytest.raises(ValueError, match=r'expected integer class ids 0\.\.2'):
        Semseg(3).read_prediction(path)


def test_parts_have_a_format_too(tmp_path):
    parts = build_tasks(['human_parts'])['human_parts'].with_format(void=[254, 255])
    assert isinstance(parts, HumanParts)
    label = parts.read(written(tmp_path, np.array([[0, 6, 254]], np.uint8)))
    assert label.valid.tolist() == [[True, True, False]]
    assert parts.with_class_table(None) is parts

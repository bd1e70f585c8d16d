"""How files of depth and disparity are read, and what of them is doubted or refused."""

import cv2
import numpy as np
import pytest

from m2h_mm.tasks import Depth, Disparity

METRES = np.linspace(0.8, 8.6, 24 * 32).reshape(24, 32).astype(np.float32)


def save(tmp_path, stored):
    """A ``.png`` of 8 or 16 bits, else a ``.npy``."""
    stored = np.asarray(stored)
    if stored.dtype in (np.uint8, np.uint16):
        cv2.imwrite(str(tmp_path / 'd.png'), stored)
        return tmp_path / 'd.png'
    np.save(tmp_path / 'd.npy', stored)
    return tmp_path / 'd.npy'


def doubts(task, path):
    return [doubt for doubt in task.inspect(path, task.read(path)) if doubt.pixels.any()]


@pytest.mark.parametrize(
    ('unit', 'per_metre', 'dtype', 'tolerance'),
    [
        (None, 1, np.float64, 1e-6),
        (None, 1, np.float16, 5e-3),
        (None, 1000, np.uint16, 1e-3),
        (None, 1000, np.int64, 1e-3),
        ('mm', 1000, np.float32, 1e-6),
        ('cm', 100, np.uint16, 1e-2),
        ('m', 1, np.uint16, 1),
        ('1/256', 256, np.uint16, 4e-3),
        ('1/5000', 5000, np.uint16, 2e-4),
        (0.0001, 10000, np.int32, 1e-4),
        ('10/255', 25.5, np.uint8, 0.04),
        (10, 0.1, np.float32, 1e-6),
    ],
)
def test_depth_in_any_unit(tmp_path, unit, per_metre, dtype, tolerance):
    path = save(tmp_path, (METRES * per_metre).astype(dtype))
    task = Depth() if unit is None else Depth().with_format(unit=unit)
    read = task.read(path)
    np.testing.assert_allclose(read.value, METRES, atol=tolerance)
    assert read.value.dtype == np.float32
    np.testing.assert_allclose(task.read_prediction(path), METRES, atol=tolerance)
    assert not doubts(task, path)


def test_numbers_that_stand_for_nothing(tmp_path):
    stored = METRES.copy()
    stored[0, :8] = (np.nan, np.inf, -np.inf, 0, -1, 1e10, 1e30, 65504)
    path = save(tmp_path, stored)
    assert Depth().read(path).valid[0, :8].tolist() == [False] * 7 + [True]
    told = Depth().with_format(invalid=65504)
    assert not told.read(path).valid[0, :8].any() and told.read(path).valid[1:].all()
    assert not doubts(told, path)
    several = Depth().with_format(invalid=[65504, float(stored[1, 0])]).read(path)
    assert not several.valid[1, 0] and several.valid[1, 1:].all()


FAR = METRES.copy()
FAR[:3] = 1
TOP = 'the largest number of a 16-bit type'


@pytest.mark.parametrize(
    ('stored', 'words', 'advice'),
    [
        (METRES * 1000, 'mostly beyond max_depth = 10 m', ".unit='mm'. If these"),
        (METRES * 100, 'mostly beyond max_depth = 10 m', ".unit='cm' or "),
        ((METRES * 5000).astype(np.uint16), 'mostly beyond max_depth', ".unit='1/5000'. If these"),
        (METRES.astype(np.uint16), 'nearer than 0.255 m everywhere', ".unit='m'"),
        ((METRES * 25).astype(np.uint16), 'nearer than 0.255 m everywhere', ".unit='10/255'"),
        (METRES / 1000, 'nearer than 0.1 m everywhere', ".unit='m'"),
        (np.where(FAR == 1, 65535, FAR * 1000).astype(np.uint16), f'65535, {TOP}', '=[65535].'),
        (np.where(FAR == 1, 65504, FAR).astype(np.float16), f'65504, {TOP}', '=[65504].'),
        (np.where(FAR == 1, 65.535, FAR), '65.535, far above all else', '=[65.535].'),
        (np.where(FAR == 1, 1000, FAR), '1000, far above all else', '=[1000].'),
        ((METRES / METRES.max() * 65535).astype(np.uint16), 'ends at exactly 65535', '.unit='),
        (METRES / METRES.max(), 'ends at exactly 1', 'numbers of one unit'),
        (np.where(FAR == 1, 1e-3, FAR).astype(np.float32), '0.001, far below all else', '=[0.001]'),
        (np.where(FAR == 1, 1, FAR * 1000).astype(np.uint16), '1, far below all else', '=[1].'),
        (METRES - 2, 'negative numbers of several values', 'positive'),
        (METRES * 0, 'no valid pixel', ''),
    ],
)
def test_depth_that_is_doubted(tmp_path, stored, words, advice):
    path = save(tmp_path, stored)
    found = doubts(Depth(), path)
    (doubt,) = [doubt for doubt in found if words in doubt.what]
    assert advice in doubt.advice and not doubt.certain
    assert len(found) == (2 if '65535' in words and 'exactly' in words else 1)


def test_depth_that_points_away_is_wrong(tmp_path):
    (doubt,) = [doubt for doubt in doubts(Depth(), save(tmp_path, -METRES)) if doubt.certain]
    assert 'nothing but negative' in doubt.what
    assert not any(doubt.certain for doubt in doubts(Depth(), save(tmp_path, METRES * 0 - 1)))


@pytest.mark.parametrize(
    'stored',
    [
        np.where(METRES > 4, 2.5, 0),  # one wall
        np.where(METRES > 4, 2.5, np.where(METRES > 3, 30, 0)),  # a far wall behind it, flat
        np.where(METRES > 8, 12, METRES),  # a little beyond max_depth
        np.where(METRES == METRES.max(), 90, METRES),  # a pixel beside an edge
        np.minimum(METRES, 8),  # cut off
        np.minimum(METRES, 1),
        np.where(METRES > 4, np.nan, METRES),
        np.where(METRES > 4, -1, METRES),
        np.ones_like(METRES),
    ],
)
def test_depth_that_is_not_doubted(tmp_path, stored):
    assert not doubts(Depth(max_depth=40 if stored.max() == 30 else 10), save(tmp_path, stored))


def test_a_unit_that_is_stated_is_not_doubted(tmp_path):
    near = save(tmp_path, METRES / 1000)
    assert not doubts(Depth().with_format(unit='m'), near)
    path = save(tmp_path, (METRES / METRES.max() * 255).astype(np.uint8))
    assert not doubts(Depth().with_format(unit='10/255'), path)
    (beyond,) = doubts(Depth().with_format(unit='m'), path)
    assert beyond.advice == 'If these are metres, raise tasks.depth.max_depth.'


def test_eight_bits_of_millimetres_are_refused(tmp_path):
    path = save(tmp_path, (METRES * 25.5).astype(np.uint8))
    with pytest.raises(ValueError, match=r"d.png .* 8 bits .*label_formats.depth.unit='10/255'"):
        Depth().read(path)
    with pytest.raises(ValueError, match=r'--prediction-format depth.unit=10/255'):
        Depth().for_predictions().read_prediction(path)
    assert not Depth().read(save(tmp_path, np.zeros((4, 4), np.uint8))).valid.any()


@pytest.mark.parametrize('task', [Depth(), Disparity()], ids=lambda task: task.name)
@pytest.mark.parametrize(
    'stored',
    [
        METRES.astype(np.complex64),
        METRES > 3,
        METRES.astype('U4'),
        METRES.astype('M8[s]'),
        np.zeros((4, 4), [('a', np.float32), ('b', np.float32)]),
        METRES.astype(object),
    ],
    ids=['complex', 'bool', 'text', 'date', 'structured', 'object'],
)
def test_what_is_no_number_is_refused(tmp_path, task, stored):
    np.save(tmp_path / 'd.npy', stored)
    for read in (task.read, task.read_prediction):
        with pytest.raises(ValueError, match=r'd\.npy'):
            read(tmp_path / 'd.npy')


@pytest.mark.parametrize('task', [Depth(), Disparity()], ids=lambda task: task.name)
@pytest.mark.parametrize('value', [np.nan, np.inf, 1e300, -1e10, 1e6])
def test_predictions_that_make_no_sense_are_refused(tmp_path, task, value):
    stored = METRES.astype(np.float64)
    stored[3, 4] = value
    np.save(tmp_path / 'd.npy', stored)
    with pytest.raises(ValueError, match=r'd\.npy of task .*: expected (finite )?numbers'):
        task.read_prediction(tmp_path / 'd.npy')
    assert not task.read(tmp_path / 'd.npy').valid[3, 4]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(unit='inch'), "^depth.unit: .*'m', 'cm', 'mm', .*'1/256'; got 'inch'"),
        (dict(unit=0), r'^depth.unit: .*got 0\.'),
        (dict(unit='1/0'), '^depth.unit: '),
        (dict(unit=True), '^depth.unit: '),
        (dict(unit=1e30), '^depth.unit: .*from 1e-09 to 10000'),
        (dict(unit=[1]), '^depth.unit: '),
        (dict(unit=10**400), '^depth.unit: '),
        (dict(invalid='x'), "^depth.invalid: expected a number or a list of numbers, got 'x'"),
        (dict(units='m'), "^depth.units: .*'unit'"),
    ],
)
def test_formats_of_depth_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Depth().with_format(**settings)


@pytest.mark.parametrize('task', [Depth(), Disparity()])
def test_three_equal_channels_are_looked_at_as_one(tmp_path, task):
    numbers = np.rint(METRES * 1000).astype(np.uint16)
    path = save(tmp_path, np.stack([numbers] * 3, axis=2))
    assert not doubts(task, path) and task.explain([path], [task.read(path)])
    task.look_at_predictions([path])


def test_how_depth_was_understood(tmp_path):
    path = save(tmp_path, (METRES * 1000).astype(np.uint16))
    assert Depth().explain([path], [Depth().read(path)]) == (
        'uint16 .png read as millimetres: 0.8 to 8.6 m, median 4.6 m (label_formats.depth.unit '
        'says another)'
    )
    told = Depth(max_depth=2).with_format(unit='1/256')
    assert told.explain([path], [told.read(path)]) == (
        'uint16 .png read as 1/256 m: 3.1 to 33.6 m, median 18 m, 100.0% beyond max_depth = 2 m'
    )
    nothing = save(tmp_path, METRES * 0)
    assert Depth().explain([nothing], [Depth().read(nothing)]) == ''


PIXELS = METRES * 10


@pytest.mark.parametrize(
    ('settings', 'stored'),
    [
        (dict(), PIXELS),
        (dict(), (PIXELS * 256 + 1).astype(np.uint16)),
        (dict(unit='1/256'), (PIXELS * 256).astype(np.uint16)),
        (dict(unit='1/256', offset=1), (PIXELS * 256 + 1).astype(np.uint16)),
        (dict(unit='px'), PIXELS.astype(np.uint16)),
        (dict(unit=0.5), (PIXELS * 2).astype(np.uint8)),
    ],
)
def test_disparity_in_any_unit(tmp_path, settings, stored):
    path, task = save(tmp_path, stored), Disparity().with_format(**settings)
    np.testing.assert_allclose(task.read(path).value, PIXELS, atol=1)
    assert not doubts(task, path)
    explained = task.explain([path], [task.read(path)])
    assert bool(explained) == (not settings)


@pytest.mark.parametrize(
    ('stored', 'words'),
    [
        (PIXELS * 256, 'mostly above 2000 px'),
        (PIXELS.astype(np.uint16), 'below 1 px everywhere'),
        (PIXELS / 1000, 'below 1 px everywhere'),
        (-PIXELS, 'nothing but negative numbers'),
        (np.where(FAR == 1, 65504, PIXELS), '65504, the largest'),
    ],
)
def test_disparity_that_is_doubted(tmp_path, stored, words):
    assert any(words in doubt.what for doubt in doubts(Disparity(), save(tmp_path, stored)))


def test_an_offset_needs_a_unit():
    with pytest.raises(ValueError, match='^disparity.offset: 1 is subtracted where the unit'):
        Disparity().with_format(offset=1)
    with pytest.raises(ValueError, match='^disparity.offset: '):
        Disparity().with_format(unit='1/256', offset=[1, 2])


def test_predictions_in_another_unit_are_a_warning(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('m2h_mm.tasks.depth.task.print_log', lambda text, *rest: said.append(text))
    (tmp_path / 'other').mkdir()
    metres, millimetres = save(tmp_path, METRES), save(tmp_path / 'other', METRES * 1000)
    reader = Depth().for_predictions()
    reader.look_at_predictions([millimetres, metres])
    assert not said
    reader.look_at_predictions([millimetres, millimetres])
    (text,) = said
    assert f'such as {millimetres}: mostly beyond' in text
    assert '--prediction-format depth.unit=mm' in text
    Depth().for_predictions(unit='mm').look_at_predictions([millimetres])
    assert len(said) == 1
    with pytest.raises(ValueError, match='nothing but negative numbers'):
        reader.look_at_predictions([save(tmp_path, -METRES)])

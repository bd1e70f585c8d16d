"""How each task looks: colours, key, style of errors."""

import subprocess
import sys

import numpy as np
import pytest

from m2h_mm.registry import TASK_FOLDERS, TASKS, VIEWS
from m2h_mm.tasks import Semseg, Task, build_tasks
from m2h_mm.tasks.keys import Figure, Scale, Tiles, round_numbers
from m2h_mm.tasks.shown import Map, Shown
from m2h_mm.tasks.view import NO_VALUE, View, build_view, names_of_classes

SIZE = (6, 9)
RNG = np.random.default_rng(0)
VIEW = {name: build_view(task) for name, task in build_tasks(list(TASK_FOLDERS)).items()}
CLASSES = ['aeroplane', 'bicycle', 'bird', 'boat']


def whole(value) -> Map:
    """A map that is valid everywhere."""
    return Map(np.asarray(value), np.ones(np.shape(value)[:2], bool))


def value_of(name: str) -> np.ndarray:
    if name == 'normals':
        vectors = RNG.normal(size=(*SIZE, 3)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    if name in ('depth', 'disparity'):
        return RNG.uniform(0.5, 9, SIZE).astype(np.float32)
    return RNG.integers(0, 2 if name in ('edge', 'saliency') else 7, SIZE).astype(np.uint8)


class Albedo(Task):
    """Three numbers in 0..1."""

    name = 'albedo'
    channels = label_channels = 3

    def read(self, path):
        raise NotImplementedError

    def decode(self, output):
        return output.sigmoid()


class Height(Albedo):
    """One number in metres."""

    name, error_unit, label_channels, channels = 'height', 'm', 1, 1


# ---- every view
@pytest.mark.parametrize('name', VIEW)
def test_what_is_not_valid_is_grey_and_changes_no_other_pixel(name):
    view, value, valid = VIEW[name], value_of(name), np.ones(SIZE, bool)
    limits = view.limits(Shown(whole(value)))
    valid[:2] = False
    picture = view.draw(value, valid, limits)
    assert picture.shape == (*SIZE, 3) and picture.dtype == np.uint8 and picture.std() > 0
    assert (picture[:2] == NO_VALUE).all()
    np.testing.assert_array_equal(picture[2:], view.draw(value[2:], limits=limits))


@pytest.mark.parametrize('name', VIEW)
def test_the_colours_of_the_key_are_those_of_the_picture(name):
    """Truth and prediction show all that a key explains; every tile of it has a drawn pixel."""
    view, value = VIEW[name], value_of(name)
    if name == 'normals':
        value = np.eye(3, dtype=np.float32)[None]
    picture = view.draw(value).reshape(-1, 3).tolist()
    (block,) = view.key(Shown(truth=whole(value)), CLASSES, width=102, text=13)
    if isinstance(block, Scale):
        assert block.ramp.shape == (100, 3)
        ends = [value.argmin(), value.argmax()]
        assert block.ramp[[0, -1]].tolist() == [picture[end] for end in ends]
    else:
        tiles = block.tiles if isinstance(block, Figure) else block
        assert {colour for colour, _ in tiles.entries} == set(map(tuple, picture))


@pytest.mark.parametrize('name', VIEW)
def test_a_prediction_that_is_not_finite_has_no_value(name):
    value = value_of(name).astype(np.float32)
    value[0], value[1], value[2] = np.nan, np.inf, -np.inf
    map = VIEW[name].map_of(value)
    assert np.isfinite(map.value).all()
    assert not map.valid[:3].any()
    if name not in ('normals', 'depth', 'disparity'):
        assert map.valid[3:].all()


def test_a_view_is_found_by_the_kind_of_the_task_whatever_its_name():
    parts = build_tasks(dict(limbs=dict(type='human_parts')))['limbs']
    assert type(build_view(parts)) is VIEWS.get('human_parts')
    assert type(build_view(Albedo())) is View


def test_a_task_that_extends_another_looks_like_it_unless_it_has_a_view(monkeypatch):
    class Sky(Semseg):
        pass

    class SkyView(View):
        pass

    monkeypatch.setitem(TASKS.module_dict, 'sky', Sky)
    assert type(build_view(Sky(2))) is VIEWS.get('semseg')
    monkeypatch.setitem(VIEWS.module_dict, 'sky', SkyView)
    assert type(build_view(Sky(2))) is SkyView


def test_tasks_and_views_are_imported_without_what_draws():
    """In a process of its own: in this one everything is imported already."""
    code = (
        'import sys, m2h_mm.tasks, m2h_mm.tasks.view; '
        "assert not {'matplotlib.ticker', 'matplotlib.colors', 'PIL.Image'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code], check=True)


# ---- depth, disparity
@pytest.mark.parametrize(('name', 'brighter'), [('depth', 0), ('disparity', 2)])
def test_near_is_bright(name, brighter):
    brightness = VIEW[name].draw(np.array([[1.0, 2.0, 3.0]])).sum(axis=2)[0]
    assert brightness.argmax() == brighter and brightness.argmin() == 2 - brighter


def test_a_scale_is_that_of_its_limits_and_ends_in_one_colour():
    view, value = VIEW['disparity'], np.array([[1.0, 20.0, 255.0]])
    picture = view.draw(value, limits=(0.0, 20.0))
    np.testing.assert_array_equal(picture[0, 1], picture[0, 2])
    np.testing.assert_array_equal(picture[0, 1], view.draw(value)[0, 2])


def test_the_scale_is_the_truths_and_without_truth_the_predictions():
    view, prediction = VIEW['depth'], whole([[2.0, 4.0]])
    assert view.limits(Shown(whole([[1.0, 3.0]]), prediction)) == (1, 3)
    unmeasured = Map(np.zeros((1, 2)), np.zeros((1, 2), bool))
    assert view.limits(Shown(unmeasured, prediction)) == (2, 4)
    assert view.limits(Shown(unmeasured)) == (0, 1) and view.key(Shown(unmeasured)) == []


@pytest.mark.parametrize(
    ('predicted', 'first', 'last'),
    [(2.0, '1.00 m', '3.00 m'), (0.5, '≤ 1.00 m', '3.00 m'), (9.0, '1.00 m', '≥ 3.00 m')],
)
def test_depth_key_says_where_colours_saturate(predicted, first, last):
    shown = Shown(whole([[1.0, 3.0]]), whole([[predicted, 2.0]]))
    (key,) = VIEW['depth'].key(shown)
    assert (key.ticks[0], key.ticks[-1]) == ((0.0, first), (1.0, last))
    assert (0.5, '2 m') in key.ticks


def test_a_video_has_the_scale_of_the_task_or_of_its_first_frame():
    first = whole([[2.0, 4.0]])
    assert VIEW['depth'].limits_of_video(first) == (0, VIEW['depth'].task.max_depth)
    assert VIEW['disparity'].limits_of_video(first) == (0, 4)
    assert VIEW['semseg'].limits_of_video(first) is None
    assert build_view(Height()).limits_of_video(first) == (2, 4)


@pytest.mark.parametrize('name', ['depth', 'disparity'])
def test_zero_is_no_depth_and_no_disparity(name):
    assert VIEW[name].map_of(np.array([[0.0, 1.0]])).valid.tolist() == [[False, True]]


# ---- normals
def test_a_zero_vector_has_no_value():
    normals = np.array([[[0, 0, 0], [0, 0, 1]]], np.float32)
    assert VIEW['normals'].map_of(normals).valid.tolist() == [[False, True]]


def test_the_ball_is_bluest_in_its_middle_and_white_around():
    (key,) = VIEW['normals'].key(Shown(whole(value_of('normals'))), text=20)
    middle = len(key.picture) // 2
    assert key.picture.shape == (89, 89, 3)
    assert tuple(key.picture[middle, middle]) == VIEW['normals'].colour_of((0, 0, 1))
    assert (key.picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    right, top = key.picture[middle, -1], key.picture[0, middle]
    assert tuple(right) == VIEW['normals'].colour_of((1, 0, 0))
    assert tuple(top) == VIEW['normals'].colour_of((0, 1, 0))


# ---- classes
def test_class_key_names_the_classes_that_occur():
    truth, prediction = np.full(SIZE, 1), np.full(SIZE, 3)
    prediction[:, 5:] = 5
    (key,) = VIEW['semseg'].key(Shown(whole(truth), whole(prediction)), CLASSES)
    assert [text for _, text in key.entries] == ['bicycle', 'boat', 'class 5']
    assert key.entries[1][0] == tuple(VIEW['semseg'].palette[3])


def test_parts_are_named_whatever_the_data_sets_classes():
    shown = Shown(whole([[0, 1, 6]]), whole([[1, 3, 1]]))
    names = names_of_classes({name: view.task for name, view in VIEW.items()}, CLASSES)
    assert names['semseg'] == CLASSES and not names['depth']
    (key,) = VIEW['human_parts'].key(shown, names['human_parts'])
    assert [text for _, text in key.entries] == ['background', 'head', 'upper arms', 'lower legs']
    unnamed = build_view(build_tasks(dict(human_parts=dict(num_classes=5)))['human_parts'])
    (key,) = unnamed.key(Shown(whole([[0, 4]])))
    assert [text for _, text in key.entries] == ['class 0', 'class 4']


def test_parts_differ_from_one_another_and_from_no_value():
    colours = VIEW['human_parts'].draw(np.arange(8)[None], np.arange(8)[None] < 7)[0].astype(int)
    distances = np.abs(colours[:, None] - colours).sum(axis=2)
    assert distances[~np.eye(8, dtype=bool)].min() > 60
    assert tuple(VIEW['semseg'].palette[0]) != tuple(VIEW['human_parts'].palette[0])


# ---- edges, saliency
def test_probabilities_are_shades_of_grey():
    half = np.array([[0.2, 0.5]], np.float32)
    np.testing.assert_array_equal(VIEW['saliency'].draw(half)[..., 1], [[51, 128]])
    np.testing.assert_array_equal(VIEW['edge'].draw(half)[..., 1], [[204, 127]])


def test_saliency_has_two_tiles_for_truth_and_a_scale_for_predictions():
    label = whole(np.zeros(SIZE, np.uint8))
    (key,) = VIEW['saliency'].key(Shown(label))
    assert key == Tiles((((255, 255, 255), 'salient'), ((0, 0, 0), 'not salient')))
    (key,) = VIEW['saliency'].key(Shown(label, whole(RNG.random(SIZE))))
    assert key.ticks == ((0.0, '0'), (0.5, 'probability of saliency'), (1.0, '1'))
    assert key.ramp[[0, -1], 0].tolist() == [0, 255]


# ---- tasks without a view of their own
def test_numbers_have_a_scale_in_the_tasks_unit():
    view = build_view(Height())
    value = np.array([[0.0, -2.5, 10.0]])
    (key,) = view.key(Shown(whole(value)), width=102)
    assert key.ticks[0] == (0.0, '-2.5 m') and key.ticks[-1] == (1.0, '10 m')
    assert (0.2, '0 m') in key.ticks
    picture = view.draw(value)
    np.testing.assert_array_equal(key.ramp[[0, -1]], picture[0, [1, 2]])
    assert len(np.unique(picture[0], axis=0)) == 3
    assert view.map_of(value).valid.all(), 'zero and below are numbers like any other'
    assert view.error_style.text(0.12345) == '0.123 m'


def test_three_channels_are_a_picture_and_black_is_a_colour():
    view = build_view(Albedo())
    value = np.array([[[0, 0, 0], [1, 0.5, 0]]], np.float32)
    assert view.draw(value).tolist() == [[[0, 0, 0], [255, 128, 0]]]
    assert view.map_of(value).valid.all()
    channels, scale = view.key(Shown(whole(value), whole(value * 1.5)), width=102)
    assert channels.entries[1] == ((0, 255, 0), 'channel 1')
    assert scale.ticks == ((0.0, '0'), (0.5, '0.5'), (1.0, '≥ 1'))
    assert scale.ramp[[0, -1]].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_other_channels_need_a_view_of_their_own():
    with pytest.raises(ValueError, match=r"'albedo'.*got \(6, 9, 2\).*VIEWS.register_module"):
        build_view(Albedo()).draw(np.zeros((*SIZE, 2)))


def test_round_numbers_lie_between_the_ends():
    assert round_numbers(0, 30, 4, (1, 2, 2.5, 5, 10)) == [10, 20]
    assert round_numbers(1, 3, 5, (1, 2, 5, 10)) == pytest.approx([1.5, 2, 2.5])

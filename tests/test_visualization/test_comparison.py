"""Comparing the runs of one frame in a picture."""

import numpy as np
import pytest
from halved_frames import SIZE, TASKS, VIEWS, hatched, prediction_of, values_of
from label_fields import label_of
from PIL import Image

from m2h_mm.visualization import comparison
from m2h_mm.visualization.comparison import arrange, below_one_another, draw_comparison
from m2h_mm.visualization.error_maps import paint

PANEL = 64  # each pixel of the frame is four by four of the picture
SCALE = PANEL // SIZE[1]


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def notices(monkeypatch):
    """What the panels without a picture say, as they are drawn."""
    seen = []

    def record(height, width, text, size):
        seen.append(text)
        return np.zeros((height, width, 3), np.uint8)

    monkeypatch.setattr(comparison, 'notice_panel', record)
    return seen


@pytest.fixture
def texts(monkeypatch):
    """Lines of text as they are written, with whether they are bold."""
    seen, write = [], comparison.text_block

    def record(lines, size, bold=False, **options):
        seen.extend((line.strip(), bold) for line in lines if line.strip())
        return write(lines, size, bold=bold, **options)

    monkeypatch.setattr(comparison, 'text_block', record)
    return seen


def pixels_of(picture: np.ndarray, colour: np.ndarray) -> int:
    return int((picture == colour).all(-1).sum())


@pytest.mark.parametrize('count', [1, 2, 5])
def test_runs_are_columns_named_in_order_and_tasks_blocks(image, texts, count):
    runs = {f'run{index}': {name: prediction_of(name) for name in TASKS} for index in range(count)}
    picture = draw_comparison(
        image,
        TASKS,
        {name: label_of(values_of(name)) for name in TASKS},
        runs,
        'frame 7',
        (),
        PANEL,
    )
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    titles = [line for line, bold in texts if line.startswith('run') and bold]
    assert titles == list(runs) * len(TASKS)
    blocks = [line for line, bold in texts if bold and line in TASKS]
    assert blocks == list(TASKS) and ('frame 7', True) in texts


def test_truth_and_perfect_runs_look_alike_and_their_errors_are_pale(image):
    """Parts: two panels of truth and prediction and one of errors, counted by colour."""
    part = TASKS['human_parts']
    label = values_of('human_parts')
    picture = draw_comparison(
        image,
        {'human_parts': part},
        {'human_parts': label_of(label)},
        {'run': {'human_parts': prediction_of('human_parts')}},
        '',
        (),
        PANEL,
    )
    half = SIZE[0] * SIZE[1] * SCALE**2 // 2
    tile = 400
    assert 2 * half <= pixels_of(picture, VIEWS['human_parts'].palette[3]) <= 2 * half + tile
    assert 2 * half <= pixels_of(picture, paint(np.zeros((1, 1)), 1)) <= 2 * half + tile
    assert pixels_of(picture, paint(np.ones((1, 1)), 1)) <= tile


@pytest.mark.parametrize('name', ['saliency', 'human_parts', 'semseg'])
def test_what_is_wrong_is_dark(image, name):
    label, wrong = values_of(name), prediction_of(name)
    wrong[: SIZE[0] // 2] = 1
    wrong[SIZE[0] // 2 :] = 0
    label[label == 1] = dict(saliency=1, human_parts=1, semseg=4)[name]
    picture = draw_comparison(
        image, {name: TASKS[name]}, {name: label_of(label)}, {'run': {name: wrong}}, '', (), PANEL
    )
    assert pixels_of(picture, paint(np.ones((1, 1)), 1)) >= SIZE[0] * SIZE[1] * SCALE**2


def test_the_smallest_mean_is_bold_and_only_among_several(image, texts):
    label = values_of('depth')
    runs = {f'off by {off}': {'depth': label + np.float32(off)} for off in (0.5, 0.25, 1)}
    draw_comparison(
        image, {'depth': TASKS['depth']}, {'depth': label_of(label)}, runs, panel_size=PANEL
    )
    assert [text for text in texts if text[0].endswith(' m')] == [
        ('0.5 m', False),
        ('0.25 m', True),
        ('1 m', False),
    ]
    texts.clear()
    draw_comparison(
        image,
        {'depth': TASKS['depth']},
        {'depth': label_of(label)},
        {'one': runs['off by 1']},
        panel_size=PANEL,
    )
    assert ('1 m', False) in texts


def test_all_runs_share_the_colours_of_the_truth(image, monkeypatch):
    seen, draw = [], comparison.draw_panel

    def record(view, map, limits, *rest):
        seen.append(limits)
        return draw(view, map, limits, *rest)

    monkeypatch.setattr(comparison, 'draw_panel', record)
    label = values_of('depth')
    runs = {'near': {'depth': label / 2}, 'far': {'depth': label * 2}}
    draw_comparison(
        image, {'depth': TASKS['depth']}, {'depth': label_of(label)}, runs, panel_size=PANEL
    )
    assert seen == [(2, 4)] * 3
    seen.clear()
    draw_comparison(image, {'depth': TASKS['depth']}, {}, runs, panel_size=PANEL)
    assert set(seen[1:]) == {(1, 8)}  # without truth: of both runs together


def test_what_is_missing_is_said_in_its_panel(image, notices, texts):
    good = prediction_of('depth')
    runs = dict(
        good={'depth': good},
        small={'depth': good[::2, ::2]},
        absent={},
        damaged={'depth': 'file cannot be read'},
        colour={'depth': np.zeros((*SIZE, 3))},
    )
    draw_comparison(
        image,
        {'depth': TASKS['depth']},
        {'depth': label_of(values_of('depth'))},
        runs,
        panel_size=PANEL,
    )
    assert notices == [
        'expected 12 × 16,\ngot 6 × 8',
        'no prediction',
        'file cannot be read',
        'expected 12 × 16,\ngot 12 × 16 × 3',
    ]
    assert [text for text in texts if text[0].endswith(' m')] == [
        ('0 m', False)
    ]  # alone, it is no winner


def test_normals_need_three_channels(image, notices):
    draw_comparison(
        image,
        {'normals': TASKS['normals']},
        {'normals': label_of(values_of('normals'))},
        {'run': {'normals': np.ones(SIZE, np.float32)}},
        panel_size=PANEL,
    )
    assert notices == ['expected 12 × 16 × 3,\ngot 12 × 16']


@pytest.mark.parametrize('name', list(TASKS))
def test_predictions_without_a_label_have_no_error(image, notices, texts, name):
    draw_comparison(
        image, {name: TASKS[name]}, {}, {'run': {name: prediction_of(name)}}, panel_size=PANEL
    )
    assert notices == ['no label']
    assert ('error', True) not in texts


@pytest.mark.parametrize('name', list(TASKS))
def test_a_label_without_valid_pixels_is_drawn(image, texts, name):
    unknown = label_of(values_of(name))
    unknown.valid[:] = False
    picture = draw_comparison(
        image,
        {name: TASKS[name]},
        {name: unknown},
        {'a': {name: prediction_of(name)}, 'b': {}},
        panel_size=PANEL,
    )
    assert hatched(picture).sum() >= 2 * SIZE[0] * SIZE[1] * SCALE**2  # the truth and the error map
    assert not any('nan' in line for line, _ in texts)


def test_what_has_no_value_counts_as_wrong_and_is_hatched(image, texts):
    label, holes = values_of('depth'), prediction_of('depth')
    holes[:, :8] = 0
    not_finite = holes.copy()
    not_finite[:, :8] = np.nan
    runs = {'zero': {'depth': holes}, 'nan': {'depth': not_finite}}
    for prediction in (holes, not_finite):
        valid = VIEWS['depth'].map_of(prediction).valid
        np.testing.assert_array_equal(valid[0], np.arange(16) >= 8)
    picture = draw_comparison(
        image, {'depth': TASKS['depth']}, {'depth': label_of(label)}, runs, panel_size=PANEL
    )
    assert [text for text in texts if text[0].endswith(' m')] == [
        ('1.5 m', True)
    ] * 2  # 3 m, in half of the pixels
    assert hatched(picture).sum() >= SIZE[0] * SIZE[1] * SCALE**2


def test_the_key_knows_the_values_of_every_run():
    maps = [VIEWS['semseg'].map_of(np.full(SIZE, index)) for index in (3, 5)]
    assert set(below_one_another(maps).values) == {3, 5}
    assert below_one_another([]) is None


@pytest.mark.parametrize('count', [1, 2, 3, 6])
def test_blocks_are_arranged_as_square_as_can_be(count):
    blocks = [Image.new('RGB', (80, 40))] * count
    whole = arrange(blocks, 0)
    assert whole.size == {1: (80, 40), 2: (80, 80), 3: (80, 120), 6: (160, 120)}[count]


def test_a_large_frame_is_shrunk(texts):
    size = (96, 200)
    picture = draw_comparison(
        np.zeros((*size, 3), np.uint8),
        {'depth': TASKS['depth']},
        {'depth': label_of(np.ones(size, np.float32))},
        {'run': {'depth': np.ones(size, np.float32)}},
        panel_size=100,
    )
    assert ('96 × 200 pixels, shown at 0.5 ×', False) in texts
    assert picture.shape[1] < 2 * size[1] + 200


def test_mistakes_are_named(image):
    depth, label = {'depth': TASKS['depth']}, {'depth': label_of(values_of('depth'))}
    runs = {'run': {'depth': values_of('depth')}}
    with pytest.raises(
        ValueError,
        match=r'image: expected \(H, W, 3\) uint8 RGB, got \(12, 16, '
        r'3\) float64',
    ):
        draw_comparison(image / 255, depth, label, runs)
    with pytest.raises(ValueError, match='panel_size: expected 64 pixels or more.*got 63'):
        draw_comparison(image, depth, label, runs, panel_size=63)
    with pytest.raises(ValueError, match=r'one run and one task or more, got the runs \[\]'):
        draw_comparison(image, depth, label, {})
    with pytest.raises(ValueError, match=r'tasks \[\]'):
        draw_comparison(image, {}, label, runs)
    with pytest.raises(
        ValueError,
        match=r"labels\['depth'\]: expected the size of the image, "
        r'\(12, 16\), got \(6, 8',
    ):
        draw_comparison(image, depth, {'depth': label['depth'].resize((6, 8))}, runs)

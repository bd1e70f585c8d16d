"""Pictures show what the sample holds."""

import os

import cv2
import numpy as np
import pytest
import torch
from label_fields import label_field
from mmengine.structures import PixelData

from m2h_mm.registry import VISUALIZERS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Task, build_tasks
from m2h_mm.tasks.view import build_view
from m2h_mm.visualization import MultiTaskVisualizer, frame_image, legends, save_picture, spread
from m2h_mm.visualization.drawing import HATCH_DARK, HATCH_LIGHT, fit_scale, rescale, text_width
from m2h_mm.visualization.panels import draw_panel, shown_of_sample

SIZE = (12, 16)
# What stands for unknown in the labels below.
UNKNOWN = dict(gt_semseg=255, gt_depth=0)
CLASSES = [f'name {i}' for i in range(5)]


def make_sample(**fields) -> MultiTaskDataSample:
    sample = MultiTaskDataSample(metainfo=dict(frame_id='000433'))
    for name, data in fields.items():
        data = torch.as_tensor(data)
        is_label = name.startswith('gt_')
        field = label_field(data, UNKNOWN[name]) if is_label else PixelData(data=data)
        sample.set_field(field, name)
    return sample


def depth_map(value: float) -> torch.Tensor:
    return torch.full((1, *SIZE), value)


@pytest.fixture
def tasks() -> dict[str, Task]:
    return build_tasks(dict(semseg=dict(num_classes=6), depth={}, normals={}, edge={}))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def visualizer() -> MultiTaskVisualizer:
    return MultiTaskVisualizer(panel_size=64)


def is_hatched(picture: np.ndarray) -> np.ndarray:
    return (picture == HATCH_DARK).all(-1) | (picture == HATCH_LIGHT).all(-1)


def test_predictions_and_truth_are_rows(visualizer, image, tasks):
    truth = make_sample(gt_depth=depth_map(2.0))
    both = make_sample(gt_depth=depth_map(2.0), pred_depth=depth_map(3.0))
    one_row = visualizer.draw_frame(image, truth, tasks)
    two_rows = visualizer.draw_frame(image, both, tasks)
    assert one_row.dtype == np.uint8 and one_row.shape[2] == 3
    assert two_rows.shape[0] >= one_row.shape[0] + SIZE[0] * 4
    assert two_rows.shape[1] == one_row.shape[1]
    np.testing.assert_array_equal(
        visualizer.draw_frame(image, both, tasks, draw_pred=False), one_row
    )


def test_a_column_per_task(visualizer, image, tasks):
    sample = make_sample(gt_depth=depth_map(2.0))
    widths = [
        visualizer.draw_frame(image, sample, dict(list(tasks.items())[:n])).shape[1]
        for n in (2, 3, 4)
    ]
    assert widths[0] < widths[1] < widths[2]


def test_image_is_shown_pixel_for_pixel(visualizer, image, tasks):
    picture = visualizer.draw_frame(image, make_sample(gt_depth=depth_map(2.0)), tasks)
    magnified = np.kron(image, np.ones((4, 4, 1), np.uint8))
    windows = np.lib.stride_tricks.sliding_window_view(picture[:, :200], magnified.shape)[:, :, 0]
    candidates = np.argwhere((windows[..., 0, 0, :] == magnified[0, 0]).all(-1))
    assert any((windows[tuple(corner)] == magnified).all() for corner in candidates)


@pytest.mark.parametrize(
    ('size', 'scale'), [((120, 160), 4), ((480, 640), 1), ((425, 560), 1), ((1280, 320), 0.5)]
)
def test_frames_are_magnified_by_whole_factors(size, scale):
    assert fit_scale(size, 640) == scale


def test_shrunk_mask_stays_a_mask():
    mask = np.arange(64).reshape(8, 8) % 3 == 0
    assert rescale(mask, 0.5).dtype == bool and rescale(mask, 0.5).shape == (4, 4)


def test_invalid_pixels_are_hatched_and_only_they(tasks):
    labels = torch.randint(0, 6, (1, *SIZE), dtype=torch.uint8)
    labels[:, :3] = 255
    view = build_view(tasks['semseg'])
    truth = shown_of_sample(view, make_sample(gt_semseg=labels), SIZE).truth
    panel = draw_panel(view, truth, None, 1, SIZE, 10)
    assert is_hatched(panel[:3]).all()
    np.testing.assert_array_equal(panel[3:], view.draw(labels[0, 3:].numpy()))


def test_missing_label_says_so(tasks):
    panel = draw_panel(build_view(tasks['normals']), None, None, 8, (96, 128), 13)
    hatched = is_hatched(panel)
    assert hatched[0].all() and hatched[:, 0].all()
    assert (panel[40:56, 40:88] == 255).all(-1).any(), 'no text box in the middle'


def test_depth_rows_share_the_range_of_the_truth(tasks):
    truth = torch.linspace(1, 5, 12 * 16).reshape(1, *SIZE)
    truth[0, 0, 1] = 0
    view = build_view(tasks['depth'])
    sample = make_sample(gt_depth=truth, pred_depth=truth.clamp(min=1) + 1)
    shown = shown_of_sample(view, sample, SIZE)
    limits = view.limits(shown)
    upper, lower = (
        draw_panel(view, map, limits, 1, SIZE, 10) for map in (shown.prediction, shown.truth)
    )
    assert limits == (1, 5)
    np.testing.assert_array_equal(upper[11, 15], lower[11, 15])
    same_depth = abs(truth[0] - 3).argmin(), abs(truth[0].clamp(min=1) + 1 - 3).argmin()
    difference = (
        lower.reshape(-1, 3)[same_depth[0]].astype(int) - upper.reshape(-1, 3)[same_depth[1]]
    )
    assert abs(difference).max() <= 6


def test_depth_range_falls_back_to_the_prediction(tasks):
    sample = make_sample(
        gt_depth=depth_map(0.0), pred_depth=torch.linspace(2, 4, 192).reshape(1, *SIZE)
    )
    view = build_view(tasks['depth'])
    assert view.limits(shown_of_sample(view, sample, SIZE)) == (2, 4)


def test_long_names_are_not_cut():
    names = ['a name that is much longer than the panel is wide', 'b']
    block = legends.swatches([(np.zeros((1, 1, 3), np.uint8), name) for name in names], 100, 13)
    assert block.width > text_width(names[0], 13)
    assert (np.asarray(block)[:, -2:] == 255).all()


def test_maps_of_another_size_are_resized_to_the_image(tasks):
    small = torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3)
    shown = shown_of_sample(build_view(tasks['semseg']), make_sample(gt_semseg=small), (4, 6))
    np.testing.assert_array_equal(
        shown.truth.value, np.kron(small[0].numpy(), np.ones((2, 2), np.uint8))
    )


def test_a_diverged_prediction_is_hatched_not_fatal(visualizer, image, tasks):
    sample = make_sample(
        pred_depth=depth_map(float('nan')), pred_normals=torch.full((3, *SIZE), float('nan'))
    )
    view = build_view(tasks['depth'])
    shown = shown_of_sample(view, sample, SIZE)
    assert is_hatched(draw_panel(view, shown.prediction, view.limits(shown), 1, SIZE, 10)).all()
    visualizer.draw_frame(image, sample, tasks)


@pytest.mark.parametrize('sample', [None, make_sample()])
def test_frames_without_anything_are_drawn(visualizer, image, tasks, sample):
    assert visualizer.draw_frame(image, sample, tasks).ndim == 3


def test_picture_goes_to_the_backends_or_to_a_file(tmp_path, image):
    visualizer = VISUALIZERS.build(
        dict(
            type='MultiTaskVisualizer',
            name=str(tmp_path),
            tasks=['depth'],
            panel_size=64,
            save_dir=str(tmp_path),
            vis_backends=[dict(type='LocalVisBackend')],
        )
    )
    sample = make_sample(gt_depth=depth_map(2.0))
    visualizer.add_datasample('city/000433', image, sample, step=40)
    written = tmp_path / 'vis_data' / 'vis_image' / 'city-000433_40.png'
    expected = visualizer.draw_frame(image, sample, visualizer.tasks)
    np.testing.assert_array_equal(cv2.imread(str(written))[..., ::-1], expected)

    visualizer.add_datasample(
        'name', image, sample, out_file=tmp_path / 'new' / 'folder' / 'one.png'
    )
    assert (tmp_path / 'new' / 'folder' / 'one.png').is_file()
    assert len(list(written.parent.iterdir())) == 1


@pytest.mark.parametrize('name', ['scene0/0', 'm' * 251, 'ü' * 125, os.fsdecode(b'caf\xe9')])
def test_a_frame_of_any_name_becomes_a_file(tmp_path, image, name):
    backends = [dict(type='LocalVisBackend')]
    visualizer = MultiTaskVisualizer(
        tasks=['depth'], panel_size=64, save_dir=str(tmp_path), vis_backends=backends
    )
    visualizer.add_datasample(name, image, make_sample(gt_depth=depth_map(2.0)), step=40000)
    (picture,) = tmp_path.rglob('*.png')
    assert picture.name.endswith('_40000.png')


def test_tensorboard_gets_the_picture(tmp_path, image):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    visualizer = MultiTaskVisualizer(
        tasks=['depth'],
        panel_size=64,
        save_dir=str(tmp_path),
        vis_backends=[dict(type='TensorboardVisBackend')],
    )
    visualizer.add_datasample('000433', image, make_sample(gt_depth=depth_map(2.0)), step=7)
    visualizer.close()
    events = accumulator.EventAccumulator(str(tmp_path / 'vis_data'))
    events.Reload()
    assert [event.step for event in events.Images('000433')] == [7]


def test_errors_name_the_way_out(visualizer, image, tmp_path):
    with pytest.raises(ValueError, match='visualizer.tasks'):
        visualizer.add_datasample('x', image, make_sample())
    with pytest.raises(ValueError, match='uint8 RGB'):
        visualizer.draw_frame(image / 255, make_sample(), {})
    with pytest.raises(ValueError, match='panel_size'):
        MultiTaskVisualizer(panel_size=10)
    with pytest.raises(OSError, match=r'frame\.png'):
        save_picture(image, tmp_path / 'picture.nonsense')
    with pytest.raises(OSError, match=r'frame\.png'):
        save_picture(image, tmp_path / 'picture')


def test_spread_covers_the_data_set():
    assert spread(654, 4) == [0, 218, 435, 653]
    assert spread(3, 10) == [0, 1, 2]
    assert spread(5, 1) == [0]
    assert spread(5, 0) == spread(0, 4) == []


def test_frame_image_is_the_original_frame(tmp_path, image):
    cv2.imwrite(str(tmp_path / 'frame.png'), image[..., ::-1])
    sample = MultiTaskDataSample(
        metainfo=dict(ori_shape=SIZE, img_path=str(tmp_path / 'frame.png'))
    )
    np.testing.assert_array_equal(
        frame_image(sample, torch.zeros(3, 6, 8, dtype=torch.uint8)), image
    )

    packed = torch.from_numpy(image).permute(2, 0, 1)
    no_file = MultiTaskDataSample(metainfo=dict(ori_shape=SIZE, img_path='frame.hdf5'))
    np.testing.assert_array_equal(frame_image(no_file, packed.float()), image)
    assert frame_image(no_file, packed[:, ::2, ::2]).shape == image.shape

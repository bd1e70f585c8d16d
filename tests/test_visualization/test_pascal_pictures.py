"""Pictures of saliency and human parts."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import build_tasks
from m2h_mm.visualization import MultiTaskVisualizer, legends
from m2h_mm.visualization.drawing import HATCH_DARK, HATCH_LIGHT
from m2h_mm.visualization.multitask_visualizer import draw_panel, make_view

SIZE = (12, 16)
TASKS = build_tasks(['saliency', 'human_parts'])
CLASSES = ['aeroplane', 'bicycle', 'bird', 'boat']


def view_of(task, **fields):
    sample = MultiTaskDataSample()
    for name, data in fields.items():
        sample.set_field(
            PixelData(data=torch.as_tensor(data)), getattr(TASKS[task], f'{name}_field')
        )
    return make_view(TASKS[task], sample, SIZE, True, True), sample


def parts(*ids):
    """A label with a part per column of pixels, background elsewhere."""
    label = torch.zeros(1, *SIZE, dtype=torch.long)
    label[..., : len(ids)] = torch.tensor(ids)
    return label


@pytest.fixture
def swatch_texts(monkeypatch):
    seen = []
    monkeypatch.setattr(legends, 'swatches', lambda entries, width, size: seen.extend(entries))
    return seen


def test_parts_are_named_whatever_the_data_sets_classes(swatch_texts):
    view, _ = view_of('human_parts', gt=parts(1, 255, 6), pred=parts(1, 3))
    legends.task_key(TASKS['human_parts'], view, CLASSES, 300, 13)
    assert [text for _, text in swatch_texts] == ['background', 'head', 'upper arms', 'lower legs']
    for (tile, _), index in zip(swatch_texts, (0, 1, 3, 6), strict=True):
        np.testing.assert_array_equal(tile[0, 0], TASKS['human_parts'].palette[index])


def test_unnamed_parts_have_numbers(swatch_texts):
    task = build_tasks(dict(human_parts=dict(num_classes=5)))['human_parts']
    view, _ = view_of('human_parts', gt=parts(4))
    legends.task_key(task, view, CLASSES, 300, 13)
    assert [text for _, text in swatch_texts] == ['class 0', 'class 4']


def test_semseg_keeps_the_data_sets_classes(swatch_texts):
    view, _ = view_of('human_parts', gt=parts(1, 3))
    legends.task_key(
        build_tasks(dict(semseg=dict(num_classes=5)))['semseg'], view, CLASSES, 300, 13
    )
    assert [text for _, text in swatch_texts] == ['aeroplane', 'bicycle', 'boat']


def test_a_frame_without_people_is_hatched():
    view, _ = view_of('human_parts', gt=parts())
    panel = draw_panel(TASKS['human_parts'], view, 'truth', 1, SIZE, 10)
    assert ((panel == HATCH_DARK).all(-1) | (panel == HATCH_LIGHT).all(-1)).all()
    assert view.has_holes('truth')
    assert legends.task_key(TASKS['human_parts'], view, CLASSES, 300, 13) == []


def test_saliency_has_two_tiles_for_truth_and_a_scale_for_predictions(swatch_texts, monkeypatch):
    label = torch.zeros(1, *SIZE, dtype=torch.uint8)
    legends.task_key(TASKS['saliency'], view_of('saliency', gt=label)[0], CLASSES, 300, 13)
    assert [(int(tile[0, 0, 0]), text) for tile, text in swatch_texts] == [
        (255, 'salient'),
        (0, 'not salient'),
    ]

    bars = []
    monkeypatch.setattr(legends, 'colour_bar', lambda ramp, ticks, size: bars.append((ramp, ticks)))
    view, _ = view_of('saliency', gt=label, pred=torch.rand(1, *SIZE))
    legends.task_key(TASKS['saliency'], view, CLASSES, 300, 13)
    ((ramp, ticks),) = bars
    assert ticks == [(0.0, '0'), (0.5, 'probability of saliency'), (1.0, '1')]
    assert tuple(ramp[0, 0]) == (0, 0, 0) and tuple(ramp[0, -1]) == (255, 255, 255)


def test_both_tasks_are_drawn_side_by_side():
    image = np.full((*SIZE, 3), 90, np.uint8)
    _, sample = view_of('human_parts', gt=parts(1, 2, 3), pred=parts(1, 2))
    saliency = torch.zeros(1, *SIZE)
    saliency[..., :8] = 1
    sample.set_field(PixelData(data=saliency), 'pred_saliency_map')
    picture = MultiTaskVisualizer(panel_size=64).draw_frame(image, sample, TASKS, CLASSES)
    for colour in TASKS['human_parts'].palette[:4]:
        assert (picture == colour).all(
            -1
        ).sum() >= 4 * 12 * 4  # one column of pixels, four times as large

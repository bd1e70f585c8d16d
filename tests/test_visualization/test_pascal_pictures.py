"""Pictures of saliency and human parts."""

import numpy as np
import torch
from label_fields import label_field
from mmengine.structures import PixelData

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.view import build_view
from m2h_mm.visualization import MultiTaskVisualizer
from m2h_mm.visualization.drawing import HATCH_DARK, HATCH_LIGHT
from m2h_mm.visualization.panels import draw_panel, shown_of_sample

SIZE = (12, 16)
TASKS = build_tasks(['saliency', 'human_parts'])
VIEWS = {name: build_view(task) for name, task in TASKS.items()}
CLASSES = ['aeroplane', 'bicycle', 'bird', 'boat']


def shown_of(task, **fields):
    sample = MultiTaskDataSample()
    for name, data in fields.items():
        field = label_field(data) if name == 'gt' else PixelData(data=data)
        sample.set_field(field, f'{name}_{task}')
    return shown_of_sample(VIEWS[task], sample, SIZE), sample


def parts(*ids):
    """A label with a part per column of pixels, background elsewhere."""
    label = torch.zeros(1, *SIZE, dtype=torch.long)
    label[..., : len(ids)] = torch.tensor(ids)
    return label


def test_a_frame_without_people_is_hatched():
    shown, _ = shown_of('human_parts', gt=parts())
    panel = draw_panel(VIEWS['human_parts'], shown.truth, None, 1, SIZE, 10)
    assert ((panel == HATCH_DARK).all(-1) | (panel == HATCH_LIGHT).all(-1)).all()
    assert VIEWS['human_parts'].key(shown, CLASSES) == []


def test_both_tasks_are_drawn_side_by_side():
    image = np.full((*SIZE, 3), 90, np.uint8)
    _, sample = shown_of('human_parts', gt=parts(1, 2, 3), pred=parts(1, 2))
    saliency = torch.zeros(1, *SIZE)
    saliency[..., :8] = 1
    sample.set_field(PixelData(data=saliency), 'pred_saliency')
    picture = MultiTaskVisualizer(panel_size=64).draw_frame(image, sample, TASKS)
    for colour in VIEWS['human_parts'].palette[:4]:
        assert (picture == colour).all(
            -1
        ).sum() >= 4 * 12 * 4  # one column of pixels, four times as large

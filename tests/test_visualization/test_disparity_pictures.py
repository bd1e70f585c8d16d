"""Pictures of disparity."""

import numpy as np
import torch
from mmengine.structures import PixelData

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Depth, Disparity
from m2h_mm.visualization import legends
from m2h_mm.visualization.multitask_visualizer import draw_panel, make_view

SIZE = (12, 16)


def test_truth_and_prediction_share_a_scale_in_pixels(monkeypatch):
    task, truth = Disparity(), torch.linspace(4, 100, 12 * 16).reshape(1, *SIZE)
    sample = MultiTaskDataSample(gt_disparity_map=PixelData(data=truth))
    sample.set_field(PixelData(data=truth.clamp(max=50)), 'pred_disparity_map')
    view = make_view(task, sample, SIZE, True, True)
    pictures = [draw_panel(task, view, row, 1.0, SIZE, 13) for row in ('truth', 'prediction')]
    below = truth[0].numpy() < 50
    np.testing.assert_array_equal(pictures[0][below], pictures[1][below])
    assert (pictures[0][~below] != pictures[1][~below]).any()

    texts = []
    monkeypatch.setattr(
        legends, 'colour_bar', lambda ramp, ticks, size: texts.append([text for _, text in ticks])
    )
    legends.task_key(task, view, (), 300, 13)
    legends.task_key(Depth(), view, (), 300, 13)
    assert texts[0][0] == '4.00 px' and texts[0][-1] == '100.00 px' and '40 px' in texts[0]
    assert texts[1] == [text.replace('px', 'm') for text in texts[0]]

"""Pictures of disparity."""

import numpy as np
import torch
from label_fields import label_field
from mmengine.structures import PixelData

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Depth, Disparity
from m2h_mm.tasks.view import build_view
from m2h_mm.visualization.panels import draw_panel, shown_of_sample

SIZE = (12, 16)


def test_truth_and_prediction_share_a_scale_in_pixels():
    task, truth = Disparity(), torch.linspace(4, 100, 12 * 16).reshape(1, *SIZE)
    sample = MultiTaskDataSample(gt_disparity=label_field(truth))
    sample.set_field(PixelData(data=truth.clamp(max=50)), 'pred_disparity')
    view = build_view(task)
    shown = shown_of_sample(view, sample, SIZE)
    limits = view.limits(shown)
    pictures = [draw_panel(view, map, limits, 1.0, SIZE, 13) for map in shown.maps]
    below = truth[0].numpy() < 50
    np.testing.assert_array_equal(pictures[0][below], pictures[1][below])
    assert (pictures[0][~below] != pictures[1][~below]).any()

    texts = [
        [text for _, text in key.ticks]
        for key in (*view.key(shown), *build_view(Depth()).key(shown))
    ]
    assert texts[0][0] == '4.00 px' and texts[0][-1] == '100.00 px' and '40 px' in texts[0]
    assert texts[1] == [text.replace('px', 'm') for text in texts[0]]

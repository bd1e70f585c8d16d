"""Depth as of one camera: losses, predictions, and what stands between."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from m2h_mm.geometry.pinhole import camera_of_view
from m2h_mm.models.canonical_camera import focal_ratios
from m2h_mm.models.pipeline import Framing, ImagePipeline
from m2h_mm.registry import MODELS

from .toy_parts import batch, config

CANONICAL = dict(type='MultiTaskDataPreprocessor', canonical_focal=100.0)
CAMERA = np.array([[50.0, 0, 15], [0, 50, 14], [0, 0, 1]])


@MODELS.register_module(force=True)
class SeesContext(nn.Module):
    """A loss between tasks that keeps what it is given."""

    tasks = ('depth', 'normals')

    def forward(self, context):
        self.context = context
        return context.outputs['depth'].sum() * 0


def build(**changes):
    torch.manual_seed(0)
    return MODELS.build(config(**changes))


def with_camera(data, cam2img, **metainfo):
    data = copy.deepcopy(data)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(cam2img=cam2img, **metainfo))
    return data


def loss_of_depth(model, data):
    return model(**model.data_preprocessor(data, training=True), mode='loss')['raw_depth']


def test_a_lens_twice_as_long_makes_the_same_picture_one_of_twice_the_distance():
    model, data = build(data_preprocessor=CANONICAL), batch((28, 28))
    (near,), (far,) = (
        model(
            **model.data_preprocessor(with_camera(data, CAMERA * [[s], [s], [1]])),
            mode='predict',
        )
        for s in (1, 2)
    )
    inside = (near.pred_depth.data > 1e-3) & (far.pred_depth.data < 10)
    assert inside.any()
    torch.testing.assert_close(2 * near.pred_depth.data[inside], far.pred_depth.data[inside])
    assert torch.equal(near.pred_normals.data, far.pred_normals.data)


def test_labels_are_compared_as_the_canonical_camera_would_have_them():
    plain, model = build(), build(data_preprocessor=CANONICAL)
    data = with_camera(batch((28, 28)), CAMERA)
    halved = copy.deepcopy(data)
    halved['data_samples'][0].gt_depth.data *= 2  # a lens of 50 pixels, in place of 100
    torch.testing.assert_close(
        loss_of_depth(model, copy.deepcopy(data)), loss_of_depth(plain, halved)
    )


def test_a_zoomed_frame_looks_as_through_its_own_lens():
    """RandomZoom: the scene is 1/s as large, the lens s times as long."""
    data = with_camera(batch((28, 28)), CAMERA * [[3], [3], [1]], zoom=3.0)
    ratios = focal_ratios(data['data_samples'], (28, 28), 100.0, torch.device('cpu'))
    assert ratios.tolist() == [[[[0.5]]]]


def test_resizing_changes_nothing_that_a_resized_camera_would_not():
    framing = Framing((480, 640), (120, 160))
    assert framing.focal(CAMERA * [[8], [8], [1]]) == pytest.approx(100)


def test_between_tasks_distances_are_the_true_ones():
    model = build(
        data_preprocessor=CANONICAL,
        consistency=[dict(type='SeesContext')],
    )
    data = with_camera(batch((28, 28)), CAMERA)
    truth = data['data_samples'][0].gt_depth.data.clone()
    inputs = model.data_preprocessor(data, training=True)
    model(**inputs, mode='loss')
    context = model.consistency[0].context
    assert torch.equal(context.labels['depth'].value[0], truth)
    heads = model(inputs['inputs'], mode='tensor')['depth']
    full = model.tasks['depth'].resize_output(heads, (28, 28)) / 2
    torch.testing.assert_close(context.outputs['depth'], full)


def test_without_a_camera_a_usual_view_is_assumed():
    framing = Framing((28, 42), (28, 42))
    assert framing.focal(None) == camera_of_view((28, 42))[0] == pytest.approx(42 * 0.866, rel=1e-3)
    model = build(data_preprocessor=CANONICAL)
    data = with_camera(batch((28, 42)), None)
    assert torch.isfinite(loss_of_depth(model, data))


@pytest.mark.parametrize('focal', [0, -1.0, float('inf'), float('nan')])
def test_a_focal_length_that_no_camera_has(focal):
    with pytest.raises(ValueError, match='canonical_focal'):
        ImagePipeline(canonical_focal=focal)


def test_a_model_without_distances_looks_at_no_camera():
    """So that a config can be trained for one of its tasks alone."""
    parts = config()
    kept = {key: {'normals': parts[key]['normals']} for key in ('tasks', 'heads', 'losses')}
    assert build(data_preprocessor=CANONICAL, **kept).canonical_focal is None
    assert build(data_preprocessor=CANONICAL).canonical_focal == 100.0

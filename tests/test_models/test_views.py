"""Mirror images and scales at test time."""

import numpy as np
import pytest
import torch

from m2h_mm.models.pipeline import ImagePipeline
from m2h_mm.models.views import outputs_of_views
from m2h_mm.registry import MODELS
from m2h_mm.tasks import build_tasks

from .toy_parts import batch, config

PREPROCESSOR = 'MultiTaskDataPreprocessor'


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(config(data_preprocessor=dict(type=PREPROCESSOR, **options))).eval()


def test_one_view_is_the_network_itself():
    model, inputs = build(), torch.randn(2, 3, 28, 42)
    expected = model(inputs, mode='tensor')
    for name, output in outputs_of_views(model, inputs).items():
        assert torch.equal(output, expected[name])


def test_of_a_mirrored_image_the_mirrored_is_predicted():
    """Whatever the network does."""
    model, data = build(test_flip=True), batch((28, 42))
    image = data['inputs'][0]
    samples = []
    for pixels in (image, image.flip(-1)):
        samples_of_it = batch((28, 42))['data_samples']
        given = model.data_preprocessor(dict(inputs=[pixels], data_samples=samples_of_it))
        samples += model(**given, mode='predict')
    straight, mirrored = samples
    for name, task in model.tasks.items():
        ours, theirs = (sample.get(task.pred_field).data for sample in (straight, mirrored))
        theirs = theirs.flip(-1)
        if name == 'normals':
            theirs = theirs * torch.tensor([-1.0, 1, 1]).view(3, 1, 1)
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-4, atol=1e-5)


def test_it_is_the_mean_of_both_in_the_task_s_own_sense():
    model, inputs = build(test_flip=True), torch.randn(1, 3, 28, 42)
    straight, mirrored = (model(view, mode='tensor') for view in (inputs, inputs.flip(-1)))
    found = outputs_of_views(model, inputs)
    probabilities = sum(
        output.softmax(1) for output in (straight['semseg'], mirrored['semseg'].flip(-1))
    )
    torch.testing.assert_close(found['semseg'].softmax(1), probabilities / 2)
    edges = straight['edge'].sigmoid() + mirrored['edge'].flip(-1).sigmoid()
    torch.testing.assert_close(found['edge'].sigmoid(), edges / 2, rtol=1e-4, atol=1e-5)
    assert found['normals'].norm(dim=1).sub(1).abs().max() < 1e-5


def test_an_enlarged_image_is_not_nearer():
    """The toy network says the same of any scale, as one that judges by what things are."""
    model, inputs = build(test_scales=(1.0, 2.0)), torch.ones(1, 3, 28, 42)
    model.heads['depth'].conv.bias.data.fill_(5.0)
    plain = model(inputs, mode='tensor')['depth']
    found = outputs_of_views(model, inputs, ['depth'])
    assert list(found) == ['depth'] and found['depth'].shape == plain.shape
    torch.testing.assert_close(found['depth'], plain * np.sqrt(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('scales', [(), (0.0,), (1.0, 100.0)])
def test_scales_that_make_no_sense(scales):
    with pytest.raises(ValueError, match='test_scales'):
        ImagePipeline(test_scales=scales)


def test_depths_are_averaged_as_ratios():
    depth = build_tasks(dict(depth=dict()))['depth']
    outputs = torch.tensor([1.0, 4.0]).view(2, 1, 1, 1, 1)
    torch.testing.assert_close(depth.mean_output(outputs), torch.full((1, 1, 1, 1), 2.0))

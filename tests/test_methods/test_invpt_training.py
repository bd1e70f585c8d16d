"""Training InvPT: preliminary predictions, gradients, arguments."""

import numpy as np
import pytest
import torch
from label_fields import label_field
from small_invpt import TASKS, random_features, small
from torch.testing import assert_close

from m2h_mm.methods.invpt.decoder import InvPTDecoder
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample


@pytest.mark.parametrize(
    ('size', 'aux_size'), [((8, 12), (4, 6)), ((5, 8), (5, 8)), ((5, 7), (5, 7))]
)
def test_preliminary_predictions_are_supervised_in_training_only(size, aux_size):
    decoder = small().train()
    outputs = decoder(random_features(*size))
    assert [{task: tuple(x.shape) for task, x in scale.items()} for scale in outputs.aux] == [
        {task: (2, channels, *aux_size) for task, channels in TASKS.items()}
    ]
    assert decoder.eval()(random_features(*size)).aux == []


@torch.no_grad()
def test_cropped_preliminary_predictions_stay_in_their_place():
    """A prediction that grows with the column by 1 per position of the backbone's map does so after
    the crop.
    """
    decoder = small().train()
    columns = (
        torch.arange(8.0).double() - 0.5
    )  # the mean of columns 0 and 1 is 0, of 2 and 3 is 2, ...
    ramp = (columns[::2] + 0.5).expand(2, 1, 2, 4)
    decoder.preliminary_heads['depth'].register_forward_hook(lambda *_: ramp)
    found = decoder(random_features(3, 6)).aux[0]['depth']
    assert found.shape == (2, 1, 3, 6)
    assert_close(found[0, 0, 0, 1:], columns[1:6])


def test_every_parameter_gets_a_finite_gradient():
    decoder = small().train()
    outputs = decoder(random_features(4, 6))
    loss = sum(x.square().mean() for x in outputs.maps.values())
    (loss + sum(x.square().mean() for x in outputs.aux[0].values())).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # The softmax cancels what is added to all logits of a query, batch norm what is added to a
        # whole channel.
        inert = name.endswith(('attn.key.bias', 'attn.fuse.bias')) or (
            name.startswith('project.') and name.endswith('.0.bias')
        )
        assert inert or parameter.grad.abs().max() > 1e-12, name


def test_trains_as_part_of_a_model():
    """Images of 42x56 behind DINOv2: 3x4 patches, which are continued to 4x4."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='MultiTaskModel',
            tasks=dict(semseg=dict(num_classes=5), depth=dict(), normals=dict(), edge=dict()),
            backbone=dict(
                type='DINOv2',
                arch=dict(embed_dims=16, depth=4, num_heads=2),
                out_indices=(0, 1, 2, 3),
                img_size=56,
            ),
            decoder=dict(type='InvPTDecoder', channels=12, extra_channels=4),
            heads=dict.fromkeys(TASKS, dict(type='LinearHead')),
            losses=dict(
                semseg=dict(type='CrossEntropyLoss'),
                depth=dict(type='L1Loss'),
                normals=dict(type='L1Loss'),
                edge=dict(type='BalancedBCELoss'),
            ),
        )
    )
    images = torch.randn(2, 3, 42, 56)
    # The left half is another surface than the right one, with an edge between.
    left = (torch.arange(56) < 28).expand(1, 42, 56)
    labels = dict(
        gt_semseg=left.long(),
        gt_depth=1.0 + left,
        gt_edge=(left != left.roll(2, 2)).to(torch.uint8),
        gt_normals=torch.cat([left, torch.zeros_like(left), ~left]).float(),
    )
    samples = [MultiTaskDataSample() for _ in range(2)]
    for sample in samples:
        for field, data in labels.items():
            sample.set_field(label_field(data), field)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    totals = []
    for _ in range(12):
        losses = model(images, samples, mode='loss')
        total = sum(value for key, value in losses.items() if 'loss' in key)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert np.isfinite(totals).all() and totals[-1] < 0.8 * totals[0]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    outputs = model.eval()(images)
    assert outputs['normals'].shape == (2, 3, 12, 16)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(in_strides=(4, 8, 16, 32)),
            r'one resolution, got 4 of strides \(4, 8, 16, '
            r'32\).*neck=None',
        ),
        (dict(in_channels=(8, 8), in_strides=(14, 14)), 'at least three maps .* got 2'),
        (dict(tasks=()), 'model.tasks is empty'),
        (
            dict(channels=12, extra_channels=3),
            r'multiple of 8 .* got 12 \+ 3 = '
            r'15.*model\.decoder\.channels',
        ),
        (dict(channels=0, extra_channels=8), r'got 0 \+ 8'),
    ],
)
def test_wrong_arguments_are_refused_when_built(changes, message):
    settings = dict(
        in_channels=(8,) * 4, in_strides=(14,) * 4, tasks=('depth',), task_channels=dict(depth=1)
    )
    with pytest.raises(ValueError, match=message):
        InvPTDecoder(**{**settings, **changes})

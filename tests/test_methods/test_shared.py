"""The shared baseline, and the training of every decoder that takes a pyramid."""

import numpy as np
import pytest
import torch
from label_fields import label_field
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.methods.shared.decoder import SharedDecoder
from m2h_mm.models.layers.scale_fusion import ScaleFusion
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, MultiTaskDataSample

TASKS = dict(semseg=dict(num_classes=5), depth=dict(), normals=dict(), edge=dict())
LOSSES = dict(
    semseg=dict(type='CrossEntropyLoss'),
    depth=dict(type='L1Loss'),
    normals=dict(type='L1Loss'),
    edge=dict(type='BalancedBCELoss'),
)


@torch.no_grad()
def test_levels_are_resized_concatenated_and_mixed():
    torch.manual_seed(0)
    fusion = ScaleFusion((2, 3), 4).double().eval()
    torch.nn.init.uniform_(fusion.norm.running_var, 0.5, 1.5)
    fine, coarse = torch.randn(2, 2, 7, 9).double(), torch.randn(2, 3, 4, 5).double()
    joined = torch.cat(
        [fine, F.interpolate(coarse, size=(7, 9), mode='bilinear', align_corners=False)], dim=1
    )
    expected = F.relu(fusion.norm(fusion.conv(joined)))
    assert expected.shape == (2, 4, 7, 9) and expected.max() > 0
    assert_close(fusion((fine, coarse)), expected)


@torch.no_grad()
def test_every_task_is_given_the_same_map():
    decoder = SharedDecoder((4, 6), (4, 8), ('depth', 'edge')).eval()
    features = Features((torch.randn(1, 4, 8, 12), torch.randn(1, 6, 4, 6)))
    maps = decoder(features).maps
    assert maps['depth'] is maps['edge'] and maps['depth'].shape == (1, 10, 8, 12)
    assert decoder.out_channels == dict(depth=10, edge=10)
    assert list(decoder(features, tasks=('edge',)).maps) == ['edge']
    assert SharedDecoder((4, 6), (4, 8), ('depth',), channels=3).out_channels == dict(depth=3)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(in_strides=(8, 4)),
            r'SharedDecoder\): expected maps from fine to coarse, got strides '
            r'\(8, 4\)',
        ),
        (dict(tasks=()), 'model.tasks is empty'),
    ],
)
def test_wrong_arguments_are_refused_when_built(changes, message):
    with pytest.raises(ValueError, match=message):
        SharedDecoder(
            **{**dict(in_channels=(8, 8), in_strides=(4, 8), tasks=('depth',)), **changes}
        )


def frames(size: tuple[int, int]) -> tuple[torch.Tensor, list[MultiTaskDataSample]]:
    """Two noisy images of two surfaces, left and right, with an edge between."""
    height, width = size
    left = (torch.arange(width) < width // 2).expand(1, height, width)
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
    return left.float() + 0.1 * torch.randn(2, 3, height, width), samples


@pytest.mark.parametrize(
    ('decoder', 'head', 'tasks'),
    [
        (dict(type='MTINetDecoder'), 'LinearHead', tuple(TASKS)),
        (dict(type='MTINetDecoder'), 'LinearHead', ('depth',)),
        (dict(type='MTINetDecoder', main_tasks=('semseg', 'depth')), 'LinearHead', tuple(TASKS)),
        (dict(type='PADNetDecoder', channels=16), 'PADNetHead', tuple(TASKS)),
        (dict(type='PADNetDecoder', channels=16), 'PADNetHead', ('normals',)),
        (dict(type='SharedDecoder'), 'LinearHead', tuple(TASKS)),
        (dict(type='SharedDecoder'), 'LinearHead', ('semseg',)),
    ],
)
def test_trains_as_part_of_a_model(decoder, head, tasks):
    """Images of 42x56 behind DINOv2 and its token reassembly: levels of 12x16, 6x8, 3x4 and 2x2."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='MultiTaskModel',
            tasks={task: TASKS[task] for task in tasks},
            backbone=dict(
                type='DINOv2',
                arch=dict(embed_dims=16, depth=4, num_heads=2),
                out_indices=(0, 1, 2, 3),
                img_size=56,
            ),
            neck=dict(type='TokenReassembly', out_channels=8),
            decoder=decoder,
            heads={task: dict(type=head) for task in tasks},
            losses={task: LOSSES[task] for task in tasks},
        )
    )
    images, samples = frames((42, 56))
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
    assert {task: tuple(x.shape[-2:]) for task, x in outputs.items()} == dict.fromkeys(
        tasks, (12, 16)
    )


def test_an_auxiliary_tasks_loss_is_that_of_all_its_predictions():
    """Whether its finest prediction is the head's or an intermediate one: the total is the same."""
    torch.manual_seed(0)
    task = dict(depth=dict(), edge=dict())
    model = MODELS.build(
        dict(
            type='MultiTaskModel',
            tasks=task,
            backbone=dict(
                type='DINOv2',
                arch=dict(embed_dims=16, depth=4, num_heads=2),
                out_indices=(0, 1, 2, 3),
                img_size=28,
            ),
            neck=dict(type='TokenReassembly', out_channels=8),
            decoder=dict(type='MTINetDecoder', main_tasks=('depth',)),
            heads={name: dict(type='LinearHead') for name in task},
            losses={name: LOSSES[name] for name in task},
        )
    )
    images, samples = frames((28, 28))
    seen = []
    model.losses['edge'][0].register_forward_hook(
        lambda _, args, output: seen.append((args[0], output))
    )
    raw = model(images, samples, mode='loss')['raw_edge']
    assert len(seen) == 4
    assert_close(raw, sum(loss for _, loss in seen))
    refined = []
    model.decoder.refine[0]['edge'].register_forward_hook(
        lambda _, args, output: refined.append(output)
    )
    model.eval()(images)
    assert_close(model.heads['edge'](refined[0]), model(images)['edge'])

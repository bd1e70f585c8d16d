"""The decoder of MTI-Net: sizes, subsets of tasks, a single task, gradients."""

import pytest
import torch
from small_mti_net import MODEL_ORDER, build, random_features, small
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.methods.mti_net.decoder import MTINetDecoder
from m2h_mm.models.layers.distillation import MultiModalDistillationUnit
from m2h_mm.structures import Features


@pytest.mark.parametrize(
    ('asked', 'fused', 'refined', 'distilled'),
    [
        (('depth',), ['depth'], 4, ['depth']),
        (('edge', 'semseg'), ['semseg'], 4, ['semseg']),
        (('edge',), [], 1, None),
    ],
)
@torch.no_grad()
def test_a_subset_of_the_tasks_equals_the_whole_and_leaves_out_the_rest(
    asked, fused, refined, distilled
):
    decoder, features = small(main_tasks=('semseg', 'depth')), random_features()
    whole = decoder(features)
    assert whole.aux == []
    ran, results = [], []
    for task, layer in decoder.fuse.items():
        layer.register_forward_hook(lambda *_, task=task: ran.append(task))
    for task, layer in decoder.refine[0].items():
        layer.register_forward_hook(lambda *_, task=task: ran.append(f'refine {task}'))
    for module in decoder.predict.modules():
        module.register_forward_hook(
            lambda *_: pytest.fail('a prediction that only a training needs')
        )
    decoder.distil[0].register_forward_hook(
        lambda module, args, output: results.append(list(output))
    )
    part = decoder(features, tasks=asked)
    assert set(part.maps) == set(asked)
    assert [name for name in ran if not name.startswith('refine')] == fused
    assert sum(name.startswith('refine') for name in ran) == refined
    assert results == ([] if distilled is None else [distilled])
    for task, expected in part.maps.items():
        assert_close(whole.maps[task], expected)


@torch.no_grad()
def test_a_single_task_has_nothing_to_exchange():
    decoder = small(('depth',))
    assert not any('convs.' in name for name, _ in decoder.named_modules())
    assert all(module.mask is None for module in decoder.propagate)
    found = {'depth': torch.randn(1, 8, 3, 4)}
    assert decoder.distil[1](found)['depth'] is found['depth']
    assert decoder(random_features()).maps['depth'].shape == (2, 28, 8, 12)


@pytest.mark.parametrize(
    ('size', 'widths'), [((16, 24), (4, 8)), ((15, 21), (4, 8, 16)), ((9, 5), (6, 6, 6, 6, 6))]
)
def test_any_pyramid(size, widths):
    """Also sides that do not halve, and channels that the number of tasks does not divide."""
    decoder = build(widths=widths).decoder.double()
    outputs = decoder(random_features(*size, widths=widths))
    assert {task: tuple(x.shape) for task, x in outputs.maps.items()} == dict.fromkeys(
        MODEL_ORDER, (2, sum(widths), *size)
    )
    assert decoder.out_channels == dict.fromkeys(MODEL_ORDER, sum(widths))
    assert len(outputs.aux) == len(widths)


@torch.no_grad()
def test_images_of_a_batch_are_independent():
    decoder, features = small(), random_features(batch=3)
    order = [2, 0, 1]
    permuted = decoder(Features(tuple(x[order] for x in features.maps)))
    for task, expected in decoder(features).maps.items():
        assert_close(permuted.maps[task], expected[order])


@torch.no_grad()
def test_tasks_exchange_at_every_scale():
    """What one task finds at a scale changes the others, through the distillation also at the
    finest.
    """
    for scale in range(3):
        decoder, features = small(), random_features()
        before = decoder(features).maps['semseg']
        decoder.refine[scale]['edge'].register_forward_hook(lambda _, args, output: output + 1)
        assert (decoder(features).maps['semseg'] - before).abs().max() > 1e-6


def test_every_parameter_gets_a_finite_gradient():
    for tasks, main_tasks in (
        (MODEL_ORDER, None),
        (MODEL_ORDER, ('semseg', 'depth')),
        (('depth',), None),
    ):
        decoder = small(tasks, main_tasks=main_tasks).train()
        outputs = decoder(random_features(16, 24))
        loss = sum(x.square().mean() for x in outputs.maps.values())
        (loss + sum(x.square().mean() for scale in outputs.aux for x in scale.values())).backward()
        for name, parameter in decoder.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            # Batch norm cancels what is added to a whole channel; the one hidden unit of a gate may
            # be off.
            inert = (name.startswith('fuse.') and name.endswith('conv.bias')) or '.gates.' in name
            assert inert or parameter.grad.abs().max() > 1e-12, name


@torch.no_grad()
def test_distillation_is_its_equation():
    """Every pair of a source and a target by two convolutions of its own, for some targets and for
    some of those.
    """
    torch.manual_seed(0)
    tasks = ('semseg', 'depth', 'edge')
    maps = {task: torch.randn(2, 4, 5, 6).double() for task in tasks}
    for targets, asked in (
        (None, None),
        (('edge', 'semseg'), None),
        (None, ('depth', 'edge')),
        (None, ('edge',)),
    ):
        unit = MultiModalDistillationUnit(4, tasks, targets).double()
        distilled = unit(maps, asked)
        assert tuple(distilled) == (asked or targets or tasks)
        for target, actual in distilled.items():
            expected = maps[target].clone()
            for source in tasks:
                if source != target:
                    partners = [task for task in targets or tasks if task != source]
                    kernels = unit.convs[source].weight.chunk(2 * len(partners))
                    index = partners.index(target)
                    value, gate = (
                        F.conv2d(maps[source], kernel, padding=1)
                        for kernel in (kernels[index], kernels[index + len(partners)])
                    )
                    expected += value * gate.sigmoid()
            assert_close(actual, expected)


@torch.no_grad()
def test_half_precision_and_channels_last_stay_close():
    decoder = small().float()
    features = Features(tuple(x.float() for x in random_features().maps))
    exact = decoder(features).maps
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = decoder(features).maps
    last = decoder.to(memory_format=torch.channels_last)(
        Features(tuple(x.to(memory_format=torch.channels_last) for x in features.maps))
    ).maps
    for task, expected in exact.items():
        assert_close(rough[task].float(), expected, rtol=0.05, atol=0.1)
        assert_close(last[task], expected)


def test_exports():
    class Maps(nn.Module):
        def __init__(self, decoder):
            super().__init__()
            self.decoder = decoder

        def forward(self, *maps):
            return self.decoder(Features(maps)).maps

    widths = (4, 8)
    model = Maps(build(('depth', 'edge'), widths).decoder.double()).eval()
    maps = random_features(9, 14, widths=widths).maps
    exported = torch.export.export(model, maps).module()(*maps)
    for task, expected in model(*maps).items():
        assert_close(exported[task], expected)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(in_channels=(8,), in_strides=(4,)),
            r'at least two scales, got 1 maps of strides '
            r'\(4,\).*TokenReassembly',
        ),
        (dict(in_strides=(14, 14)), r'at least two scales, got 2 maps of strides \(14, 14\)'),
        (dict(in_strides=(8, 4)), r'fine to coarse, got strides \(8, 4\)'),
        (dict(tasks=()), r'main_tasks: expected at least one of model.tasks \[\]'),
        (
            dict(main_tasks=()),
            r"main_tasks: expected at least one of model.tasks \['depth'\] and no "
            r'other, got \[\]',
        ),
        (dict(main_tasks=('depth', 'flow')), r"main_tasks.*got \['depth', 'flow'\]"),
    ],
)
def test_wrong_arguments_are_refused_when_built(changes, message):
    settings = dict(
        in_channels=(8, 8), in_strides=(4, 8), tasks=('depth',), task_channels=dict(depth=1)
    )
    with pytest.raises(ValueError, match=message):
        MTINetDecoder(**{**settings, **changes})


def test_the_distillation_refuses_unknown_targets():
    with pytest.raises(
        ValueError,
        match=r"targets: expected .* tasks \['depth'\] and no other, "
        r"got \['edge'\]",
    ):
        MultiModalDistillationUnit(4, ('depth',), ('edge',))

"""M2H-MX's neck and decoder: sizes, subsets of tasks, what looks at what, errors."""

import pytest
import torch
from small_m2h_mx import CHANNELS, HEADS, TASKS, build, random_features
from torch.testing import assert_close

from m2h_mm.methods.m2h_mx import M2HMXDecoder, M2HMXPyramid
from m2h_mm.structures import Features


@torch.no_grad()
def test_outputs_have_the_image_s_size_and_predictions_are_supervised_in_training():
    model = build()
    pyramid = model.neck(random_features(height=3, width=5))
    assert [tuple(x.shape[-2:]) for x in pyramid.maps] == [(12, 20), (6, 10), (3, 5), (1, 2)]
    assert model.neck.strides == (4, 8, 16, 32) and model.decoder.strides['depth'] == 1
    found = model.decoder(pyramid)
    assert {task: tuple(x.shape) for task, x in found.maps.items()} == {
        task: (2, channels, 48, 80) for task, channels in CHANNELS.items()
    }
    assert found.aux == []
    trained = model.decoder.train()(pyramid)
    assert_close(trained.maps, found.maps)
    # Edges have one prediction, of the coarser level.
    assert [set(scale) for scale in trained.aux] == [{*TASKS}, {*TASKS} - {'edge'}]
    assert [scale['depth'].shape[-2:] for scale in trained.aux] == [(3, 5), (6, 10)]


@pytest.mark.parametrize(
    ('asked', 'heads', 'branches'),
    [
        (('depth',), ['depth'], ['depth']),
        (('edge',), ['depth', 'edge'], list(TASKS)),
        (('normals', 'depth'), ['depth', 'edge', 'normals'], list(TASKS)),
        (('semseg',), ['depth', 'edge', 'normals', 'semseg'], list(TASKS)),
    ],
)
@torch.no_grad()
def test_a_subset_of_the_tasks_equals_the_whole_and_leaves_out_the_rest(asked, heads, branches):
    decoder, pyramid = build().decoder, build().neck(random_features())
    whole, ran = decoder(pyramid), []
    for kind in (decoder.heads, decoder.branches):
        for task, module in kind.items():
            first = module[0] if kind is decoder.branches else module
            first.register_forward_hook(lambda *_, task=task, kind=kind: ran.append((kind, task)))
    part = decoder(pyramid, tasks=asked)
    assert tuple(part.maps) == asked
    assert [task for kind, task in ran if kind is decoder.heads] == heads
    assert [task for kind, task in ran if kind is decoder.branches] == branches
    for task, expected in part.maps.items():
        assert_close(whole.maps[task], expected)


def gradients(output, inputs):
    return [
        gradient is not None and bool(gradient.any())
        for gradient in torch.autograd.grad(output.sum(), inputs, allow_unused=True)
    ]


@pytest.mark.parametrize(('layers', 'seen'), [('deepest', [False] * 3), ('all', [True] * 3)])
def test_the_official_pyramid_sees_the_deepest_map_alone(layers, seen):
    features = random_features()
    maps = [x.requires_grad_() for x in features.maps]
    finest = build(layers=layers).neck(features).maps[0]
    assert gradients(finest**3, maps) == [*seen, True]


@pytest.mark.parametrize(('context', 'seen'), [('registers', True), ('mean', False)])
def test_the_gates_see_the_registers_or_the_coarsest_level(context, seen):
    features = random_features()
    tokens = [x.requires_grad_() for x in features.register_tokens]
    model = build(context=context)
    outputs = model.decoder(model.neck(features)).maps
    assert gradients(outputs['semseg'] ** 3, tokens) == [False] * 3 + [seen]


@torch.no_grad()
def test_heads_see_the_other_tasks_and_depth_sees_none():
    model, features = build(), random_features()
    pyramid = model.neck(features)
    before = model.decoder(pyramid).maps
    for parameter in model.decoder.branches['depth'].parameters():
        parameter.mul_(1.5).add_(0.1)
    changed = {
        task for task, x in model.decoder(pyramid).maps.items() if not torch.equal(x, before[task])
    }
    assert changed == set(TASKS)
    before = model.decoder(pyramid).maps
    for parameter in model.decoder.branches['semseg'].parameters():
        parameter.mul_(1.5).add_(0.1)
    assert torch.equal(model.decoder(pyramid).maps['depth'], before['depth'])


@torch.no_grad()
def test_without_the_edge_task_or_any_other_a_head_does_without():
    for tasks in (('semseg', 'depth'), ('semseg',), ('depth', 'normals')):
        model = build(tasks)
        maps = model.decoder(model.neck(random_features())).maps
        assert {task: x.shape[1] for task, x in maps.items()} == {
            task: CHANNELS[task] for task in tasks
        }
        assert 'semseg' not in tasks or model.decoder.heads['semseg'].boundary is None
    assert build(('semseg',)).decoder.heads['semseg'].mixer is None


def test_depth_bins_cover_the_range():
    model = build()
    details = model.decoder(model.neck(random_features())).details['depth']
    edges = details['bin_edges']
    assert (edges.diff(dim=1) > 0).all() and (edges[:, 0] > 0.1).all()
    assert_close(edges[:, -1], torch.full((2,), 10.0, dtype=torch.float64))
    coarse = details['coarse']
    assert 0.1 < coarse.min() and coarse.max() < 10


@torch.no_grad()
def test_depth_is_put_together_in_single_precision_under_autocast():
    model = build().float()
    features = random_features()
    features.maps = tuple(x.float() for x in features.maps)
    features.register_tokens = tuple(x.float() for x in features.register_tokens)
    exact = model.decoder(model.neck(features))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = model.decoder(model.neck(features))
    assert found.details['depth']['bin_edges'].dtype == torch.float32
    assert found.maps['depth'].dtype == torch.float32
    assert_close(found.maps['depth'], exact.maps['depth'], rtol=0.1, atol=0.1)


def decoder(in_channels=(16,) * 4, in_strides=(4, 8, 16, 32), heads=HEADS, **arguments):
    return M2HMXDecoder(in_channels, in_strides, TASKS, CHANNELS, heads, **arguments)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: M2HMXPyramid((8,) * 4, (4, 8, 16, 32)), 'Lateral'),
        (lambda: M2HMXPyramid((8,) * 4, (16,) * 4, layers='first'), "'deepest' or 'all'"),
        (lambda: decoder((16, 16, 8, 8)), 'equal channels'),
        (lambda: decoder(context='none'), "'registers' or 'mean'"),
        (lambda: decoder(drop_path_rate=1.0), r'\[0, 1\)'),
        (lambda: decoder(heads=dict(depth=HEADS['depth'])), 'nothing for task'),
        (lambda: decoder(heads=HEADS | dict(edge=dict(type='M2HMXDepthHead', bins=3))), 'num_bins'),
        (lambda: decoder(heads=HEADS | dict(semseg=HEADS['edge'])), 'expected 1, got 5'),
        (
            lambda: decoder(heads=HEADS | dict(semseg=HEADS['semseg'] | dict(edge_threshold=2))),
            'model.decoder.heads.semseg .*edge_threshold',
        ),
        (
            lambda: decoder(heads=HEADS | dict(semseg=HEADS['semseg'] | dict(edge_strength=0))),
            'edge_strength',
        ),
        (
            lambda: decoder(heads=HEADS | dict(depth=HEADS['depth'] | dict(num_bins=0))),
            'num_bins: expected at least 1',
        ),
        (
            lambda: decoder(heads=HEADS | dict(depth=HEADS['depth'] | dict(min_depth=10.0))),
            'min_depth < max_depth',
        ),
    ],
)
def test_what_does_not_fit_is_said_when_it_is_built(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@torch.no_grad()
def test_a_backbone_without_registers_is_told_the_way_out():
    model = build()
    features = Features(random_features().maps)
    with pytest.raises(ValueError, match=r'model.neck.registers=False'):
        model.neck(features)
    neck = M2HMXPyramid((12,) * 4, (16,) * 4, 16, registers=False).double()
    pyramid = neck(features)
    with pytest.raises(ValueError, match="model.decoder.context='mean'"):
        model.decoder(pyramid)
    assert build(context='mean').decoder(pyramid).maps.keys() == set(TASKS)

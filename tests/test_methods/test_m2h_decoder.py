import pytest
import torch
from torch import nn

from m2h_mm.methods.m2h.checkpoint import translate_m2h_key
from m2h_mm.methods.m2h.decoder import M2HDecoder
from m2h_mm.models.layers.windows import WindowGrid
from m2h_mm.models.optimize import optimize
from m2h_mm.structures import Features

OFFICIAL_NAMES = dict(edge='edges', normals='normals', semseg='sem_seg', depth='depth')
HEAD_NAMES = dict(edge='edges', normals='normals', semseg='seg', depth='depth')
MERGED_NAMES = dict(semseg='semantic', depth='depth')


@pytest.mark.parametrize('name', ['a', 'b', 'c'])
@torch.no_grad()
def test_every_stage_is_the_official_one(official, name):
    model, vectors = official.model, official.vectors

    def check(stage, actual, tolerance=1e-6):
        vectors.check(name, stage, actual, tolerance)

    features = vectors.features(name, torch.float64)
    for level, layer in enumerate(model.neck.levels):
        check(
            f'reassembled_{level}',
            layer.reassemble(features.maps[level], features.cls_tokens[level]),
        )
    pyramid = model.neck(features)
    for level, x in enumerate(pyramid.maps):
        check(f'feat_{level}', x)

    decoder, interaction, merger = model.decoder, model.decoder.interaction, model.decoder.merger
    for task, theirs in MERGED_NAMES.items():
        check(f'unique_{theirs}', merger.unique[task](features.maps[-1]))
    fused = {task: decoder.fusion[task](pyramid.maps) for task in decoder.tasks}
    attended_to = interaction.reduce(fused)
    windows = []
    handles = [
        layer.register_forward_hook(lambda _, __, out: windows.append(out))
        for layer in interaction.layers
    ]
    attended = interaction(fused)
    for handle in handles:
        handle.remove()
    grid = WindowGrid(*attended_to['edge'].shape[-2:], window_size=7)
    layers = [
        grid.merge(tokens, len(features.maps[-1])).permute(3, 0, 4, 1, 2) for tokens in windows
    ]
    for index, (task, theirs) in enumerate(OFFICIAL_NAMES.items()):
        check(f'fused_{theirs}', fused[task])
        for number, layer in enumerate(layers):
            check(f'cross{number}_{theirs}', layer[index])
        if official.variant == 'small':
            check(f'pre_{theirs}', interaction.pre_project[task](fused[task]))
            check(f'pooled_{theirs}', attended_to[task])
            check(f'post_{theirs}', attended[task])

    maps = merger(fused, attended, pyramid)
    for task, theirs in MERGED_NAMES.items():
        check(f'restored_{theirs}', maps[task])
    if name == 'a':  # its heads are slow in float64, and checked by the training step
        return
    size = dict(b=(60, 75), c=(27, 40))[name]
    for task, theirs in HEAD_NAMES.items():
        out = model.heads[task](maps[task])
        check(f'head_{theirs}', out)
        check(
            theirs, nn.functional.interpolate(out, size=size, mode='bilinear', align_corners=False)
        )


@pytest.mark.parametrize('name', ['a', 'c'])
@torch.no_grad()
def test_float32_agrees(official, name):
    model = official.model.float()
    maps = model.decoder(model.neck(official.vectors.features(name, torch.float32))).maps
    for task, theirs in HEAD_NAMES.items():
        official.vectors.check(name, f'head_{theirs}', model.heads[task](maps[task]), 1e-4)


@pytest.mark.parametrize('optimized', [False, True])
def test_training_step_is_the_official_one(tiny_m2h, vectors, optimized):
    """Outputs with batch statistics, gradients of all parameters, running statistics."""
    expected = vectors('m2h_full_train_grad').arrays
    model = tiny_m2h('full').train()
    if optimized:
        optimize(model, training=True)
    maps = model.decoder(model.neck(vectors('m2h_full_tiny').features('a', torch.float64))).maps
    loss = 0
    for task, theirs in HEAD_NAMES.items():
        out = nn.functional.interpolate(
            model.heads[task](maps[task]), size=(70, 70), mode='bilinear'
        )
        torch.testing.assert_close(out, expected[f'output/a/{theirs}'].double(), rtol=0, atol=1e-6)
        loss = loss + (expected[f'input/proj_{theirs}'] * out).sum()
    loss.backward()
    assert loss.item() == pytest.approx(expected['output/loss'].item(), rel=1e-6)

    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    compared = set()
    for key, value in expected.items():
        kind, _, official_key = key.removeprefix('output/').partition('/')
        ours = translate_m2h_key(official_key)
        if kind == 'grad':
            torch.testing.assert_close(parameters[ours].grad, value.double(), rtol=1e-5, atol=1e-5)
        elif kind == 'grad_l2':
            compared.add(ours)
            assert parameters[ours].grad.norm().item() == pytest.approx(
                value.item(), rel=1e-5, abs=1e-5
            ), ours
        elif kind == 'buffers_after':
            torch.testing.assert_close(
                buffers[ours], value.to(buffers[ours].dtype), rtol=0, atol=1e-6
            )
    assert compared == set(parameters)


class Counted(nn.Module):
    """Stands in for a task's fusion; says whether it ran."""

    def __init__(self, fusion):
        super().__init__()
        self.fusion = fusion
        self.calls = 0

    def forward(self, maps):
        self.calls += 1
        return self.fusion(maps)


def small_decoder(tasks=('semseg', 'depth', 'normals'), levels=3, **options):
    torch.manual_seed(0)
    strides = [7 * 2**level for level in range(levels)]
    decoder = M2HDecoder((8,) * levels, strides, tasks, (6,) * levels, channels=8, **options)
    decoder = decoder.double()
    decoder.fusion = nn.ModuleDict(
        {task: Counted(fusion) for task, fusion in decoder.fusion.items()}
    )
    return decoder


def pyramid(levels=3):
    torch.manual_seed(1)
    maps = tuple(
        torch.randn(1, 8, 16 // 2**level, 8 // 2**level).double() for level in range(levels)
    )
    return Features(maps, source=Features((torch.randn(1, 6, 4, 3).double(),) * levels))


@pytest.mark.parametrize(
    ('interaction', 'ran'),
    [(dict(type='WMCA', num_heads=2), [1, 1, 1]), (dict(type='NoInteraction'), [0, 1, 0])],
)
def test_a_subset_equals_the_whole_and_costs_no_more_than_it_must(interaction, ran):
    decoder = small_decoder(interaction=interaction, merger=dict(type='GGFM', tasks=('depth',)))
    part = decoder(pyramid(), tasks=('depth',)).maps
    assert [fusion.calls for fusion in decoder.fusion.values()] == ran
    whole = decoder(pyramid()).maps
    assert list(part) == ['depth'] and list(whole) == list(decoder.tasks)
    assert torch.equal(part['depth'], whole['depth'])
    assert {task: tuple(x.shape) for task, x in whole.items()} == dict.fromkeys(
        decoder.tasks, (1, 8, 32, 16)
    )


def test_a_single_task_needs_no_interaction():
    decoder = small_decoder(('depth',), interaction=dict(type='NoInteraction'))
    assert decoder.out_channels == {'depth': 8} and list(decoder(pyramid()).maps) == ['depth']
    with pytest.raises(ValueError, match='at least two tasks'):
        small_decoder(('depth',))


def test_small_switches_are_few_parameters():
    sizes = [
        sum(
            p.numel()
            for p in small_decoder(
                separable=separable, interaction=dict(type='NoInteraction')
            ).parameters()
        )
        for separable in (False, True)
    ]
    assert sizes[1] < sizes[0] / 3


def test_one_fusion_is_run_once_whatever_is_asked_for():
    decoder = small_decoder(interaction=dict(type='NoInteraction'), shared_fusion=True)
    decoder.stem = Counted(decoder.stem)
    whole = decoder(pyramid()).maps
    assert decoder.stem.calls == 1 and [fusion.calls for fusion in decoder.fusion.values()] == [
        1,
        1,
        1,
    ]
    part = decoder(pyramid(), tasks=('depth',)).maps
    assert torch.equal(part['depth'], whole['depth']) and not torch.equal(
        whole['normals'], whole['depth']
    )
    assert all(x.min() == 0 for x in whole.values())
    assert [fusion.calls for fusion in decoder.fusion.values()] == [1, 2, 1]


@pytest.mark.parametrize('shared_fusion', [False, True])
def test_without_the_last_upsampling_maps_are_as_large_as_the_finest_level(shared_fusion):
    options = dict(interaction=dict(type='NoInteraction'), shared_fusion=shared_fusion)
    fine, coarse = (small_decoder(upsample_last=last, **options) for last in (True, False))
    coarse.load_state_dict(fine.state_dict())
    assert coarse(pyramid()).maps['depth'].shape == (1, 8, *pyramid().maps[0].shape[2:])
    assert fine(pyramid()).maps['depth'].shape == (1, 8, 32, 16)


def test_pyramid_of_other_channels_is_refused_when_built():
    with pytest.raises(ValueError, match=r'channels=256, got \(64, 128\)'):
        M2HDecoder((64, 128), (4, 8), ('depth', 'edge'), (64, 128))


@pytest.mark.parametrize('strides', [(14, 14), (8, 4), (4, 16)])
def test_levels_that_are_no_pyramid_are_refused_when_built(strides):
    with pytest.raises(ValueError, match=r'double from level to level, got \(.*TokenReassembly'):
        M2HDecoder((256, 256), strides, ('depth', 'edge'), (64, 128))


@pytest.mark.parametrize('upsample_last', [True, False])
def test_its_strides_are_those_of_its_maps(upsample_last):
    decoder = small_decoder(
        interaction=dict(type='NoInteraction'), upsample_last=upsample_last, shared_fusion=True
    )
    given = pyramid()
    height = 7 * given.maps[0].shape[2]
    for task, map in decoder(given).maps.items():
        assert map.shape[2] == height / decoder.strides[task]


def test_norms_are_an_option_of_neck_fusion_and_merger():
    features = Features(maps=tuple(torch.randn(2, 8, size, size) for size in (8, 4, 2, 1)))
    arguments = dict(
        in_channels=(8,) * 4,
        in_strides=(4, 8, 16, 32),
        tasks=('semseg', 'depth'),
        source_channels=(8,) * 4,
        channels=8,
        interaction=dict(type='NoInteraction'),
        shared_fusion=True,
    )
    plain = M2HDecoder(**arguments, merger=dict(type='GGFM'))
    decoder = M2HDecoder(**arguments, norm=True, merger=dict(type='GGFM', norm=True))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    # Every convolution but those of the gates, streams and the merger's network has its own.
    fusion = [decoder.stem, decoder.fusion, decoder.merger.unique]
    convs, norms = (
        sum(isinstance(module, kind) for part in fusion for module in part.modules())
        for kind in (nn.Conv2d, nn.BatchNorm2d)
    )
    shrinks = len(decoder.tasks)
    assert norms == convs - shrinks
    assert all(isinstance(merge.norm, nn.BatchNorm2d) for merge in decoder.merger.merge.values())
    maps = decoder(features).maps
    assert {name: x.shape for name, x in maps.items()} == {
        name: x.shape for name, x in plain(features).maps.items()
    }
    decoder.eval()
    for name, x in optimize(decoder)(features).maps.items():
        torch.testing.assert_close(x, decoder(features).maps[name])
    with pytest.raises(ValueError, match='norm=True: M2H-small'):
        M2HDecoder(**arguments, norm=True, separable=True)

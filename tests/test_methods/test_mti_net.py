"""MTI-Net: official numbers of every stage, main and auxiliary tasks, subsets, a single task."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.methods.mti_net.checkpoint import convert_official_mti_net
from m2h_mm.methods.mti_net.decoder import MTINetDecoder
from m2h_mm.models.layers.distillation import MultiModalDistillationUnit
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

CHANNELS = dict(semseg=5, normals=3, edge=1, depth=1)
OFFICIAL_ORDER = tuple(CHANNELS)
MODEL_ORDER = ('semseg', 'depth', 'normals', 'edge')
IMAGE_SIZE = (64, 96)


def build(tasks=MODEL_ORDER, widths=(8, 16, 32, 64), main_tasks=None, seed=0) -> nn.Module:
    """Decoder and heads with the names that they have in a MultiTaskModel."""
    torch.manual_seed(seed)
    model = nn.Module()
    strides = [4 * 2**scale for scale in range(len(widths))]
    model.decoder = MTINetDecoder(widths, strides, tasks, CHANNELS, main_tasks)
    model.heads = nn.ModuleDict(
        {
            task: MODELS.build(
                dict(
                    type='LinearHead',
                    in_channels=model.decoder.out_channels[task],
                    out_channels=CHANNELS[task],
                )
            )
            for task in tasks
        }
    )
    return model


def small(tasks=MODEL_ORDER, **kwargs) -> MTINetDecoder:
    decoder = build(tasks, widths=(4, 8, 16), **kwargs).decoder.double()
    for module in decoder.modules():
        if isinstance(
            module, nn.BatchNorm2d
        ):  # statistics as after a training, none of which is an identity
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return decoder.eval()


def random_features(height=8, width=12, batch=2, widths=(4, 8, 16)) -> Features:
    generator = torch.Generator().manual_seed(1)
    sizes = [(-(-height // 2**scale), -(-width // 2**scale)) for scale in range(len(widths))]
    return Features(
        tuple(
            torch.randn(batch, channels, *size, generator=generator).double()
            for channels, size in zip(widths, sizes, strict=True)
        )
    )


@pytest.fixture(scope='module')
def vectors(reference) -> dict[str, torch.Tensor]:
    path = reference / 'baselines' / 'mti_net_tiny.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope='module')
def weights(vectors) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix('weights/'): value
        for key, value in vectors.items()
        if key.startswith('weights/')
    }


def load(model: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    model.load_state_dict(
        convert_official_mti_net(weights, model.state_dict(), model.decoder.tasks)
    )
    return model.eval()


def inputs(vectors: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> Features:
    return Features(tuple(vectors[f'input/scale_{scale}'].to(dtype) for scale in range(4)))


def check(vectors: dict[str, torch.Tensor], name: str, actual: torch.Tensor) -> None:
    assert_close(
        actual,
        vectors[f'output/{name}'].to(actual.dtype),
        rtol=1e-5,
        atol=1e-5,
        msg=lambda message: f'{name}: {message}',
    )


def record(decoder: MTINetDecoder) -> dict[str, torch.Tensor]:
    """A dict that the next forward fills with what the official vectors name."""
    seen = {}

    def hook(module, name, what=lambda args, output: output):
        def keep(_, args, output):
            found = what(args, output)
            found = found if isinstance(found, dict) else {'': found}
            seen.update({name + task: x.clone() for task, x in found.items()})

        module.register_forward_hook(keep)

    for scale in range(4):
        for task in decoder.tasks:
            hook(decoder.refine[scale][task], f'deep_supervision/scale_{scale}/features_{task}')
        hook(decoder.distil[scale], f'distillation/scale_{scale}/')
        if scale:
            module = decoder.propagate[scale - 1]
            hook(module, f'fpm/scale_{scale}/')
            hook(module.mask, f'fpm_internal/scale_{scale}/mask_logits')
            hook(module.reduce, f'fpm_internal/scale_{scale}/masked', lambda args, _: args[0])
            hook(module.reduce, f'fpm_internal/scale_{scale}/shared')
    return seen


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('tasks', [OFFICIAL_ORDER, MODEL_ORDER])
@torch.no_grad()
def test_every_stage_is_the_official_one_in_any_order_of_tasks(vectors, weights, tasks, dtype):
    model = load(build(tasks), weights).to(dtype)
    seen = record(model.decoder)
    outputs = model.decoder(inputs(vectors, dtype))
    for name, x in list(seen.items()):
        if name.endswith(('mask_logits', 'masked')):  # laid out task by task
            blocks = dict(zip(tasks, x.chunk(4, dim=1), strict=True))
            seen[name] = torch.cat([blocks[task] for task in OFFICIAL_ORDER], dim=1)
        if '/features_' in name:
            scale, task = int(name.split('scale_')[1][0]), name.split('features_')[1]
            seen[name.replace('features_', '')] = model.decoder.predict[scale][task](x)
    for task, x in outputs.maps.items():
        seen[f'head/{task}'] = model.heads[task](x)
        seen[f'final/{task}'] = F.interpolate(
            seen[f'head/{task}'], size=IMAGE_SIZE, mode='bilinear'
        )
    assert {f'output/{name}' for name in seen} == {
        key for key in vectors if key.startswith('output/')
    }
    for name, actual in seen.items():
        check(vectors, name, actual)


@torch.no_grad()
def test_official_auxiliary_tasks(vectors, weights):
    """Two main tasks: what the official model of four computes for them, and the others' finest
    predictions.
    """
    auxiliary = ('normals', 'edge')
    kept = {
        key: value
        for key, value in weights.items()
        if not key.startswith(
            tuple(
                begin + task
                for task in auxiliary
                for begin in (
                    'heads.',
                    *(f'distillation_scale_{scale}.self_attention.' for scale in range(4)),
                )
            )
        )
    }
    model = load(build(main_tasks=('depth', 'semseg')), kept)
    assert model.decoder.main_tasks == ('semseg', 'depth')
    maps = model.decoder(inputs(vectors)).maps
    for task in ('semseg', 'depth'):
        check(vectors, f'head/{task}', model.heads[task](maps[task]))
    for task in auxiliary:
        check(vectors, f'deep_supervision/scale_0/{task}', model.heads[task](maps[task]))


@torch.no_grad()
def test_auxiliary_predictions_in_training_are_those_of_every_scale(vectors, weights):
    """Each task is supervised four times plus its final output; an auxiliary task's finest
    prediction is its head's.
    """
    for main_tasks, finest in ((None, list(MODEL_ORDER)), (('edge',), ['edge'])):
        decoder = build(main_tasks=main_tasks).decoder.train()
        aux = decoder(inputs(vectors)).aux
        assert [list(scale) for scale in aux] == [finest, *[list(MODEL_ORDER)] * 3]
        assert [tuple(x.shape[-2:]) for scale in aux for x in scale.values()] == [
            (64 // 2**scale // 4, 96 // 2**scale // 4) for scale in range(4) for _ in aux[scale]
        ]
        assert all(x.shape[1] == CHANNELS[task] for scale in aux for task, x in scale.items())


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

"""PAD-Net: official numbers of every stage, main and auxiliary tasks, subsets, a single task."""

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.methods.mti_net.checkpoint import convert_official_mti_net
from m2h_mm.methods.pad_net.decoder import PADNetDecoder
from m2h_mm.methods.pad_net.head import PADNetHead
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

CHANNELS = dict(semseg=5, normals=3, edge=1, depth=1)
TASKS = ('semseg', 'depth', 'normals', 'edge')
WIDTHS = (4, 6, 8, 12)
IMAGE_SIZE = (64, 96)


def build(tasks=TASKS, main_tasks=None, channels=32) -> nn.Module:
    """Decoder and heads with the names that they have in a MultiTaskModel."""
    torch.manual_seed(0)
    model = nn.Module()
    model.decoder = PADNetDecoder(WIDTHS, (4, 8, 16, 32), tasks, CHANNELS, channels, main_tasks)
    model.heads = nn.ModuleDict(
        {
            task: MODELS.build(
                dict(
                    type='PADNetHead' if task in model.decoder.main_tasks else 'LinearHead',
                    in_channels=channels,
                    out_channels=CHANNELS[task],
                )
            )
            for task in tasks
        }
    )
    return model.eval()


def random_features(height=8, width=12, batch=2) -> Features:
    generator = torch.Generator().manual_seed(1)
    return Features(
        tuple(
            torch.randn(
                batch, channels, -(-height // 2**level), -(-width // 2**level), generator=generator
            )
            for level, channels in enumerate(WIDTHS)
        )
    )


@pytest.fixture(scope='module')
def vectors(reference) -> dict[str, torch.Tensor]:
    path = reference / 'baselines' / 'pad_net_tiny.npz'
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
    return model


def inputs(vectors: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> Features:
    return Features(tuple(vectors[f'input/scale_{scale}'].to(dtype) for scale in range(4)))


def check(vectors: dict[str, torch.Tensor], name: str, actual: torch.Tensor) -> None:
    assert_close(
        actual,
        vectors[f'output/{name}'].to(actual.dtype),
        **TOLERANCES[actual.dtype],
        msg=lambda message: f'{name}: {message}',
    )


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@torch.no_grad()
def test_every_stage_is_the_official_one(vectors, weights, dtype):
    model = load(build(), weights).to(dtype)
    seen = {}
    model.decoder.fuse.register_forward_hook(lambda _, args, output: seen.update(fused=output))
    for task, layers in model.decoder.refine.items():
        layers.register_forward_hook(
            lambda _, args, output, task=task: seen.update(
                {
                    f'initial_features/{task}': output,
                    f'initial/{task}': model.decoder.predict[task](output),
                }
            )
        )
    for task, x in model.decoder(inputs(vectors, dtype)).maps.items():
        seen[f'distillation/{task}'] = x
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
    """One main task: what the official model of four computes for it, and the others' initial
    predictions.
    """
    auxiliary = ('semseg', 'normals', 'edge')
    kept = {
        key: value
        for key, value in weights.items()
        if not key.startswith(
            tuple(
                begin + task
                for task in auxiliary
                for begin in ('heads.', 'multi_modal_distillation.self_attention.')
            )
        )
    }
    model = load(build(main_tasks=('depth',)), kept)
    maps = model.decoder(inputs(vectors)).maps
    check(vectors, 'head/depth', model.heads['depth'](maps['depth']))
    for task in auxiliary:
        check(vectors, f'initial/{task}', model.heads[task](maps[task]))


@torch.no_grad()
def test_initial_predictions_are_supervised_in_training_only():
    for main_tasks in (None, ('depth', 'edge')):
        decoder = build(main_tasks=main_tasks).decoder
        assert decoder(random_features()).aux == []
        aux = decoder.train()(random_features()).aux
        assert [{task: tuple(x.shape) for task, x in scale.items()} for scale in aux] == [
            {task: (2, CHANNELS[task], 8, 12) for task in main_tasks or TASKS}
        ]


@pytest.mark.parametrize(
    ('asked', 'refined'), [(('normals',), 1), (('depth',), 4), (('normals', 'depth'), 4)]
)
@torch.no_grad()
def test_a_subset_of_the_tasks_equals_the_whole_and_leaves_out_the_rest(asked, refined):
    decoder, features = build(main_tasks=('semseg', 'depth')).decoder, random_features()
    whole = decoder(features).maps
    ran = []
    for layers in decoder.refine.values():
        layers.register_forward_hook(lambda *_: ran.append(1))
    decoder.distil.register_forward_hook(lambda module, args, output: ran.append(list(output)))
    part = decoder(features, tasks=asked).maps
    assert set(part) == set(asked)
    assert ran == [1] * refined + [['depth']] * ('depth' in asked)
    for task, expected in part.items():
        assert_close(whole[task], expected)


@torch.no_grad()
def test_the_others_matter_to_a_main_task_only():
    decoder, features = build(main_tasks=('semseg', 'depth')).decoder, random_features()
    before = decoder(features).maps
    decoder.refine['edge'].register_forward_hook(lambda _, args, output: output + 1)
    change = {
        task: (x - before[task]).abs().max().item() for task, x in decoder(features).maps.items()
    }
    assert change['normals'] == 0 and min(change['semseg'], change['depth']) > 1e-6


@torch.no_grad()
def test_a_single_task_has_nothing_to_exchange():
    decoder, features = build(('depth',)).decoder, random_features(9, 7)
    assert not list(decoder.distil.parameters())
    found = decoder(features).maps['depth']
    assert found.shape == (2, 32, 9, 7)
    assert torch.equal(found, decoder.refine['depth'](decoder.fuse(features.maps)))


def test_every_parameter_gets_a_finite_gradient():
    for main_tasks in (None, ('semseg', 'depth')):
        model = build(main_tasks=main_tasks, channels=16).double().train()
        outputs = model.decoder(Features(tuple(x.double() for x in random_features().maps)))
        predictions = [head(outputs.maps[task]) for task, head in model.heads.items()]
        sum(x.square().mean() for x in (*predictions, *outputs.aux[0].values())).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert name == 'decoder.fuse.conv.bias' or parameter.grad.abs().max() > 1e-12, name


@torch.no_grad()
def test_images_of_a_batch_are_independent_in_any_memory_format():
    model, features = build(), random_features(batch=3)
    expected = {task: model.heads[task](x) for task, x in model.decoder(features).maps.items()}
    order = [2, 0, 1]
    model.to(memory_format=torch.channels_last)
    permuted = Features(
        tuple(x[order].to(memory_format=torch.channels_last) for x in features.maps)
    )
    for task, x in model.decoder(permuted).maps.items():
        assert_close(model.heads[task](x), expected[task][order])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(in_strides=(8, 4)),
            r'PADNetDecoder\): expected maps from fine to coarse, got strides '
            r'\(8, 4\)',
        ),
        (
            dict(channels=18),
            r'PADNetDecoder\): channels must be a positive multiple of 4 .* got 18',
        ),
        (dict(tasks=()), r'main_tasks: expected at least one of model.tasks \[\]'),
        (dict(main_tasks=('flow',)), r"main_tasks.*got \['flow'\]"),
    ],
)
def test_wrong_arguments_are_refused_when_built(changes, message):
    settings = dict(
        in_channels=(8, 8), in_strides=(4, 8), tasks=('depth',), task_channels=dict(depth=1)
    )
    with pytest.raises(ValueError, match=message):
        PADNetDecoder(**{**settings, **changes})


def test_a_head_that_cannot_be_quartered_is_refused():
    with pytest.raises(
        ValueError,
        match=r'PADNetHead\): in_channels must be a positive multiple '
        r'of 4 .* got 30',
    ):
        PADNetHead(30, 1)

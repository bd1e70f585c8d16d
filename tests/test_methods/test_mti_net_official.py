"""Official numbers of every stage of MTI-Net, with main and auxiliary tasks."""

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES
from small_mti_net import CHANNELS, MODEL_ORDER, OFFICIAL_ORDER, build
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.methods.mti_net.checkpoint import convert_official_mti_net
from m2h_mm.methods.mti_net.decoder import MTINetDecoder
from m2h_mm.structures import Features

IMAGE_SIZE = (64, 96)


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
        **TOLERANCES[actual.dtype],
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

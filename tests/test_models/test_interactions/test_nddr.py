import numpy as np
import pytest
import torch
from torch import nn

from m2h_mm.models.interactions import NDDR

OFFICIAL_ORDER = ('semseg', 'normals', 'edge', 'depth')


def test_layer_is_the_official_one(reference):
    path = reference / 'baselines' / 'nddr_unit.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path) as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}

    def joined(name):
        return torch.cat([arrays[f'weights/layer.{task}.{name}'] for task in OFFICIAL_ORDER])

    model = NDDR(6, OFFICIAL_ORDER).eval()
    state = {
        f'norm.{name}': joined(f'1.{name}')
        for name in ('weight', 'bias', 'running_mean', 'running_var')
    }
    model.load_state_dict(
        {'conv.weight': joined('0.weight'), 'norm.num_batches_tracked': torch.tensor(0), **state}
    )
    before_relu = []
    model.norm.register_forward_hook(lambda _, __, out: before_relu.extend(out.chunk(4, dim=1)))
    out = model({task: arrays[f'input/{task}'] for task in OFFICIAL_ORDER})
    for task, before in zip(OFFICIAL_ORDER, before_relu, strict=True):
        torch.testing.assert_close(before, arrays[f'output/pre_relu/{task}'], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(out[task], arrays[f'output/{task}'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('tasks', ['a', 'ab', 'abcdef'])
def test_each_task_starts_with_most_of_its_own(tasks):
    torch.manual_seed(0)
    maps = {task: torch.randn(2, 3, 4, 5) for task in tasks}
    out = NDDR(3, tasks).eval()(maps)
    for task, x in maps.items():
        others = sum((maps[other] for other in tasks if other != task), torch.zeros_like(x))
        torch.testing.assert_close(out[task], (0.9 * x + 0.1 * others).relu(), rtol=1e-4, atol=1e-6)


def test_running_statistics_move_by_a_twentieth():
    torch.manual_seed(0)
    model = NDDR(3, 'ab')
    nn.init.dirac_(model.conv.weight)
    x = torch.randn(4, 3, 4, 5) + 2
    model({'a': x, 'b': -x})
    mean = x.mean((0, 2, 3))
    torch.testing.assert_close(model.norm.running_mean, 0.05 * torch.cat([mean, -mean]))

import numpy as np
import pytest
import torch
from torch import nn

from m2h_mm.models.interactions import TaskAttention
from m2h_mm.models.interactions.task_attention import AttentionMask

OFFICIAL_ORDER = ('semseg', 'normals', 'edge', 'depth')
TASKS = ('semseg', 'depth', 'normals')


@pytest.fixture(scope='module')
def arrays(reference):
    path = reference / 'baselines' / 'mtan_attention.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.mark.parametrize('task', OFFICIAL_ORDER)
@pytest.mark.parametrize('layer', [1, 2, 3, 4])
@torch.no_grad()
def test_mask_is_the_official_one(arrays, layer, task):
    seen = [arrays[f'input/layer{layer}/before_last_block']]
    if layer > 1:
        seen.append(arrays[f'output/layer{layer - 1}/refined{"_pooled" * (layer == 2)}/{task}'])
    masked = arrays[f'input/layer{layer}/last_block']
    seen, channels = torch.cat(seen, dim=1), masked.shape[1]
    unit = AttentionMask(seen.shape[1], channels, channels // 4).eval()
    prefix = f'weights/attention_{layer}.{task}.'
    unit.load_state_dict(
        {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    )
    mask = unit(seen)
    torch.testing.assert_close(
        mask, arrays[f'output/layer{layer}/mask/{task}'], rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        mask * masked, arrays[f'output/layer{layer}/masked/{task}'], rtol=1e-5, atol=1e-5
    )


def build_and_run(bias=None):
    torch.manual_seed(0)
    model = TaskAttention(8, TASKS).eval()
    if bias is not None:
        for mask in model.masks.values():
            nn.init.constant_(mask[4].bias, bias)
    maps = {task: torch.randn(2, 8, 5, 6) for task in TASKS}
    with torch.no_grad():
        return model(maps), model.shared(torch.cat(list(maps.values()), dim=1))


def test_each_task_takes_a_part_of_the_shared_map():
    out, shared = build_and_run()
    assert (shared > 0).any()
    for x in out.values():
        assert (x >= 0).all() and (x <= shared).all()
        assert ((x > 0) == (shared > 0)).all()
    assert not torch.equal(out['semseg'], out['depth'])


@pytest.mark.parametrize(('bias', 'part'), [(100.0, 1), (-100.0, 0)])
def test_open_and_closed_masks(bias, part):
    out, shared = build_and_run(bias)
    for x in out.values():
        torch.testing.assert_close(x, part * shared)


def test_a_mask_sees_its_own_task_and_the_shared_map_alone():
    torch.manual_seed(0)
    model = TaskAttention(8, TASKS).eval()
    shared = torch.rand(1, 8, 5, 6, requires_grad=True)
    model.shared.register_forward_hook(lambda *_: shared)
    maps = {task: torch.randn(1, 8, 5, 6, requires_grad=True) for task in TASKS}
    out = model(maps)['depth']
    seen = torch.autograd.grad(out.sum(), [shared, *maps.values()], allow_unused=True)
    assert [gradient is not None for gradient in seen] == [True, False, True, False]


def test_masks_have_a_fraction_of_the_channels():
    assert TaskAttention(8, TASKS, reduction=2).masks['depth'][0].out_channels == 4
    with pytest.raises(ValueError, match='reduction=3'):
        TaskAttention(8, TASKS, reduction=3)

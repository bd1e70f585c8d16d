import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from m2h_mm.models.interactions import GlobalCrossTaskAttention

OFFICIAL_ORDER = ('semseg', 'depth', 'normals', 'edge')
TASKS = ('semseg', 'depth', 'normals')
BLOCK = 'weights/multi_task_decoder.invpt.invpt_stages.0.blocks.0.'
RENAMED = {
    'norm1': 'norm1',
    'attn.proj_q': 'query',
    'attn.proj': 'proj',
    'norm2': 'norm2',
    'mlp.fc1': 'mlp.0',
    'mlp.fc2': 'mlp.2',
}


def random_maps(size, tasks=TASKS, channels=8, num=1):
    torch.manual_seed(0)
    return {task: torch.randn(num, channels, *size, dtype=torch.float64) for task in tasks}


def build(**options):
    torch.manual_seed(1)
    return GlobalCrossTaskAttention(8, TASKS, **options).double().eval()


def first_stage(arrays):
    """The state of the one layer from the weights of InvPT's first stage."""
    block = {
        key.removeprefix(BLOCK): value for key, value in arrays.items() if key.startswith(BLOCK)
    }
    state = {
        f'{ours}.{kind}': block[f'{theirs}.{kind}']
        for theirs, ours in RENAMED.items()
        for kind in ('weight', 'bias')
    }
    for kind in ('weight', 'bias'):
        state[f'key_value.{kind}'] = torch.cat([block[f'attn.proj_{name}.{kind}'] for name in 'kv'])
        state[f'shrink.1.{kind}'] = torch.cat(
            [block[f'attn.conv_proj_q.{task}.bn.{kind}'] for task in range(4)]
        )
    for kind in ('running_mean', 'running_var'):
        state[f'shrink.1.{kind}'] = torch.cat(
            [block[f'attn.conv_proj_q.{task}.bn.{kind}'] for task in range(4)]
        )
    state['shrink.0.weight'] = torch.cat(
        [block[f'attn.conv_proj_q.{task}.conv.weight'] for task in range(4)]
    )
    state['shrink.1.num_batches_tracked'] = torch.tensor(0)
    return state


@torch.no_grad()
def test_layer_is_the_first_stage_of_invpt(reference):
    path = reference / 'baselines' / 'invpt_tiny.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path) as file:
        arrays = {
            key: torch.from_numpy(file[key])
            for key in file.files
            if key.startswith((BLOCK, 'output/mixed', 'output/stage0'))
        }
    model = GlobalCrossTaskAttention(40, OFFICIAL_ORDER, pooling=2).eval()
    layer = model.layers[0]
    layer.load_state_dict(first_stage(arrays))

    def check(stage, actual):
        torch.testing.assert_close(actual, arrays[f'output/stage0/{stage}'], rtol=1e-5, atol=1e-5)

    def task_major(
        tokens,
    ):  # (N, h, w, T, C), the tasks of a pixel side by side, to all pixels of a task
        return tokens.permute(0, 3, 1, 2, 4).flatten(1, 3)

    layer.query.register_forward_pre_hook(lambda _, args: check('q_tokens', task_major(args[0])))
    layer.key_value.register_forward_pre_hook(
        lambda _, args: check('kv_tokens', task_major(args[0]))
    )
    layer.proj.register_forward_hook(
        lambda _, __, out: check('attn_out', task_major(out.unflatten(1, (2, 3, 4))))
    )
    for task, x in model({task: arrays[f'output/mixed/{task}'] for task in OFFICIAL_ORDER}).items():
        check(f'out/{task}', x)


@pytest.mark.parametrize('num_layers', [1, 2])
def test_every_pixel_sees_every_task_everywhere(num_layers):
    model = build(pooling=4, num_layers=num_layers)
    maps = {task: x.requires_grad_() for task, x in random_maps((11, 6)).items()}
    (model(maps)['depth'][..., 10, 0] * torch.randn(8).double()).sum().backward()
    assert all((x.grad != 0).any(1).all() for x in maps.values())


@pytest.mark.parametrize(
    ('size', 'pooling', 'queries', 'keys'),
    [
        ((8, 12), 4, 4 * 6, 2 * 3),
        ((9, 13), 4, 5 * 7, 3 * 4),
        ((3, 2), 8, 2 * 1, 1),
        ((1, 1), 8, 1, 1),
        ((4, 5), 1, 2 * 3, 20),
    ],
)
def test_number_of_queries_and_keys(size, pooling, queries, keys, monkeypatch):
    """What the cost in the docstring rests on."""
    lengths, attention = [], F.scaled_dot_product_attention
    monkeypatch.setattr(
        F,
        'scaled_dot_product_attention',
        lambda query, key, value, **options: (
            lengths.append((query.shape[-2], key.shape[-2]))
            or attention(query, key, value, **options)
        ),
    )
    out = build(pooling=pooling)(random_maps(size))
    assert lengths == [(len(TASKS) * queries, len(TASKS) * keys)]
    assert all(x.shape[-2:] == size and x.isfinite().all() for x in out.values())


def test_projection_commutes_with_upsampling():
    model, maps = build(pooling=2), random_maps((7, 9))
    layer, late = model.layers[0], build(pooling=2).layers[0]
    late.load_state_dict(layer.state_dict())
    late.proj = nn.Identity()
    x = torch.stack([maps[task].permute(0, 2, 3, 1) for task in TASKS], dim=3)
    torch.testing.assert_close(layer.attention(x), layer.proj(late.attention(x)))


def test_memory_format_is_kept():
    for memory_format in (torch.channels_last, torch.contiguous_format):
        maps = {task: x.to(memory_format=memory_format) for task, x in random_maps((8, 8)).items()}
        assert all(x.is_contiguous(memory_format=memory_format) for x in build()(maps).values())


@pytest.mark.parametrize('options', [dict(num_heads=3), dict(num_layers=0), dict(pooling=0)])
def test_what_does_not_fit_is_refused_when_built(options):
    with pytest.raises(ValueError, match=r'model\.decoder\.interaction.*' + next(iter(options))):
        build(**options)

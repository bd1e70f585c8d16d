"""M2H-MX's mixer and Mamba block against the official numbers."""

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES

from m2h_mm.models.layers import ContextMixer, RegisterMamba, StripAttention


@pytest.fixture(scope='module')
def arrays(reference):
    path = reference / 'm2h_mx' / 'm2h_mx_tiny.npz'
    if not path.is_file():
        pytest.skip('m2h_mx_tiny.npz is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        return {
            key: torch.from_numpy(file[key])
            for key in file.files
            if key.startswith('output/b/')
            or 'register_blocks' in key
            or '_mixer.' in key
            or '.context.' in key
        }


def load(module, arrays, prefix, dtype):
    prefix = f'weights/{prefix}.'
    module.load_state_dict(
        {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    )
    return module.to(dtype).eval()


def check(found, arrays, stage):
    expected = arrays[f'output/b/{stage}'].to(found.dtype)
    torch.testing.assert_close(found, expected.reshape(found.shape), **TOLERANCES[found.dtype])


DTYPES = pytest.mark.parametrize('dtype', [torch.float64, torch.float32])


@DTYPES
@pytest.mark.parametrize('level', range(4))
@torch.no_grad()
def test_register_mamba(arrays, level, dtype):
    """Blocks are numbered from the coarsest level on."""
    pyramid = f'decoder/p{5 - level}'
    block = load(RegisterMamba(32, 8), arrays, f'decoder.register_blocks.{level}', dtype)
    x = arrays[f'output/b/{pyramid}/shared_in'].to(dtype)
    register = arrays['output/b/adapter/register_vec'].to(dtype)
    check(block.register_gate(register), arrays, f'{pyramid}/gate')
    check(block(x, register), arrays, f'{pyramid}/shared')


@DTYPES
@pytest.mark.parametrize(
    ('head', 'name', 'contexts'),
    [
        ('edge', 'edge_head.context_mixer', ('semseg', 'depth', 'normals')),
        ('normals', 'normals_head.context_mixer', ('semseg', 'depth', 'edge')),
        ('semseg', 'segmentation_head.task_mixer', ('depth', 'normals', 'edge')),
    ],
)
@torch.no_grad()
def test_context_mixer(arrays, head, name, contexts, dtype):
    """Heads run in the order depth, edge, normals, semseg; each hands its own map on."""
    done = {'edge': ('depth',), 'normals': ('depth', 'edge'), 'semseg': contexts}[head]
    maps = {
        task: arrays[
            f'output/b/heads/{task}/{"refined" if task == "depth" else "mixed"}'
            if task in done
            else f'output/b/decoder/{task}/p2'
        ].to(dtype)
        for task in contexts
    }
    mixer = load(ContextMixer(32, contexts), arrays, name, dtype)
    for task in contexts:
        check(mixer.projections[task](maps[task]), arrays, f'heads/{head}/mixer_proj_{task}')
        check(mixer.gates[task](maps[task]), arrays, f'heads/{head}/mixer_gate_{task}')
    x = arrays[f'output/b/heads/{head}/refined'].to(dtype)
    check(mixer(x, maps), arrays, f'heads/{head}/mixed')


@DTYPES
@torch.no_grad()
def test_strip_attention_with_squeeze(arrays, dtype):
    attention = load(StripAttention(32, squeeze=True), arrays, 'segmentation_head.context', dtype)
    x = arrays['output/b/heads/semseg/mixed'].to(dtype)
    check(attention(x), arrays, 'heads/semseg/context_map')


def test_a_mixer_without_contexts_is_an_error():
    with pytest.raises(ValueError, match='at least one name'):
        ContextMixer(8, ())

"""TaskPrompter: official numbers of every step, keys, shapes and counts of the published model."""

import json

import pytest
import torch
from fidelity import TOLERANCES
from small_taskprompter import TASKS, config, read_vectors
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.engine.config import load_config
from m2h_mm.methods.taskprompter.checkpoint import (
    convert_official_taskprompter,
    dead_keys,
    official_tasks,
    translate_taskprompter_key,
    unwrap_state_dict,
)
from m2h_mm.models.building import build_without_weights
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS

# What the official last block makes of the prompts is seen by nobody.
UNUSED = {'output/block3/task_prompts', 'output/block3/attn_prompts'}


@pytest.fixture(scope='module')
def vectors(reference) -> dict[str, torch.Tensor]:
    path = reference / 'baselines' / 'taskprompter_block_tiny.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    return read_vectors(path)


@pytest.fixture(scope='module')
def listed(reference) -> dict:
    path = reference / 'baselines' / 'keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    return json.loads(path.read_text())['taskprompter_vitL_nyud_4task']


def official(vectors, **backbone) -> nn.Module:
    model = MODELS.build(config(**backbone)).eval()
    weights = unwrap_state_dict(vectors)
    if not backbone.get('reweighting', True):
        weights = {key: value for key, value in weights.items() if 'ctr_attn' not in key}
    state = convert_official_taskprompter(weights, model.state_dict(), tuple(model.tasks))
    model.load_state_dict(state)
    return model


def record(model: nn.Module) -> dict[str, torch.Tensor]:
    """A dict that hooks fill with what the official vectors name."""
    seen, backbone, count = {}, model.backbone, len(TASKS)

    def hook(module, name, what=lambda args, output: output):
        def keep(_, args, output):
            seen[name] = what(args, output).detach().clone()

        module.register_forward_hook(keep)

    hook(backbone.patch_embed, 'patch_embed')
    hook(backbone.norm, 'final_norm')
    for index, block in enumerate(backbone.blocks):
        for module, prompts, patches in (
            (block, 'task_prompts', 'x'),
            (block.attn, 'attn_prompts', 'attn_x'),
        ):
            hook(module, f'block{index}/{prompts}', lambda _, output: output[0][:, :count])
            hook(module, f'block{index}/{patches}', lambda _, output: output[0][:, count:])
        hook(block, f'block{index}/spatial_logits', lambda _, output: output[1].spatial)
        hook(block, f'block{index}/channel_logits', lambda _, output: output[1].channel)
    for index, level in enumerate(backbone.levels):
        for task in TASKS:
            hook(level.spatial[task], f'layer{index}/spatial_in/{task}', lambda args, _: args[0])
            hook(level.channel[task], f'layer{index}/channel_in/{task}', lambda args, _: args[0])
            hook(level.fuse[task], f'layer{index}/fuse_in/{task}', lambda args, _: args[0])
            hook(level.fuse[task], f'layer{index}/fused/{task}')
            hook(level.reweight[task], f'layer{index}/ctr_weights/{task}')
            hook(level, f'layer{index}/ctr/{task}', lambda _, output, task=task: output[task])
    for task in TASKS:
        hook(model.heads[task], f'task_features/{task}', lambda args, _: args[0])
        hook(model.heads[task], f'head/{task}')
    return seen


@pytest.mark.parametrize('form', ['plain', 'optimized'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@torch.no_grad()
def test_every_step_is_the_official_one(vectors, dtype, form):
    model = official(vectors).to(dtype)
    if form == 'optimized':
        optimize(model)
    seen = record(model)
    for task, output in model(vectors['input/image'].to(dtype)).items():
        seen[f'final/{task}'] = F.interpolate(output, size=(64, 96), mode='bilinear')
    expected = {
        key.removeprefix('output/'): value.to(dtype)
        for key, value in vectors.items()
        if key.startswith('output/') and 'noctr' not in key and key not in UNUSED
    }
    for index in range(4):  # only the prompts' rows are computed
        expected[f'block{index}/spatial_logits'] = expected[f'block{index}/spatial_logits'][
            :, :, :4
        ]
    for unused in UNUSED:
        del seen[unused.removeprefix('output/')]
    assert seen.keys() == expected.keys()
    for name, actual in seen.items():
        assert_close(actual, expected[name], msg=lambda m, n=name: f'{n}: {m}', **TOLERANCES[dtype])


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@torch.no_grad()
def test_without_reweighting_it_is_the_official_one_too(vectors, dtype):
    model = official(vectors, reweighting=False).to(dtype)
    image = vectors['input/image'].to(dtype)
    maps = model.backbone(image).task_maps
    for task, output in model(image).items():
        for actual, name in ((output, 'head'), (maps[task], 'task_features')):
            expected = vectors[f'output/noctr_{name}/{task}'].to(dtype)
            assert_close(actual, expected, **TOLERANCES[dtype])


@torch.no_grad()
def test_the_prompts_are_put_into_the_order_of_the_tasks(vectors):
    tasks = ('edge', 'normals', 'semseg', 'depth')
    model = MODELS.build(config(tasks)).eval()
    state = convert_official_taskprompter(unwrap_state_dict(vectors), model.state_dict(), tasks)
    model.load_state_dict(state)
    for task, output in model(vectors['input/image']).items():
        assert_close(output, vectors[f'output/head/{task}'], **TOLERANCES[torch.float32])


def test_the_published_model_has_its_keys_shapes_and_counts(listed):
    """Every weight of the checkpoint has its place, and nothing else is in the model."""
    state = {key: torch.empty(shape, device='meta') for key, shape in listed['state_dict']}
    model = build_without_weights(load_config('taskprompter_vitl_nyud').model)
    assert dead_keys(state) == listed['dead_keys']
    converted = convert_official_taskprompter(state, model.state_dict(), tuple(model.tasks))
    assert converted.keys() == model.state_dict().keys()
    assert len(converted) == listed['num_keys'] - len(listed['dead_keys'])
    for part, dead in (('backbone', listed['dead_parameter_count']), ('heads', 0)):
        ours = sum(parameter.numel() for parameter in getattr(model, part).parameters())
        assert ours == listed['parameter_count_by_child'][part] - dead
    buffers = sum(buffer.numel() for buffer in model.backbone.buffers())
    buffers += sum(buffer.numel() for buffer in model.heads.buffers())
    assert buffers == listed['buffer_value_count']


def test_what_does_not_fit_is_named(vectors):
    weights = unwrap_state_dict(vectors)
    expected = build_without_weights(config()).state_dict()
    tasks = tuple(TASKS)

    def refused(changed, match, tasks=tasks, expected=expected):
        with pytest.raises(ValueError, match=match):
            convert_official_taskprompter(changed, expected, tasks)

    extra = {**weights, 'backbone.cls_token': torch.zeros(1, 1, 48)}
    refused(extra, '1 tensors of the checkpoint have no place in the model: backbone.cls_token')
    lacking = {key: x for key, x in weights.items() if key != 'heads.edge.linear_pred.bias'}
    refused(lacking, 'are not in the checkpoint: heads.edge.conv.bias')
    other = {**weights, 'backbone.pos_embed': torch.zeros(1, 5, 48)}
    refused(other, r'another shape .*pos_embed \(1, 5, 48\) for \(1, 25, 48\).*img_size')
    refused(weights, r"for the tasks \['semseg', .*config for \['depth'\]", tasks=('depth',))
    refused({**weights, 'heads.flow.linear_pred.weight': torch.zeros(1)}, 'flow')
    plain = build_without_weights(config(reweighting=False)).state_dict()
    refused(weights, 'no place in the model: backbone.ctr_attn_conv.*reweighting', expected=plain)
    with pytest.raises(ValueError, match='official TaskPrompter code'):
        unwrap_state_dict({'multi_task_decoder.x': torch.zeros(1)})


def test_names_of_tasks_are_translated():
    state = {f'heads.{task}.linear_pred.weight': 0 for task in ('semseg', 'sal', 'human_parts')}
    assert official_tasks(state) == ('semseg', 'saliency', 'human_parts')
    begin = 'backbone.fea_decode_'
    assert translate_taskprompter_key(f'{begin}spa.2.sal.0.bias') == (
        'backbone.levels.2.spatial.saliency.bias'
    )
    assert translate_taskprompter_key(f'{begin}chan.2.flow.0.bias') is None
    assert translate_taskprompter_key('backbone.blocks.0.ls1.gamma') is None

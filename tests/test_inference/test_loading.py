"""Checkpoints: ours, the authors', and what is neither."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

from m2h_mm.engine.config import find_config
from m2h_mm.engine.model_description import META_KEY
from m2h_mm.inference.inferencer import M2HInferencer
from m2h_mm.inference.loading import load_model
from m2h_mm.inference.official_m2h import official_config
from m2h_mm.methods.m2h.checkpoint import convert_official_m2h
from m2h_mm.registry import MODELS
from m2h_mm.structures.checkpoint_file import write_checkpoint

OFFICIAL = {
    'm2h_vits14_channels256_classes41': ('M2H, 256 channels', 81540240),
    'm2h_small_vits14_channels256_classes41': ('M2H-small, 256 channels', 33768416),
    'm2h_small_vits14_channels96_classes41': ('M2H-small, 96 channels', 29042096),
}


def official_state(reference, name, device='cpu'):
    """Random weights with the names and shapes of an official checkpoint."""
    listed = json.loads((reference / 'm2h' / 'state_dict_keys.json').read_text())['models'][name]
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in listed['keys']:
        if device == 'meta' or key.endswith('num_batches_tracked'):
            state[key] = torch.zeros(shape, device=device)
        else:
            state[key] = torch.randn(shape, generator=generator) / max(np.prod(shape[1:]), 1) ** 0.5
            state[key] = state[key].abs() + 0.5 if key.endswith('running_var') else state[key]
    return state


@pytest.mark.parametrize('name', OFFICIAL)
def test_the_architecture_is_read_off_the_keys(reference, name):
    state = official_state(reference, name, 'meta')
    cfg = official_config(state)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.parameters()) == OFFICIAL[name][1]
    ours = {
        key: value.shape
        for key, value in model.state_dict().items()
        if not key.startswith('weighting.')
    }
    assert {key: value.shape for key, value in convert_official_m2h(state).items()} == ours


@pytest.mark.parametrize(('outputs', 'classes', 'unknown'), [(41, 40, True), (19, 19, False)])
def test_classes_and_layers_are_counted(reference, outputs, classes, unknown):
    state = official_state(reference, 'm2h_small_vits14_channels96_classes41', 'meta')
    state['mlt_head.seg_out.final_conv.weight'] = torch.zeros(outputs, 64, 1, 1, device='meta')
    state = {
        key: value for key, value in state.items() if not key.startswith('mlt_head.cross_attn.1.')
    }
    model = official_config(state).model
    assert (model.tasks.semseg.num_classes, model.tasks.semseg.unknown_channel) == (
        classes,
        unknown,
    )
    assert model.decoder.interaction.num_layers == 1


def test_an_official_file_predicts_without_a_config(reference, tmp_path):
    """The tensors go through the file, the recognition and the inferencer, and give what they give
    by hand.
    """
    state = official_state(reference, 'm2h_small_vits14_channels96_classes41')
    path = tmp_path / 'm2h_nyudv2.pt'
    torch.save({f'module.{key}': value for key, value in state.items()}, path)
    image = np.random.default_rng(0).integers(0, 256, (42, 56, 3), dtype=np.uint8)
    inferencer = M2HInferencer(path, device='cpu', show_progress=False)
    depth = inferencer(image, tasks=['depth'], size='native')['predictions'][0]['depth']

    model = MODELS.build(official_config(state).model).eval()
    model.load_state_dict(convert_official_m2h(state), strict=False)
    mean, std = torch.tensor([0.4803, 0.4800, 0.4723]), torch.tensor([0.2594, 0.2573, 0.2641])
    inputs = ((torch.from_numpy(image) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        output = model(inputs, tasks=['depth'])['depth']
    expected = torch.nn.functional.interpolate(output, (42, 56), mode='bilinear').clamp(1e-3, 10)[
        0, 0
    ]
    np.testing.assert_allclose(depth, expected, atol=1e-4)
    assert inferencer.classes['semseg'][0] == 'wall'


def test_a_config_is_found_by_name_or_path(tiny):
    assert find_config('m2h_vits_nyud') == find_config('m2h_vits_nyud.py')
    assert find_config('m2h_vits_nyud').parts[-2:] == ('m2h', 'm2h_vits_nyud.py')
    assert find_config(tiny[0]) == tiny[0]
    for name in ('m2h_vits_nyu', 'elsewhere/m2h_vits_nyud.py', '../m2h'):
        with pytest.raises(FileNotFoundError, match='There is no config'):
            find_config(name)


def test_what_does_not_fit_is_named(tiny, tmp_path):
    config, checkpoint = tiny
    with pytest.raises(ValueError, match="does not fit the config's model"):
        load_model(checkpoint, 'm2h_tiny_rooms')
    with pytest.raises(FileNotFoundError, match='There is no checkpoint'):
        load_model(tmp_path / 'lost.pth', config)
    (tmp_path / 'text.pth').write_text('not a checkpoint')
    with pytest.raises(ValueError, match='text.pth'):
        load_model(tmp_path / 'text.pth', config)
    bare = tmp_path / 'bare.pth'
    torch.save(dict(state_dict=torch.load(checkpoint)['state_dict']), bare)
    with pytest.raises(ValueError, match='does not say which model.*Pass the config'):
        load_model(bare)
    assert load_model(bare, config)[1].model == load_model(checkpoint)[1].model


def test_values_can_be_overridden(tiny):
    config, checkpoint = tiny
    for size in ('model.data_preprocessor.size', 'data_preprocessor.size'):
        options = {size: (42, 56), 'tasks.depth.max_depth': 5.0}
        for source in (None, config):
            model, description = load_model(checkpoint, source, options)
            assert model.pipeline.size == (42, 56) and model.tasks['depth'].max_depth == 5.0
            assert description.classes['semseg'][0] == 'wall'
    with pytest.raises(ValueError, match=r"options: expected keys below model.*\['modle.neck'\]"):
        load_model(checkpoint, options={'modle.neck': None})


def test_nothing_in_a_checkpoint_is_run(tiny, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'boom'),)

    path = tmp_path / 'bomb.pth'
    torch.save(dict(state_dict=Bomb()), path)
    with pytest.raises(ValueError, match='could run code'):
        M2HInferencer(path)
    path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(ValueError, match='bomb.pth'):
        M2HInferencer(path)
    assert not (tmp_path / 'boom').exists()


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('backbone.arch.depth', 10**9),
        ('backbone.arch.embed_dims', 2**62),
        ('backbone.arch.num_heads', 'x'),
        ('backbone', '{{x}}'),
        ('type', torch.zeros(0)),
        ('backbone.out_indices', {}),
        ('neck.mid_channels', [[]]),
        ('neck.out_channels', 2**20),
        ('decoder.interaction.window_size', None),
        ('heads.depth', 3),
        ('losses.depth', {'type': None}),
        ('losses', b'\x80'),
        ('data_preprocessor.size', ('/proc/self/mem', 112)),
    ],
)
def test_a_file_that_describes_no_model_is_named_before_there_is_memory_for_one(
    tiny, tmp_path, key, value
):
    content = torch.load(tiny[1])
    *parents, last = key.split('.')
    part = content['meta'][META_KEY]['model']
    for parent in parents:
        part = part[parent]
    part[last] = value
    # Both say the same to what reads it; some values are none of JSON.
    for suffix in ('pth', 'safetensors') if key == 'heads.depth' else ('pth',):
        write_checkpoint(tmp_path / f'other.{suffix}', content['state_dict'], content['meta'])
        with pytest.raises(ValueError, match=rf'other\.{suffix}'):
            load_model(tmp_path / f'other.{suffix}')


def test_metadata_that_are_no_json_are_harmless(tiny, tmp_path):
    config, checkpoint = tiny
    path = tmp_path / 'tiny.safetensors'
    write_checkpoint(path, torch.load(checkpoint)['state_dict'], {META_KEY: '{"model": '})
    with pytest.raises(ValueError, match="tiny.safetensors: meta.'m2h_mm'. has the format 'str'"):
        load_model(path)
    assert load_model(path, config)[1].tasks

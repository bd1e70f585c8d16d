"""The published M2H-MX models: names, shapes and numbers of their parameters."""

import json

import pytest
import torch

from m2h_mm.engine.config import load_config
from m2h_mm.methods.m2h_mx.checkpoint import fit_official_m2h_mx
from m2h_mm.models.building import build_without_weights

# No output depends on them, and the model here does not have them.
UNUSED_LAYERS = 'projection_layers', 'fusion_layers'


@pytest.fixture(scope='module')
def published(reference):
    path = reference / 'm2h_mx' / 'm2h_mx_keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    return json.loads(path.read_text())['models']


@pytest.mark.parametrize(
    ('name', 'config', 'options', 'total'),
    [
        ('nyudv2_large', 'm2h_mx_vitl_nyud', {}, 353_245_707),
        ('nyudv2_base', 'm2h_mx_vitb_nyud', {}, 133_974_283),
        ('scannet_large', 'm2h_mx_vitl_scannet', {}, 333_164_567),
        ('itc_large', 'm2h_mx_vitl_scannet', {'tasks.semseg.num_classes': 40}, 333_169_707),
    ],
)
def test_configs_have_the_official_parameters(published, name, config, options, total):
    keys = published[name]['keys']
    official = {key: torch.empty(shape, device='meta') for key, shape, _ in keys}
    model = build_without_weights(load_config(config, options).model)
    found = fit_official_m2h_mx(official, model.state_dict(), tuple(model.tasks))
    assert found.missing == found.unused == []
    left_out = [key for key in found.dead if any(layer in key for layer in UNUSED_LAYERS)]
    assert len(left_out) == 24
    gone = sum(official[key].numel() for key in left_out)
    own = {key: value for key, value in model.named_parameters() if 'weighting' not in key}
    assert sum(value.numel() for value in own.values()) + gone == total
    assert len(own) + len(left_out) == len(keys)
    # The final norm is the only one to train that no output depends on.
    trained = sum(shape_numel(shape) for _, shape, trains in keys if trains)
    norm = 2 * model.backbone.norm.weight.numel()
    assert sum(p.numel() for p in own.values() if p.requires_grad) + gone + norm == trained


def shape_numel(shape):
    return torch.Size(shape).numel()

"""Weights that fit a model or are refused."""

import pytest
import torch
from torch import nn

from m2h_mm.engine.checkpoints import initial_weights, load_weights


def test_weights_fit_or_are_refused_by_name(tmp_path):
    model = nn.Linear(3, 2)
    state = {
        'weight': torch.ones(2, 3),
        'bias': torch.zeros(2),
        'weighting.means': torch.ones(2, 4),
    }
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    load_weights(
        model, tmp_path / 'a.pth'
    )  # the state of a training's weighting is not the model's
    assert model.weight.sum() == 6

    torch.save({'weight': torch.zeros(2, 5), 'scale': torch.zeros(1)}, tmp_path / 'b.pth')
    differences = (
        r'1 missing .*bias.* 1 not in the model .*scale.* '
        r'1 of another shape .*weight \(2, 5\) for \(2, 3\)'
    )
    with pytest.raises(ValueError, match=differences):
        load_weights(model, tmp_path / 'b.pth')
    assert model.weight.sum() == 6

    for key, tool in (
        ('mlt_head.convs.0.conv.weight', 'm2h'),
        ('module.multi_task_decoder.x', 'invpt'),
        ('module.backbone.fea_fuse.0.depth.0.bias', 'taskprompter'),
        ('distillation_scale_0.x', 'mti_net'),
        ('multi_modal_distillation.x', 'mti_net'),
    ):
        torch.save({key: torch.zeros(1)}, tmp_path / 'official.pt')
        with pytest.raises(ValueError, match=f'm2h-mm convert-checkpoint {tool}'):
            load_weights(model, tmp_path / 'official.pt')


def two_parts():
    return nn.ModuleDict(dict(backbone=nn.Linear(3, 2), heads=nn.Linear(2, 1)))


def behind(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'model.', 'teacher.net.'])
def test_prefixes_and_wrappers_are_taken_off(tmp_path, prefix):
    model, other = two_parts(), two_parts()
    torch.save(dict(model=behind(prefix, other.state_dict()), epoch=3), tmp_path / 'a.pth')
    load_weights(model, tmp_path / 'a.pth')
    assert torch.equal(model['heads'].weight, other['heads'].weight)


def test_the_way_out_fits_the_cause(tmp_path):
    def refused(state, match):
        torch.save(state, tmp_path / 'a.pth')
        with pytest.raises(ValueError, match=match):
            load_weights(two_parts(), tmp_path / 'a.pth')

    state = two_parts().state_dict()
    refused(nn.Linear(3, 2).state_dict(), 'backbone alone: name it in model.backbone.init_cfg')
    refused(
        {'encoder.a': torch.ones(1), 'decoder.b': torch.ones(1)},
        'begin with encoder., decoder., those of the model with backbone., heads.',
    )
    refused({**state, 'heads.weight': torch.ones(4, 2)}, 'Use the config that the checkpoint was')
    refused([1], 'a.pth holds no weights: expected a dict of tensors, found one list')


def test_initial_weights_of_another_shape_are_refused_unless_they_are_left_out():
    own, state = two_parts().state_dict(), two_parts().state_dict()
    assert initial_weights(own, dict(state_dict=behind('module.', state)), 'a.pth') == state
    part = {key: value for key, value in state.items() if key.startswith('backbone.')}
    assert initial_weights(own, part, 'a.pth') == part
    state['heads.weight'] = torch.ones(4, 2)
    with pytest.raises(
        ValueError,
        match=r'a.pth has 1 weights of another shape: heads.weight \(4, 2\) for \(1, 2\).*'
        r"checkpoint.left_out=\['heads.'\]",
    ):
        initial_weights(own, state, 'a.pth')
    assert initial_weights(own, state, 'a.pth', ['heads.']) == part
    with pytest.raises(ValueError, match='a.pth fits no weight of the model'):
        initial_weights(own, {'x.y': torch.ones(1)}, 'a.pth')

"""Weights that fit a model or are refused."""

import pytest
import torch
from torch import nn

from m2h_mm.engine.checkpoints import load_weights


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
        ('distillation_scale_0.x', 'mti_net'),
        ('multi_modal_distillation.x', 'mti_net'),
    ):
        torch.save({key: torch.zeros(1)}, tmp_path / 'official.pt')
        with pytest.raises(ValueError, match=f'm2h-mm convert-checkpoint {tool}'):
            load_weights(model, tmp_path / 'official.pt')

"""What is sharded as a whole of a backbone that declares no units."""

import pytest
import torch
from torch import nn

from m2h_mm.models.backbones import backbone_units
from m2h_mm.registry import MODELS

HRNET_STAGE = dict(num_modules=1, block='BASIC')
BACKBONES = {
    'resnet': (
        dict(type='mmseg.ResNetV1c', depth=18, base_channels=8, norm_cfg=dict(type='BN')),
        'stem layer1 layer2 layer3 layer4',
    ),
    'hrnet': (
        dict(
            type='mmseg.HRNet',
            norm_cfg=dict(type='BN'),
            extra=dict(
                stage1=dict(
                    num_modules=1,
                    num_branches=1,
                    block='BOTTLENECK',
                    num_blocks=(1,),
                    num_channels=(8,),
                ),
                stage2=dict(
                    HRNET_STAGE, num_branches=2, num_blocks=(1,) * 2, num_channels=(8,) * 2
                ),
                stage3=dict(
                    HRNET_STAGE, num_branches=3, num_blocks=(1,) * 3, num_channels=(8,) * 3
                ),
                stage4=dict(
                    HRNET_STAGE, num_branches=4, num_blocks=(1,) * 4, num_channels=(8,) * 4
                ),
            ),
        ),
        'layer1 stage2 stage3 stage4',
    ),
    'swin': (
        dict(
            type='mmseg.SwinTransformer',
            embed_dims=16,
            depths=(1, 1, 1, 1),
            num_heads=(1, 2, 4, 8),
            window_size=4,
        ),
        'stages.0 stages.1 stages.2 stages.3',
    ),
}


@pytest.mark.parametrize('name', BACKBONES)
def test_stages_of_mmseg_are_units_that_are_called(name):
    cfg, expected = BACKBONES[name]
    backbone = MODELS.build(cfg)
    backbone.eval()  # which mmseg's backbones do not return
    units = backbone_units(backbone)
    names = {id(module): name for name, module in backbone.named_modules()}
    assert set(expected.split()) <= {names[id(unit)] for unit in units}
    # No parameter is in two of them; what is in none belongs to a single layer at the top.
    parameters = [id(parameter) for unit in units for parameter in unit.parameters()]
    assert len(parameters) == len(set(parameters))
    single = {
        name.split('.')[0]
        for name, parameter in backbone.named_parameters()
        if id(parameter) not in parameters
    }
    assert not any(list(getattr(backbone, name).children()) for name in single)

    called = []
    for unit in units:
        unit.register_forward_hook(lambda module, *_: called.append(id(module)))
    backbone(torch.rand(1, 3, 64, 64))
    assert {id(unit) for unit in units} <= set(called)


def test_declared_units_come_first():
    backbone = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    assert backbone_units(backbone) == (backbone[0],)
    backbone.units = lambda: [backbone[1]]
    assert backbone_units(backbone) == (backbone[1],)

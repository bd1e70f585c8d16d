"""How a part is built from its config, and what is refused."""

import pytest
from torch import nn

from m2h_mm.models.building import build_part, describe_backbone
from m2h_mm.registry import MODELS
from m2h_mm.structures import contracts


@MODELS.register_module(force=True)
class Asks(nn.Module):
    def __init__(self, in_channels, tasks, width=3):
        super().__init__()
        self.given = in_channels, tasks, width


@MODELS.register_module(force=True)
class TakesAnything(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options


def test_what_a_part_asks_for_is_filled_in():
    part = build_part('model.x', dict(type='Asks'), 'y', in_channels=(1, 2), tasks=('a',), extra=0)
    assert part.given == ((1, 2), ('a',), 3)
    stated = dict(type='Asks', in_channels=[1, 2], width=4)
    assert build_part('model.x', stated, 'y', in_channels=(1, 2), tasks=()).given[2] == 4


def test_a_part_that_takes_anything_is_given_what_its_config_says_alone():
    part = build_part('model.x', dict(type='TakesAnything', a=1), 'y', tasks=('depth',))
    assert part.options == dict(a=1)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='mmseg.ResNetV1c', depth=18, base_channels=8, out_indices=(0, 3)),  # **kwargs
        dict(
            type='mmseg.SwinTransformer',
            embed_dims=16,
            depths=(1, 1),
            num_heads=(1, 2),
            strides=(4, 2),
            out_indices=(0, 1),
        ),
    ],
)
def test_backbones_of_mmseg_are_built_as_before_and_described(cfg):
    backbone = build_part('model.backbone', cfg, 'model.tasks', tasks=('depth',), task_channels={})
    training = [module.training for module in backbone.modules()]
    channels, strides = describe_backbone(backbone)
    assert len(channels) == len(strides) == 2 and strides[0] == 4
    assert [module.training for module in backbone.modules()] == training


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(depth=3), r"model.x: expected a dict with a 'type', got \{'depth': 3\}"),
        (dict(type='Nobody'), "model.x.type: 'Nobody' is not registered.*custom_imports"),
        (dict(type='Asks', hight=1), r"Asks has no argument\(s\) \['hight'\]; it takes .*_delete_"),
        (dict(type='Asks', in_channels=3), r'in_channels is 3, but y yields \(1, 2\).*Leave'),
        (dict(type='Asks'), r"model.x: Asks needs \['tasks'\], which y does not give. Set model.x"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_way_out_named(cfg, message):
    with pytest.raises(ValueError, match=message):
        build_part('model.x', cfg, 'y', in_channels=(1, 2))


def test_what_a_layer_refuses_is_said_with_the_key_of_its_part():
    head = dict(type='M2HNormalsHead', in_channels=8, out_channels=3, hidden_channels=(3,))
    with pytest.raises(ValueError, match=r'^model.heads.x \(M2HNormalsHead\): UpsampleBlock: out'):
        build_part('model.heads.x', head, 'y')


def test_a_part_that_lacks_what_its_contract_asks_for():
    with pytest.raises(ValueError, match=r"TakesAnything has no attribute\(s\) \['out_channels',"):
        build_part('model.neck', dict(type='TakesAnything'), 'y', contracts.Neck)


def test_a_backbone_that_contradicts_itself():
    backbone = nn.Identity()
    backbone.out_channels, backbone.strides = (8, 8), (4,)
    with pytest.raises(ValueError, match=r'out_channels=\(8, 8\) and strides=\(4,\): expected one'):
        describe_backbone(backbone)

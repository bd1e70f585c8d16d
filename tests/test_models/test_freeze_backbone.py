"""``freeze_backbone`` for any backbone: no graph, no drift; the rest trains on."""

import logging

import pytest
import torch
from label_fields import label_field
from mmengine.optim import build_optim_wrapper

from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

STAGE = dict(num_modules=1, block='BASIC')
RESNET = dict(
    type='mmseg.ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), base_channels=8
)
HRNET = dict(
    type='mmseg.HRNet',
    norm_cfg=dict(type='BN', requires_grad=True),
    extra=dict(
        stage1=dict(
            num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,), num_channels=(8,)
        ),
        stage2=dict(STAGE, num_branches=2, num_blocks=(1, 1), num_channels=(8, 16)),
        stage3=dict(STAGE, num_branches=3, num_blocks=(1, 1, 1), num_channels=(8, 16, 24)),
        stage4=dict(STAGE, num_branches=4, num_blocks=(1, 1, 1, 1), num_channels=(8, 16, 24, 32)),
    ),
)
BACKBONES = dict(
    hrnet=HRNET,
    resnet=RESNET,
    swin=dict(
        type='mmseg.SwinTransformer',
        embed_dims=16,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 4, 8),
        window_size=4,
        drop_path_rate=0.5,
    ),
    dinov2=dict(
        type='DINOv2',
        arch=dict(embed_dims=24, depth=4, num_heads=3, stem_channels=(4,)),
        img_size=56,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.5,
    ),
    dinov3=dict(
        type='DINOv3',
        arch=dict(embed_dims=24, depth=4, num_heads=3),
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.5,
    ),
)


def build(backbone, **options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='MultiTaskModel',
            tasks=dict(depth=dict()),
            backbone=backbone,
            decoder=dict(type='SharedDecoder'),
            heads=dict(depth=dict(type='LinearHead')),
            losses=dict(depth=dict(type='L1Loss')),
            data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=224),
            **options,
        )
    )


def changed_by_training(model):
    """Names of parameters and buffers that three steps change."""
    optimizer = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    for _ in range(3):
        sample = MultiTaskDataSample()
        sample.set_field(label_field(torch.rand(1, 64, 64) + 1), 'gt_depth')
        model.train_step(
            dict(inputs=torch.randint(0, 256, (1, 3, 64, 64)), data_samples=[sample]), optimizer
        )
    return [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]


@pytest.mark.parametrize('name', BACKBONES)
def test_nothing_of_a_frozen_backbone_changes(name):
    changed = changed_by_training(build(BACKBONES[name], freeze_backbone=True))
    assert changed and not any(key.startswith('backbone.') for key in changed)
    # Else it would not be the option that keeps it.
    assert any(key.startswith('backbone.') for key in changed_by_training(build(BACKBONES[name])))


@pytest.mark.parametrize('name', BACKBONES)
def test_no_graph_is_built_in_it_and_nothing_is_dropped(name):
    model = build(BACKBONES[name], freeze_backbone=True).train()
    image = torch.randn(1, 3, 112, 112, requires_grad=True)
    first, second = model.extract_features(image), model.extract_features(image)
    assert not any(map.requires_grad for map in first.maps)
    assert all(torch.equal(one, other) for one, other in zip(first.maps, second.maps, strict=True))
    assert not any(module.training for module in model.backbone.modules())
    # DistributedDataParallel would wait for their gradients.
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert model.decoder.training and not model.eval().training


def test_freezing_changes_no_prediction_and_no_key():
    free, frozen = build(HRNET).eval(), build(HRNET, freeze_backbone=True).eval()
    assert free.state_dict().keys() == frozen.state_dict().keys()
    frozen.load_state_dict(free.state_dict())
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(free(image), frozen(image), rtol=0, atol=0)


def test_the_options_of_mmseg_freeze_parts():
    """What ``frozen_stages`` and ``norm_eval`` leave over is what ``freeze_backbone`` is for."""
    resnet = changed_by_training(build(dict(RESNET, frozen_stages=2, norm_eval=True)))
    assert {key.split('.')[1] for key in resnet if key.startswith('backbone.')} == {
        'layer3',
        'layer4',
    }
    assert not any('running_' in key for key in resnet if key.startswith('backbone.'))
    hrnet = changed_by_training(build(dict(HRNET, norm_eval=True)))
    assert any(key.startswith('backbone.') for key in hrnet)
    assert not any('running_' in key for key in hrnet if key.startswith('backbone.'))


def test_a_backbone_frozen_at_random_is_announced(messages):
    build(HRNET, freeze_backbone=True).init_weights()
    assert any('freeze_backbone=True without pretrained' in m for m in messages(logging.WARNING))

"""Small models with one task, on backbones of several kinds, that may have adapters."""

import torch
from label_fields import label_field
from mmengine.optim import build_optim_wrapper
from torch import nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

BACKBONES = dict(
    dinov2=dict(
        type='DINOv2',
        arch=dict(embed_dims=24, depth=4, num_heads=3, stem_channels=(4,)),
        img_size=56,
        out_indices=(0, 1, 2, 3),
    ),
    dinov3=dict(type='DINOv3', arch=dict(embed_dims=24, depth=3, num_heads=2), out_indices=(0, 2)),
    lite=dict(type='EfficientNetLite', out_indices=(0, 1)),
    swin=dict(
        type='mmseg.SwinTransformer',
        embed_dims=8,
        depths=(1, 1),
        num_heads=(1, 2),
        strides=(4, 2),
        out_indices=(0, 1),
        window_size=4,
    ),
)
# Adapters that each can have.
LAYERS = dict(
    dinov2=dict(type='LoRA', rank=2),
    dinov3=dict(type='LoRA', rank=2, last_units=2),
    lite=dict(type='LoRA', rank=2, layers=('expand.conv', 'project.conv')),
    swin=dict(type='LoRA', rank=2),
)


CONFIG = {
    name: dict(
        type='MultiTaskModel',
        tasks=dict(depth=dict()),
        backbone=backbone,
        decoder=dict(type='SharedDecoder'),
        heads=dict(depth=dict(type='LinearHead')),
        losses=dict(depth=dict(type='L1Loss')),
        data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=112),
    )
    for name, backbone in BACKBONES.items()
}


def build(name, backbone=None, **options):
    """A model with random weights, the same each time; of a class, its backbone."""
    torch.manual_seed(0)
    cfg = CONFIG[name] if isinstance(name, str) else dict(CONFIG['lite'], backbone={'type': name})
    return MODELS.build(dict(cfg, backbone={**cfg['backbone'], **(backbone or {})}, **options))


def filled(model):
    """With adapters that change something, as after a training."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def changed_by_training(model):
    """Names of parameters and buffers that two steps change."""
    optimizer = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    for _ in range(2):
        sample = MultiTaskDataSample()
        sample.set_field(label_field(torch.rand(1, 56, 56) + 1), 'gt_depth')
        model.train_step(
            dict(inputs=torch.randint(0, 256, (1, 3, 56, 56)), data_samples=[sample]), optimizer
        )
    return [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]

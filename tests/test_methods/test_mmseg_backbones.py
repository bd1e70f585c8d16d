"""Whole methods behind the backbones of mmseg: only the backbone's config is another."""

from pathlib import Path

import pytest
import torch

from m2h_mm.engine.config import load_config
from m2h_mm.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
BACKBONES = dict(
    resnet=dict(
        type='mmseg.ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), base_channels=8
    ),
    swin=dict(
        type='mmseg.SwinTransformer',
        embed_dims=16,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 4, 8),
        window_size=4,
    ),
)


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('method', ['mti_net/mti_net', 'pad_net/pad_net', 'baselines/mtl'])
def test_a_method_takes_the_pyramid_of_any_backbone(method, backbone):
    cfg = load_config(CONFIGS / f'{method}_hrnet18_nyud.py').model
    model = MODELS.build(dict(cfg, backbone=BACKBONES[backbone])).eval()
    image = torch.randn(1, 3, 64, 96, requires_grad=True)
    outputs = model(image)
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        name: (1, task.channels, 16, 24) for name, task in model.tasks.items()
    }
    # Every task sees the image through the whole backbone.
    stages = [
        parameters
        for name, parameters in model.backbone.named_parameters()
        if name.endswith('weight')
    ]
    for output in outputs.values():
        gradients = torch.autograd.grad(
            output.square().sum(), [image, stages[0], stages[-1]], retain_graph=True
        )
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)

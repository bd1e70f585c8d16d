"""A small TaskPrompter, and random images for it."""

import numpy as np
import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

TASKS = dict(semseg=5, depth=1, normals=3, edge=1)


def config(tasks=tuple(TASKS), **backbone) -> dict:
    """Of the size of the official vectors."""
    losses = dict(semseg='CrossEntropyLoss', edge='BalancedBCELoss', depth='L1Loss')
    return dict(
        type='MultiTaskModel',
        tasks={task: dict(num_classes=5) if task == 'semseg' else dict() for task in tasks},
        data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=32),
        backbone=dict(
            type='TaskPrompterViT',
            **{
                **dict(
                    arch=dict(embed_dims=48, depth=4, num_heads=4),
                    img_size=(64, 96),
                    windows=2,
                    decode_channels=24,
                    channels=20,
                    reweighting=True,
                ),
                **backbone,
            },
        ),
        decoder=dict(type='TaskMapsDecoder'),
        heads={task: dict(type='TaskPrompterHead') for task in tasks},
        losses={task: dict(type=losses.get(task, 'L1Loss')) for task in tasks},
    )


def small(tasks=tuple(TASKS), seed=0, **backbone) -> nn.Module:
    """Narrow, float64, with weights and running statistics as after a training."""
    torch.manual_seed(seed)
    narrow = dict(arch=dict(embed_dims=16, depth=4, num_heads=2), decode_channels=6, channels=8)
    model = MODELS.build(config(tasks, **{**narrow, **backbone})).double()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or 'prompts' in name:
            nn.init.normal_(parameter, parameter.mean().item(), 0.2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def images(height=64, width=96, batch=2, seed=1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator).double()


def read_vectors(path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}

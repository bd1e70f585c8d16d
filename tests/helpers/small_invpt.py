"""A small decoder of InvPT and random features for it."""

import torch
from torch import nn

from m2h_mm.methods.invpt.decoder import InvPTDecoder
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

TASKS = dict(semseg=5, depth=1, normals=3, edge=1)


def build(tasks=TASKS, width=64, channels=32, extra_channels=8, seed=0) -> nn.Module:
    """Decoder and heads with the names that they have in a MultiTaskModel."""
    torch.manual_seed(seed)
    model = nn.Module()
    model.decoder = InvPTDecoder(
        (width,) * 4, (16,) * 4, tuple(tasks), tasks, channels, extra_channels
    )
    model.heads = nn.ModuleDict(
        {
            task: MODELS.build(
                dict(
                    type='LinearHead',
                    in_channels=model.decoder.out_channels[task],
                    out_channels=count,
                )
            )
            for task, count in tasks.items()
        }
    )
    return model


def small(tasks=TASKS, **kwargs) -> InvPTDecoder:
    decoder = build(tasks, width=8, channels=12, extra_channels=4, **kwargs).decoder.double()
    for module in decoder.modules():
        if isinstance(
            module, nn.BatchNorm2d
        ):  # statistics that differ from image to image, as after a training
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return decoder.eval()


def random_features(height, width, batch=2, seed=1) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features(
        tuple(torch.randn(batch, 8, height, width, generator=generator).double() for _ in range(4))
    )

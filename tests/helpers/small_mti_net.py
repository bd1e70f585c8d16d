"""A small decoder of MTI-Net and random features for it."""

import torch
from torch import nn

from m2h_mm.methods.mti_net.decoder import MTINetDecoder
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

CHANNELS = dict(semseg=5, normals=3, edge=1, depth=1)
OFFICIAL_ORDER = tuple(CHANNELS)
MODEL_ORDER = ('semseg', 'depth', 'normals', 'edge')


def build(tasks=MODEL_ORDER, widths=(8, 16, 32, 64), main_tasks=None, seed=0) -> nn.Module:
    """Decoder and heads with the names that they have in a MultiTaskModel."""
    torch.manual_seed(seed)
    model = nn.Module()
    strides = [4 * 2**scale for scale in range(len(widths))]
    model.decoder = MTINetDecoder(widths, strides, tasks, CHANNELS, main_tasks)
    model.heads = nn.ModuleDict(
        {
            task: MODELS.build(
                dict(
                    type='LinearHead',
                    in_channels=model.decoder.out_channels[task],
                    out_channels=CHANNELS[task],
                )
            )
            for task in tasks
        }
    )
    return model


def small(tasks=MODEL_ORDER, **kwargs) -> MTINetDecoder:
    decoder = build(tasks, widths=(4, 8, 16), **kwargs).decoder.double()
    for module in decoder.modules():
        if isinstance(
            module, nn.BatchNorm2d
        ):  # statistics as after a training, none of which is an identity
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return decoder.eval()


def random_features(height=8, width=12, batch=2, widths=(4, 8, 16)) -> Features:
    generator = torch.Generator().manual_seed(1)
    sizes = [(-(-height // 2**scale), -(-width // 2**scale)) for scale in range(len(widths))]
    return Features(
        tuple(
            torch.randn(batch, channels, *size, generator=generator).double()
            for channels, size in zip(widths, sizes, strict=True)
        )
    )

"""A small neck and decoder of M2H-MX and random features for them."""

import torch
from torch import nn

from m2h_mm.methods.m2h_mx import M2HMXDecoder, M2HMXPyramid
from m2h_mm.structures import Features

CHANNELS = dict(semseg=5, depth=1, normals=3, edge=1)
TASKS = tuple(CHANNELS)
HEADS = dict(
    semseg=dict(type='M2HMXSemsegHead', edge_threshold=0.6),
    depth=dict(type='M2HMXDepthHead', num_bins=8),
    normals=dict(type='M2HMXNormalsHead'),
    edge=dict(type='M2HMXEdgeHead'),
)


def build(tasks=TASKS, width=16, layers='deepest', seed=0, **arguments) -> nn.Module:
    """Neck and decoder with the names that they have in a MultiTaskModel."""
    torch.manual_seed(seed)
    model = nn.Module()
    model.neck = M2HMXPyramid((12,) * 4, (16,) * 4, width, layers)
    model.decoder = M2HMXDecoder(
        model.neck.out_channels,
        model.neck.strides,
        tasks,
        CHANNELS,
        {task: HEADS[task] for task in tasks},
        **dict(state_size=4, drop_path_rate=0.0) | arguments,
    )
    return model.double().eval()


def random_features(height=3, width=5, batch=2, registers=2) -> Features:
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(batch, *shape, generator=generator).double()

    return Features(
        tuple(random(12, height, width) for _ in range(4)),
        register_tokens=tuple(random(registers, 12) for _ in range(4)),
    )

"""The Mamba block: a gated causal mixer of sequences around a selective scan."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .selective_scan import selective_scan

EXPANSION = 2
"""Inner channels per channel."""
KERNEL_SIZE = 4
"""Positions that the convolution before the scan sees: the current one and those before it."""
TIME_STEPS = (0.001, 0.1)
"""Range of the time steps at the start."""


@torch.no_grad()
def init_time_steps(dt_proj: nn.Linear) -> None:
    """Start a layer from R numbers to time steps, before their softplus, as Mamba does (section
    3.6): steps that are spread evenly over the logarithms of their range.
    """
    nn.init.uniform_(dt_proj.weight, -(dt_proj.in_features**-0.5), dt_proj.in_features**-0.5)
    low, high = map(math.log, TIME_STEPS)
    steps = torch.empty_like(dt_proj.bias).uniform_(low, high).exp().clamp_(min=1e-4)
    # The inverse of the softplus: log(exp(steps) - 1).
    dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))


class Mamba(nn.Module):
    """The block of Mamba (Gu and Dao, arXiv 2312.00752, section 3.4), with the parameter names of
    the official code.

    Linear to 2C inner channels and as many of a gate; causal depthwise convolution of length 4 and
    SiLU; :func:`~m2h_mm.models.layers.selective_scan.selective_scan`, whose time steps, B and C are
    linear functions of its input, times the SiLU of the gate; linear back to C. No norm and no
    residual. A position sees itself and those before it.

    Training: ``A_log`` and ``D`` are meant to have no weight decay; in a config
    ``optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'A_log': dict(decay_mult=0.0), 'mamba.D':
    dict(decay_mult=0.0)}))``.

    Args:
        channels: C.
        state_size: N, states per inner channel.

    Shapes: ``(batch, length, C)`` kept, any length from 1.
    """

    def __init__(self, channels: int, state_size: int = 16) -> None:
        super().__init__()
        inner, rank = EXPANSION * channels, math.ceil(channels / 16)
        self.state_size, self.rank = state_size, rank
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, KERNEL_SIZE, padding=KERNEL_SIZE - 1, groups=inner)
        self.x_proj = nn.Linear(inner, rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, channels, bias=False)
        init_time_steps(self.dt_proj)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        u = F.silu(self.conv1d(u)[..., :length])
        sizes = (self.rank, self.state_size, self.state_size)
        delta, B, C = self.x_proj(u.transpose(1, 2)).split(sizes, dim=2)
        # The bias is added inside the scan, whose precision autocast leaves alone.
        delta = F.linear(delta, self.dt_proj.weight).transpose(1, 2)
        y = selective_scan(
            u,
            delta,
            -torch.exp(self.A_log),
            B.transpose(1, 2),
            C.transpose(1, 2),
            self.D,
            z,
            self.dt_proj.bias,
            delta_softplus=True,
        )
        return self.out_proj(y.transpose(1, 2))

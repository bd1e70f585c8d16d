"""M2H-MX's block: a map as one sequence through Mamba, gated by what the whole image holds."""

from __future__ import annotations

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from .mamba import Mamba


class RegisterMamba(nn.Module):
    """The register-gated Mamba block of M2H-MX (arXiv 2603.29236), with the parameter names of its
    code.

    The pixels are tokens q in row-major order, in one causal direction: a pixel hears those above
    it and those to its left. ``q + Mamba(LN(g q))``, then ``q + linear(GELU(linear(LN'(LN(q)))))``
    with 2C hidden channels. The gate ``g = sigmoid(linear(SiLU(linear(r))))`` is one factor per
    channel for a whole image. As in the official code, what is added to is the ungated q, and both
    ``LN`` are the same layer.

    Args:
        channels: C.
        state_size: states per inner channel of Mamba.
        drop_path: probability that a sample skips a branch in training.

    Shapes: a map ``(N, C, H, W)``, kept, and a vector r ``(N, C)`` per image, M2H-MX's mean of the
    register tokens.
    """

    def __init__(self, channels: int, state_size: int = 32, drop_path: float = 0.0) -> None:
        super().__init__()
        hidden = max(channels // 4, 16)
        self.mamba = Mamba(channels, state_size)
        self.norm = nn.LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * channels),
            nn.GELU(),
            nn.Linear(2 * channels, channels),
        )
        self.register_gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, register: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        gated = self.norm(self.register_gate(register)[:, None] * tokens)
        tokens = tokens + self.drop_path(self.mamba(gated))
        tokens = tokens + self.drop_path(self.ffn(self.norm(tokens)))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])

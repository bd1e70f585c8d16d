"""The feed-forward network of transformers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """Two linear layers with a GELU between, on tokens ``(N, L, C)``.

    Args:
        embed_dims: C.
        hidden_dims: channels between the layers.
    """

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.fc2 = nn.Linear(hidden_dims, embed_dims)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class FeedForward(nn.Sequential):
    """The same network as :class:`MLP`, its layers named ``0`` and ``2``, on tokens of any shape
    ``(..., C)``.

    Args:
        channels: C.
        hidden_channels: channels between the layers.
    """

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__(
            nn.Linear(channels, hidden_channels), nn.GELU(), nn.Linear(hidden_channels, channels)
        )

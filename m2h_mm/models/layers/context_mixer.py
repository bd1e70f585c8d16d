"""M2H-MX's cross-task mixer and the attention of large strips inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .resize import resize


def projection(in_channels: int, out_channels: int, activation: bool = True) -> nn.Sequential:
    """1x1 convolution without bias, a group norm over all channels, and GELU if wanted."""
    layers = [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.GroupNorm(1, out_channels)]
    return nn.Sequential(*layers, *([nn.GELU()] if activation else []))


def _depthwise(channels: int, height: int, width: int) -> nn.Sequential:
    padding = (height // 2, width // 2)
    conv = nn.Conv2d(
        channels, channels, (height, width), padding=padding, groups=channels, bias=False
    )
    return nn.Sequential(conv, nn.GroupNorm(1, channels), nn.GELU())


class StripAttention(nn.Module):
    """Attention by large depthwise convolutions, "MSCA" in the code of M2H-MX (arXiv 2603.29236),
    after SegNeXt (arXiv 2209.08575).

    ``a = D(x); a = a + Dh(a); a = a + Dv(a); a = conv1(a)`` with depthwise convolutions of 5x5,
    ``1 x k`` and ``k x 1``, each with a group norm over all channels and GELU; the result is
    ``e sigmoid(GELU(a))``. The GELU keeps the factor above 0.457.

    Args:
        channels: C.
        kernel_size: k, odd.
        project: whether e is a 1x1 convolution of x, without bias, with a group norm; otherwise x.
        squeeze: whether ``a`` is first multiplied by ``sigmoid(conv1(mean of a))``.

    Shapes: ``(N, C, H, W)`` kept.
    """

    def __init__(
        self, channels: int, kernel_size: int = 9, project: bool = False, squeeze: bool = False
    ) -> None:
        super().__init__()
        self.identity = (
            projection(channels, channels, activation=False) if project else nn.Identity()
        )
        self.dw_local = _depthwise(channels, 5, 5)
        self.dw_horizontal = _depthwise(channels, 1, kernel_size)
        self.dw_vertical = _depthwise(channels, kernel_size, 1)
        self.fuse = nn.Conv2d(channels, channels, 1)
        self.se_inner = None
        if squeeze:
            self.se_inner = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid()
            )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        attention = self.dw_local(x)
        attention = attention + self.dw_horizontal(attention)
        attention = attention + self.dw_vertical(attention)
        attention = self.fuse(attention)
        if self.se_inner is not None:
            attention = attention * self.se_inner(attention)
        return self.identity(x) * nn.functional.gelu(attention).sigmoid()


class ContextMixer(nn.Module):
    """The cross-task mixer of M2H-MX (arXiv 2603.29236), with the parameter names of its code.

    Of each context c a projection ``P(c) = GELU(GN(conv1(c)))`` and a gate of one channel ``g(c) =
    sigmoid(conv1(GELU(GN(conv1(c)))))``; ``m = GELU(GN(conv1([x; P(c_1) (1 + g(c_1)); ...])))``;
    the result is ``m + StripAttention(m)``. There is no path for x around the mixture, and a gate
    can double what it lets through but not close.

    Args:
        channels: C.
        contexts: names of the contexts, at least one, in the order of ``fuse``'s input channels.

    Shapes: ``(N, C, H, W)`` kept; contexts ``(N, C, h, w)`` are resized where they have another
    size.

    Raises:
        ValueError: no context.
    """

    def __init__(self, channels: int, contexts: Sequence[str]) -> None:
        super().__init__()
        if not contexts:
            raise ValueError('ContextMixer.contexts: expected at least one name, got none.')
        self.contexts = tuple(contexts)
        self.projections = nn.ModuleDict(
            {name: projection(channels, channels) for name in self.contexts}
        )
        self.gates = nn.ModuleDict(
            {
                name: nn.Sequential(
                    *projection(channels, channels), nn.Conv2d(channels, 1, 1), nn.Sigmoid()
                )
                for name in self.contexts
            }
        )
        self.fuse = projection((1 + len(self.contexts)) * channels, channels)
        self.cross = StripAttention(channels, project=True)

    def forward(self, x: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """
        Args:
            x: the map of the task that listens.
            maps: by name, those of ``contexts``; others are not looked at.
        """
        heard = [x]
        for name in self.contexts:
            context = resize(maps[name], x.shape[2:])
            heard.append(self.projections[name](context) * (1 + self.gates[name](context)))
        mixed = self.fuse(torch.cat(heard, dim=1))
        return mixed + self.cross(mixed)

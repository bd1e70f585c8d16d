"""Convolutions that M2H's blocks are made of."""

from __future__ import annotations

from torch import nn

GROUPS = 4
"""Groups of the 1x1 convolutions of M2H-small's heads and merger."""


class SeparableConv2d(nn.Sequential):
    """Depthwise ``k x k`` convolution followed by a pointwise one, nothing in between; the size is
    kept.

    Args:
        in_channels, out_channels: channels C_in and C_out.
        kernel_size: k, odd. With 1 the depthwise part is one factor per channel.
        dilation: of the depthwise part.
        bias: whether both parts have one.

    Shapes: ``(N, C_in, H, W)`` to ``(N, C_out, H, W)``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=in_channels,
            bias=bias,
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)


def conv_layer(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    bias: bool = True,
    separable: bool = False,
    norm: bool = False,
) -> nn.Module:
    """A size-keeping convolution initialised as M2H does.

    Dense kernels start from Kaiming's normal distribution (fan out, gain of ReLU) and zero bias;
    separable ones from PyTorch's default. With ``norm`` a batch norm follows, in the place of the
    bias.
    """
    if norm:
        conv = conv_layer(in_channels, out_channels, kernel_size, False, separable)
        return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
    if separable:
        return SeparableConv2d(in_channels, out_channels, kernel_size, bias=bias)
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
    nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
    if bias:
        nn.init.zeros_(conv.bias)
    return conv


def require_divisible(owner: str, name: str, value: int, divisor: int, why: str) -> None:
    """Refuse a channel count that cannot be split.

    Raises:
        ValueError: ``value`` is no positive multiple of ``divisor``.
    """
    if value < divisor or value % divisor:
        raise ValueError(
            f'{owner}: {name} must be a positive multiple of {divisor} ({why}), got {value}.'
        )

"""ResNet's two residual blocks, size-keeping."""

from __future__ import annotations

from torch import Tensor, nn


class _ResidualBlock(nn.Module):
    """``ReLU(body(x) + shortcut(x))``; parameters have the names of torchvision's ResNet."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


class BasicBlock(_ResidualBlock):
    """Two 3x3 convolutions beside a shortcut (He et al., CVPR 2016, figure 5 left).

    Args:
        in_channels, out_channels: C and D. Where they differ the shortcut is a 1x1 convolution with
            batch norm.

    Shapes: ``(N, C, H, W)`` to ``(N, D, H, W)``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(_ResidualBlock):
    """A 3x3 convolution on a quarter of the channels, between two 1x1, beside a shortcut (same
    paper, right).

    Args:
        in_channels, out_channels: C and D, D a multiple of 4. Where they differ the shortcut is a
            1x1 convolution with batch norm.

    Shapes: ``(N, C, H, W)`` to ``(N, D, H, W)``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        inner = out_channels // 4
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.shortcut(x))

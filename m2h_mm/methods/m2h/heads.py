"""M2H's four heads (arXiv 2510.17363)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.geometry.directions import unit_vectors
from m2h_mm.methods.m2h.aspp import ASPP
from m2h_mm.methods.m2h.upsample import UpsampleBlock
from m2h_mm.models.layers.conv import SeparableConv2d, conv_layer
from m2h_mm.registry import MODELS


class Refinement(nn.Module):
    """``x + relu(conv(relu(conv(x))))``, 3x3. Shapes: ``(N, C, H, W)`` kept.

    Args:
        channels: C.
        separable: M2H-small's, with one depthwise separable convolution without bias instead of the
            two.
    """

    def __init__(self, channels: int, separable: bool = False) -> None:
        super().__init__()
        convs = (
            [SeparableConv2d(channels, channels, 3)]
            if separable
            else [conv_layer(channels, channels, 3), conv_layer(channels, channels, 3)]
        )
        self.convs = nn.Sequential(
            *(layer for conv in convs for layer in (conv, nn.ReLU(inplace=True)))
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x)


class PlainHead(nn.Module):
    """Upsampling blocks and a 1x1 convolution, the trunk of the heads for normals and edges."""

    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: Sequence[int], separable: bool
    ) -> None:
        super().__init__()
        widths = _check_hidden(self, hidden_channels, in_channels)
        self.upsample = nn.Sequential(
            *(
                UpsampleBlock(*pair, separable=separable)
                for pair in zip(widths[:-1], widths[1:], strict=True)
            )
        )
        self.final = nn.Conv2d(widths[-1], out_channels, 1)

    def trunk(self, x: Tensor) -> Tensor:
        """The last convolution's output, ``(N, K, 4 H, 4 W)``."""
        return self.final(self.upsample(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(x)


class ContextHead(nn.Module):
    """ASPP, upsampling blocks, refinement and spatial attention, the trunk of the heads for semseg
    and depth.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: Sequence[int],
        separable: bool,
        final_kernel: int,
    ) -> None:
        super().__init__()
        widths = _check_hidden(self, hidden_channels, in_channels)
        self.aspp = ASPP(in_channels, separable=separable)
        self.upsample = nn.Sequential(
            *(
                UpsampleBlock(*pair, separable=separable)
                for pair in zip(widths[:-1], widths[1:], strict=True)
            )
        )
        self.refine = Refinement(widths[-1], separable=separable)
        self.spatial_gate = nn.Conv2d(widths[-1], 1, 3, padding=1)
        self.final = nn.Conv2d(widths[-1], out_channels, final_kernel, padding=final_kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.refine(self.upsample(self.aspp(x)))
        return self.final(x * self.spatial_gate(x).sigmoid())


@MODELS.register_module()
class M2HSemsegHead(ContextHead):
    """M2H's segmentation head. Also for any other classification of pixels, such as human parts.

    Args:
        in_channels: C. Filled in by the model.
        out_channels: number of classes K. Filled in by the model.
        hidden_channels: channels of the upsampling blocks, each of which doubles the resolution.
            Default: (128, 64).
        separable: layers of M2H-small. Default: False.

    Shapes: ``(N, C, H, W)`` to class logits ``(N, K, 4 H, 4 W)``, 2 to the number of blocks.

    Raises:
        ValueError: channels that the blocks cannot split in four, no blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: Sequence[int] = (128, 64),
        separable: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, hidden_channels, separable, final_kernel=1)


@MODELS.register_module()
class M2HDepthHead(ContextHead):
    """M2H's depth head. Also for any other positive quantity, such as disparity; its unit then
    stands for metres.

    Args:
        in_channels: C. Filled in by the model.
        out_channels: 1. Filled in by the model.
        hidden_channels: channels of the upsampling blocks, each of which doubles the resolution.
            Default: (128, 64).
        separable: layers of M2H-small. Default: False.
        parametrization: how the last convolution's output d becomes metres. ``'relu'``: ``relu(d) +
            min_depth``, the official one, with no upper bound; ``'sigmoid'``: ``sigmoid(d) *
            max_depth``; ``'log'``: ``exp(d)``. Default: ``'relu'``.
        min_depth: metres, of ``'relu'``. Default: 1e-3.
        max_depth: metres, of ``'sigmoid'``. Default: 10.
        init_depth: metres that an untrained head predicts, about the data's mean. It sets the last
            convolution's bias. None leaves the bias at PyTorch's default, as the official code
            does; ``'relu'`` then starts around d = 0, where half of it, or for an unlucky seed all
            of it, is closed and has no gradient. Give it whenever you train ``'relu'`` from
            scratch. Default: None.

    Shapes: ``(N, C, H, W)`` to metres ``(N, 1, 4 H, 4 W)``, 2 to the number of blocks.

    Raises:
        ValueError: ``out_channels`` not 1, an unknown parametrization, ``init_depth`` outside its
            range, channels that the blocks cannot split in four, no blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        hidden_channels: Sequence[int] = (128, 64),
        separable: bool = False,
        parametrization: str = 'relu',
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
        init_depth: float | None = None,
    ) -> None:
        _require_channels(self, out_channels, 1)
        super().__init__(in_channels, 1, hidden_channels, separable, final_kernel=3)
        # The range in metres that each can reach.
        known = {'relu': (min_depth, math.inf), 'sigmoid': (0, max_depth), 'log': (0, math.inf)}
        if parametrization not in known:
            raise ValueError(
                'model.heads.depth.parametrization (M2HDepthHead): expected one of '
                f'{tuple(known)}, got {parametrization!r}.'
            )
        self.parametrization = parametrization
        self.min_depth, self.max_depth = min_depth, max_depth
        if init_depth is not None:
            lowest, highest = known[parametrization]
            if not lowest < init_depth < highest:
                raise ValueError(
                    f'model.heads.depth.init_depth (M2HDepthHead): expected between {lowest} and '
                    f'{highest} m, which {parametrization!r} can reach, got {init_depth}.'
                )
            nn.init.constant_(self.final.bias, self._from_metres(init_depth))

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        if self.parametrization == 'relu':
            return F.relu(x) + self.min_depth
        return x.sigmoid() * self.max_depth if self.parametrization == 'sigmoid' else x.exp()

    def _from_metres(self, depth: float) -> float:
        if self.parametrization == 'relu':
            return depth - self.min_depth
        return (
            -math.log(self.max_depth / depth - 1)
            if self.parametrization == 'sigmoid'
            else math.log(depth)
        )


@MODELS.register_module()
class M2HNormalsHead(PlainHead):
    """M2H's head for surface normals.

    Args:
        in_channels: C. Filled in by the model.
        out_channels: 3. Filled in by the model.
        hidden_channels: channels of the upsampling blocks, each of which doubles the resolution.
            Default: (128, 64).
        separable: layers of M2H-small. Default: False.

    Shapes: ``(N, C, H, W)`` to unit vectors ``(N, 3, 4 H, 4 W)``, 2 to the number of blocks.

    Raises:
        ValueError: ``out_channels`` not 3, channels that the blocks cannot split in four, no
            blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 3,
        hidden_channels: Sequence[int] = (128, 64),
        separable: bool = False,
    ) -> None:
        _require_channels(self, out_channels, 3)
        super().__init__(in_channels, 3, hidden_channels, separable)

    def forward(self, x: Tensor) -> Tensor:
        return unit_vectors(self.trunk(x).tanh())


@MODELS.register_module()
class M2HEdgeHead(PlainHead):
    """M2H's edge head. Also for any other yes or no per pixel, such as saliency with
    ``channels=1``.

    Args:
        in_channels: C. Filled in by the model.
        out_channels: 1. Filled in by the model.
        hidden_channels: channels of the upsampling blocks, each of which doubles the resolution.
            Default: (128, 64).
        separable: layers of M2H-small. Default: False.

    Shapes: ``(N, C, H, W)`` to logits ``(N, 1, 4 H, 4 W)``, 2 to the number of blocks.

    Raises:
        ValueError: ``out_channels`` not 1, channels that the blocks cannot split in four, no
            blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        hidden_channels: Sequence[int] = (128, 64),
        separable: bool = False,
    ) -> None:
        _require_channels(self, out_channels, 1)
        super().__init__(in_channels, 1, hidden_channels, separable)


def _check_hidden(
    head: nn.Module, hidden_channels: Sequence[int], in_channels: int
) -> tuple[int, ...]:
    if not hidden_channels:
        raise ValueError(
            f'hidden_channels ({type(head).__name__}): expected the channels of at least one '
            'upsampling block, got none.'
        )
    return in_channels, *hidden_channels


def _require_channels(head: nn.Module, out_channels: int, expected: int) -> None:
    if out_channels != expected:
        raise ValueError(
            f'out_channels ({type(head).__name__}): expected {expected}, got {out_channels}. '
            'Leave it out of the head, or use a head that suits the task.'
        )

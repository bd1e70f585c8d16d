"""M2H-MX's four heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.geometry.directions import unit_vectors
from m2h_mm.methods.m2h_mx.head import M2HMXHead
from m2h_mm.methods.m2h_mx.layers import group_norm, quadruple
from m2h_mm.models.layers.context_mixer import StripAttention
from m2h_mm.models.losses.masking import full_precision
from m2h_mm.registry import MODELS

SHARPNESS = 10.0
"""Slope of the soft threshold on edge probabilities."""


@MODELS.register_module()
class M2HMXSemsegHead(M2HMXHead):
    """M2H-MX's segmentation head. Also for any other classification of pixels.

    One prediction layer serves twice: on the task's own map, and on the mixed map behind a
    :class:`StripAttention`; the logits are the sum. With ``edge_threshold``, where edges are
    predicted, ``edge_strength * conv(sigmoid(10 (p - threshold)))`` is added at full resolution,
    with p the edge probability and ``conv`` a 1x1 convolution to the classes. Its bias counts where
    there is no edge, too, as in the official code. Without the edge task there is no such term.

    Args:
        in_channels, out_channels, contexts, levels: see :class:`M2HMXHead`.
        edge_threshold: probability in [0, 1]; published: 0.6. Default: None, no edges.
        edge_strength: factor, above 0. Default: 0.1.
        edge_task: name of the edge task. Default: ``'edge'``.

    Shapes: see :class:`M2HMXHead`; class logits ``(N, K, 4 H, 4 W)``.

    Raises:
        ValueError: a threshold outside [0, 1], a strength not above 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        contexts: Sequence[str] = (),
        levels: int = 4,
        edge_threshold: float | None = None,
        edge_strength: float = 0.1,
        edge_task: str = 'edge',
    ) -> None:
        super().__init__(in_channels, out_channels, contexts, levels)
        if edge_threshold is not None and not 0 <= edge_threshold <= 1:
            raise ValueError(f'edge_threshold: expected a probability, got {edge_threshold}.')
        if edge_strength <= 0:
            raise ValueError(
                f'edge_strength: expected a factor above 0, got {edge_strength}. For no edges set '
                'edge_threshold=None.'
            )
        self.attention = StripAttention(in_channels, squeeze=True)
        self.edge_task, self.edge_threshold = edge_task, edge_threshold
        self.edge_strength = edge_strength
        refines = edge_threshold is not None and edge_task in contexts
        self.boundary = nn.Conv2d(1, out_channels, 1) if refines else None

    def predict(
        self, refined: Tensor, mixed: Tensor, outputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = quadruple(self.prediction(refined) + self.prediction(self.attention(mixed)))
        if self.boundary is not None:
            edges = outputs[self.edge_task].sigmoid() - self.edge_threshold
            logits = logits + self.edge_strength * self.boundary((SHARPNESS * edges).sigmoid())
        return logits, {}


@MODELS.register_module()
class M2HMXDepthHead(M2HMXHead):
    """M2H-MX's depth head: the expected centre of bins, whose widths depend on the image, and an
    offset per pixel. Also for any other positive quantity, whose unit then stands for metres.

    It does not look at the other tasks. The bins are right-closed, from ``min_depth`` to
    ``max_depth``; the offset knows no limits, so that depth may leave the range and be negative, as
    in the official code. The task limits the prediction.

    Args:
        in_channels, out_channels, levels: see :class:`M2HMXHead`.
        num_bins: B. Default: 64.
        min_depth: metres where the bins begin. Default: 0.1.
        max_depth: metres where they end. Default: 10.

    Shapes: see :class:`M2HMXHead`; metres ``(N, 1, 4 H, 4 W)``. Details: ``coarse`` and ``offset``,
    metres ``(N, 1, H, W)``, whose sum was enlarged; ``bin_logits`` ``(N, B, H, W)``; ``bin_edges``
    ``(N, B)``, the bins' right ends in metres.

    Raises:
        ValueError: ``out_channels`` not 1, no bins, a range that is none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        levels: int = 4,
        num_bins: int = 64,
        min_depth: float = 0.1,
        max_depth: float = 10.0,
    ) -> None:
        super().__init__(in_channels, out_channels, (), levels)
        self.require_channels(1, out_channels)
        if num_bins < 1:
            raise ValueError(f'num_bins: expected at least 1, got {num_bins}.')
        if not 0 <= min_depth < max_depth:
            raise ValueError(
                f'min_depth, max_depth: expected 0 <= min_depth < max_depth in metres, got '
                f'{min_depth} and {max_depth}.'
            )
        self.min_depth, self.max_depth = min_depth, max_depth
        widths, hidden = max(in_channels // 4, 32), max(in_channels // 2, 64)
        self.classify = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False),
            group_norm(in_channels, in_channels // 32),
            nn.GELU(),
            nn.Conv2d(in_channels, num_bins, 1),
        )
        self.widths = nn.Sequential(
            nn.Conv2d(in_channels, widths, 1, bias=False), nn.GELU(), nn.Conv2d(widths, num_bins, 1)
        )
        self.offset = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 3, padding=1, bias=False),
            group_norm(hidden, hidden // 32),
            nn.GELU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def predict(
        self, refined: Tensor, mixed: Tensor, outputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.classify(refined)
        edges = self.bin_edges(refined)
        left = F.pad(edges[:, :-1], (1, 0), value=self.min_depth)
        centres = (edges + left) / 2
        shares = full_precision(logits).softmax(1)
        coarse = (shares * centres[..., None, None]).sum(1, keepdim=True)
        offset = self.offset(refined)
        details = dict(coarse=coarse, offset=offset, bin_logits=logits, bin_edges=edges)
        return quadruple(coarse + offset), details

    def bin_edges(self, x: Tensor) -> Tensor:
        """Right ends of the bins, ``(N, B)`` in metres, ascending; the last is ``max_depth``."""
        # Half precision, with three digits, would round the bins' ends to centimetres.
        shares = full_precision(self.widths(x.mean((2, 3), keepdim=True))).flatten(1).softmax(1)
        return self.min_depth + (self.max_depth - self.min_depth) * shares.cumsum(1)


@MODELS.register_module()
class M2HMXNormalsHead(M2HMXHead):
    """M2H-MX's head for surface normals.

    Args:
        in_channels, out_channels, contexts, levels: see :class:`M2HMXHead`.

    Shapes: see :class:`M2HMXHead`; unit vectors ``(N, 3, 4 H, 4 W)``. The intermediate predictions
    are not normalised.

    Raises:
        ValueError: ``out_channels`` not 3.
    """

    def __init__(
        self, in_channels: int, out_channels: int = 3, contexts: Sequence[str] = (), levels: int = 4
    ) -> None:
        super().__init__(in_channels, out_channels, contexts, levels)
        self.require_channels(3, out_channels)
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(in_channels, 3, 1),
        )

    def predict(
        self, refined: Tensor, mixed: Tensor, outputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return unit_vectors(quadruple(self.project(mixed))), {}


@MODELS.register_module()
class M2HMXEdgeHead(M2HMXHead):
    """M2H-MX's edge head. Also for any other yes or no per pixel.

    Its logits are enlarged with aligned corners, those of the other tasks are not: as in the
    official code.

    Args:
        in_channels, out_channels, contexts, levels: see :class:`M2HMXHead`.

    Shapes: see :class:`M2HMXHead`; logits ``(N, 1, 4 H, 4 W)``.

    Raises:
        ValueError: ``out_channels`` not 1.
    """

    aux_levels = 1

    def __init__(
        self, in_channels: int, out_channels: int = 1, contexts: Sequence[str] = (), levels: int = 4
    ) -> None:
        super().__init__(in_channels, out_channels, contexts, levels)
        self.require_channels(1, out_channels)
        hidden = max(in_channels // 2, 32)
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 3, padding=1, bias=False),
            nn.GELU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def predict(
        self, refined: Tensor, mixed: Tensor, outputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return quadruple(self.project(mixed), align_corners=True), {}

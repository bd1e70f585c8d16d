"""What the heads of M2H-MX have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from m2h_mm.methods.m2h_mx.layers import NormResidualBlock, Prediction, TaskFusion
from m2h_mm.models.layers.context_mixer import ContextMixer


class HeadResult(NamedTuple):
    """What a head found.

    Attributes:
        output: in the task's own space, ``(N, K, 4 H, 4 W)``.
        context: what later heads see of the task, ``(N, C, H, W)``.
        aux: intermediate predictions ``(N, K, h, w)`` of the levels between the coarsest and the
            finest, coarse to fine; in training only.
        details: by name, what the output was made of, for losses.
    """

    output: Tensor
    context: Tensor
    aux: list[Tensor]
    details: dict[str, Tensor]


class M2HMXHead(nn.Module, ABC):
    """A task's pyramid, fused and refined, then mixed with what is known of the other tasks.

    A subclass makes the output in :meth:`predict`.

    Args:
        in_channels: C. Filled in by the decoder.
        out_channels: K. Filled in by the decoder.
        contexts: names of the other tasks, in the order in which their maps are joined. Filled in
            by the decoder.
        levels: of the pyramid. Filled in by the decoder.
    """

    aux_levels: int | None = None
    """How many levels, from coarse to fine, have an intermediate prediction. None: all between the
    coarsest and the finest.
    """

    def __init__(
        self, in_channels: int, out_channels: int, contexts: Sequence[str] = (), levels: int = 4
    ) -> None:
        super().__init__()
        self.contexts = tuple(contexts)
        self.fuse = TaskFusion(in_channels, levels)
        self.refine = NormResidualBlock(in_channels)
        # Of intermediate maps; semantic segmentation also makes its output with it.
        self.prediction = Prediction(in_channels, out_channels)
        self.mixer = ContextMixer(in_channels, self.contexts) if contexts else None

    def forward(
        self,
        pyramid: Sequence[Tensor],
        contexts: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
    ) -> HeadResult:
        """
        Args:
            pyramid: the task's maps ``(N, C, h, w)``, fine to coarse.
            contexts: what is known of every task, ``(N, C, H, W)``: the decoder's finest map, or
                what the task's own head has made of it.
            outputs: of the heads that have run.
        """
        fused = self.fuse(pyramid)
        refined = self.refine(fused[0])
        mixed = refined if self.mixer is None else self.mixer(refined, contexts)
        output, details = self.predict(refined, mixed, outputs)
        between = fused[-2:0:-1][: self.aux_levels]
        aux = [self.prediction(x) for x in between] if self.training else []
        return HeadResult(output, mixed, aux, details)

    @abstractmethod
    def predict(
        self, refined: Tensor, mixed: Tensor, outputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Args:
            refined: the task's own map ``(N, C, H, W)``.
            mixed: the same with what the other tasks know.
            outputs: of the heads that have run.

        Returns:
            The output ``(N, K, 4 H, 4 W)`` and its details.
        """

    def require_channels(self, expected: int, out_channels: int) -> None:
        """Refuse a task with another number of channels.

        Raises:
            ValueError: ``out_channels`` is not what is expected.
        """
        if out_channels != expected:
            raise ValueError(
                f'out_channels ({type(self).__name__}): expected {expected}, got {out_channels}. '
                'Use a head that suits the task.'
            )

"""Saliency."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.tasks.binary import BinaryTask


@TASKS.register_module('saliency')
class Saliency(BinaryTask):
    """Probability that a pixel belongs to what stands out.

    Labels are 1 on what is salient, 0 elsewhere; files: see
    :class:`~m2h_mm.tasks.binary_format.BinaryFormat`. Outputs are logits, predictions
    probabilities.

    Args:
        channels: of the output. 2, as in the multi-task literature: not salient and salient, under
            a softmax, trained with ``BalancedCrossEntropyLoss`` or ``CrossEntropyLoss``. 1: under a
            sigmoid, trained with ``BalancedBCELoss``. Default: 2.

    Raises:
        ValueError: any other number of channels.
    """

    meaning = 'probability of being salient'
    metric = 'maxF'
    higher_is_better = True

    def __init__(self, channels: int = 2) -> None:
        if channels not in (1, 2):
            raise ValueError(
                f'tasks.saliency.channels: expected 2 (softmax) or 1 (sigmoid), got {channels!r}.'
            )
        self.channels = channels

    def decode(self, output: Tensor) -> Tensor:
        """Logits ``(N, 2, H, W)`` or ``(N, 1, H, W)`` to probabilities ``(N, 1, H, W)``."""
        logits = output.float()
        # The softmax of two channels is the sigmoid of their difference.
        return (logits[:, 1:] - logits[:, :1] if self.channels == 2 else logits).sigmoid()

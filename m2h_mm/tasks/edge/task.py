"""Object boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.binary import BinaryTask
from m2h_mm.tasks.doubt import Doubt


@TASKS.register_module('edge')
class Edge(BinaryTask):
    """Probability that a pixel lies on an object boundary.

    Labels are 1 on a boundary, 0 elsewhere; files: see
    :class:`~m2h_mm.tasks.binary_format.BinaryFormat`. Outputs are logits, predictions
    probabilities.
    """

    meaning = 'probability of an edge'
    metric = 'odsF'
    higher_is_better = True

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        yield from super().inspect(path, label)
        edges = label.valid & (label.value > 0)
        yield Doubt(
            'more than half of the pixels are edges: is it inverted?',
            edges & (edges.sum() > label.valid.sum() / 2),
            advice=f'If so: {self.to_state("yes", 0)} and {self.to_state("no", 255)}.',
        )

    def decode(self, output: Tensor) -> Tensor:
        """Logits to probabilities ``(N, 1, H, W)``."""
        return output.float().sigmoid()

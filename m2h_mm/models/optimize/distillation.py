"""Distillation that computes only what the wanted tasks take."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.distillation import MultiModalDistillationUnit

from .checks import is_exactly
from .rewrites import rewrites


@rewrites(MultiModalDistillationUnit)
class FastMultiModalDistillationUnit(MultiModalDistillationUnit):
    """``MultiModalDistillationUnit`` with only those rows of a source's kernel whose targets are
    wanted.
    """

    def forward(
        self, maps: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        all_wanted = tasks is None or set(tasks) == set(self.targets)
        if all_wanted or not all(is_exactly(conv, nn.Conv2d) for conv in self.convs.values()):
            return super().forward(maps, tasks)
        distilled = {task: maps[task] for task in tasks}
        for source, conv in self.convs.items():
            partners = self.partners[source]
            rows = [index for index, task in enumerate(partners) if task in distilled]
            if not rows:
                continue
            # The values of all partners come first, then the gates of all partners.
            weight = conv.weight.unflatten(0, (2, len(partners), -1))[:, rows].flatten(0, 2)
            given = F.glu(F.conv2d(maps[source], weight, padding=1), dim=1).chunk(len(rows), dim=1)
            for index, x in zip(rows, given, strict=True):
                distilled[partners[index]] = distilled[partners[index]] + x
        return distilled

"""Multi-modal distillation: every task takes what its own attention lets through of the others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class MultiModalDistillationUnit(nn.Module):
    """Multi-modal distillation of PAD-Net (arXiv 1805.04409, its module C) as MTI-Net uses it
    (arXiv 2001.06902).

    ``G_t = F_t + sum over a != t of conv3(F_a) * sigmoid(conv3'(F_a))``, with two 3x3 convolutions
    without bias for each pair of a target t and a source a. All convolutions of one source are one:
    T convolutions for T targets, not 2 T (T - 1). A single task has no partner and is handed back
    as it is.

    Args:
        channels: C.
        tasks: names of the T tasks, all of them sources.
        targets: those that are distilled. Default: all.

    Weights: ``convs[a].weight (2 P C, C, 3, 3)``, for the P targets other than a in the order of
    ``targets`` first conv3, then conv3'.

    Raises:
        ValueError: no target, or one that is not in ``tasks``.
    """

    def __init__(
        self, channels: int, tasks: Sequence[str], targets: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.targets = self.tasks if targets is None else tuple(targets)
        if not self.targets or not set(self.targets) <= set(self.tasks):
            raise ValueError(
                'MultiModalDistillationUnit.targets: expected at least one of the tasks '
                f'{list(self.tasks)} and no other, got {list(self.targets)}.'
            )
        self.partners = {
            source: [task for task in self.targets if task != source] for source in self.tasks
        }
        self.convs = nn.ModuleDict(
            {
                source: nn.Conv2d(channels, 2 * len(partners) * channels, 3, padding=1, bias=False)
                for source, partners in self.partners.items()
                if partners
            }
        )

    def forward(
        self, maps: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """
        Args:
            maps: ``(N, C, H, W)`` of every task.
            tasks: the targets asked for. Default: all.

        Returns:
            ``(N, C, H, W)`` of those.
        """
        wanted = self.targets if tasks is None else tuple(tasks)
        distilled = {task: maps[task] for task in wanted}
        for source, conv in self.convs.items():
            partners = self.partners[source]
            if not any(task in distilled for task in partners):
                continue
            given = F.glu(conv(maps[source]), dim=1).chunk(len(partners), dim=1)
            for task, x in zip(partners, given, strict=True):
                if task in distilled:
                    distilled[task] = distilled[task] + x
        return distilled


def choose_main_tasks(tasks: Sequence[str], main_tasks: Sequence[str] | None) -> tuple[str, ...]:
    """A decoder's main tasks, those that are distilled, in the order of ``tasks``; all of them by
    default.

    Raises:
        ValueError: there are none, or one is not in ``tasks``.
    """
    chosen = list(tasks if main_tasks is None else main_tasks)
    if not chosen or not set(chosen) <= set(tasks):
        raise ValueError(
            f'model.decoder.main_tasks: expected at least one of model.tasks {list(tasks)} and '
            f'no other, got {chosen}. Leave main_tasks out to have all tasks be main tasks.'
        )
    return tuple(task for task in tasks if task in chosen)

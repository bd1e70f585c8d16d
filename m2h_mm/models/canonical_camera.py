"""Distances as of one camera, whatever camera took the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from m2h_mm.structures import Label, MultiTaskDataSample
from m2h_mm.tasks import Task

from .data_preprocessor import framing_of


def canonical_focal_of(preprocessor: nn.Module, tasks: Mapping[str, Task]) -> float | None:
    """The focal length in pixels that distances are predicted for; None if cameras are not looked
    at, or no task has distances.
    """
    if not any(task.grows_with_focal for task in tasks.values()):
        return None
    return getattr(getattr(preprocessor, 'pipeline', None), 'canonical_focal', None)


def focal_ratios(
    samples: Sequence[MultiTaskDataSample],
    size: tuple[int, int],
    canonical_focal: float,
    device: torch.device,
) -> Tensor:
    """How many times as far as through the canonical camera the scene of each picture is.

    A frame that a transform has zoomed by s shows a scene shrunk to 1/s through a lens s times as
    long, see :class:`~m2h_mm.datasets.transforms.RandomZoom`; what it looks like is that of its
    own lens.

    Args:
        samples: one per image; ``cam2img``, ``framing`` and ``zoom`` of their metainfo are read.
        size: (H, W) of the padded images.
        canonical_focal: pixels, see :class:`~m2h_mm.models.pipeline.ImagePipeline`.
        device: of the result.

    Returns:
        ``(N, 1, 1, 1)``.
    """
    ratios = [
        framing_of(sample, size).focal(sample.get('cam2img'))
        / (sample.get('zoom', 1.0) * canonical_focal)
        for sample in samples
    ]
    return torch.tensor(ratios, device=device).view(-1, 1, 1, 1)


def scale_maps(
    maps: Mapping[str, Tensor], tasks: Mapping[str, Task], ratios: Tensor
) -> dict[str, Tensor]:
    """Outputs ``{task: (N, C, H, W)}`` with those that grow with the focal length multiplied."""
    return {
        name: map * ratios if tasks[name].grows_with_focal else map for name, map in maps.items()
    }


def scale_labels(
    labels: Mapping[str, Label], tasks: Mapping[str, Task], ratios: Tensor
) -> dict[str, Label]:
    """Likewise for labels."""
    values = scale_maps({name: label.value for name, label in labels.items()}, tasks, ratios)
    return {name: Label(values[name], label.valid) for name, label in labels.items()}

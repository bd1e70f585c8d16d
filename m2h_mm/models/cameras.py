"""The cameras of a padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m2h_mm.structures import MultiTaskDataSample

from .data_preprocessor import framing_of
from .pipeline import crop_padding


def stack_cameras(
    samples: Sequence[MultiTaskDataSample], size: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The cameras of the padded images.

    Args:
        samples: one per image; ``cam2img`` and ``framing`` of their metainfo are read.
        size: (H, W) of the padded images.
        device: of the result.

    Returns:
        Intrinsics ``(N, 3, 3)`` in pixels of the padded images, the identity where the camera is
        not known; ``(N, 1, 1, 1)`` bool, whether it is; ``(N, 1, H, W)`` bool, True on the images
        themselves.
    """
    intrinsics = torch.eye(3).repeat(len(samples), 1, 1)
    known = torch.zeros(len(samples), 1, 1, 1, dtype=torch.bool)
    inside = torch.zeros(len(samples), 1, *size, dtype=torch.bool, device=device)
    for index, sample in enumerate(samples):
        framing = framing_of(sample, size)
        crop_padding(inside[index], framing.padding).fill_(True)
        if sample.get('cam2img') is not None:
            known[index] = True
            intrinsics[index] = torch.as_tensor(framing.camera(sample.cam2img)).float()
    return intrinsics.to(device), known.to(device), inside

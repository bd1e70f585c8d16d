"""The cameras of a padded batch, and where they were."""

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


def stack_poses(
    samples: Sequence[MultiTaskDataSample], device: torch.device
) -> tuple[Tensor | None, list[list[int]] | None]:
    """Poses, and which frames may be compared: those of one clip, see
    :class:`~m2h_mm.datasets.ClipSampler`, whose poses are known.

    Args:
        samples: one per image; ``cam2world``, ``clip``, ``sequence`` and ``frame_index`` of their
            metainfo are read.
        device: of the result.

    Returns:
        Camera to world ``(N, 4, 4)``, the identity where it is not known, None where it is for no
        frame; for each frame the indices of the others, in order of time, None where no frame has
        any.
    """
    poses = torch.eye(4).repeat(len(samples), 1, 1)
    clips: dict[tuple, list[int]] = {}
    known = False
    for index, sample in enumerate(samples):
        if sample.get('cam2world') is None:
            continue
        known = True
        poses[index] = torch.as_tensor(sample.cam2world).float()
        if sample.get('clip') is not None:
            clips.setdefault((sample.sequence, sample.clip), []).append(index)
    neighbours: list[list[int]] = [[] for _ in samples]
    for clip in clips.values():
        ordered = sorted(clip, key=lambda index: samples[index].frame_index)
        for index in clip:
            neighbours[index] = [other for other in ordered if other != index]
    return poses.to(device) if known else None, neighbours if any(neighbours) else None

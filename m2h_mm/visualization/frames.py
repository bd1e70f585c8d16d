"""The choice of the frames to draw, their names and their images."""

from __future__ import annotations

from pathlib import Path

import mmcv
import numpy as np
import torch

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.structures.image_file import IMAGE_SUFFIXES, read_image


def spread(total: int, count: int) -> list[int]:
    """``count`` positions, or all, spread evenly over ``range(total)``."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()


def frame_name(sample: MultiTaskDataSample, position: int) -> str:
    """The sample's ``frame_id``, or else its position in the data set."""
    return str(sample.get('frame_id', f'{position:06d}'))


def frame_image(sample: MultiTaskDataSample, inputs: torch.Tensor) -> np.ndarray:
    """The frame as it was taken, ``(H, W, 3)`` uint8 RGB at ``ori_shape``.

    Args:
        sample: with ``ori_shape`` and ``img_path``, where it has them.
        inputs: ``(3, H, W)`` RGB in 0..255, the packed image. It is used where it has the frame's
            size, or where there is no image file to read.
    """
    size = tuple(sample.get('ori_shape', inputs.shape[-2:]))[:2]
    path = Path(sample.get('img_path', ''))
    is_image = path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    if tuple(inputs.shape[-2:]) != size and is_image:
        image = read_image(path)
    else:
        image = input_image(inputs)
    return image if image.shape[:2] == size else mmcv.imresize(image, size[::-1])


def input_image(inputs: torch.Tensor) -> np.ndarray:
    """A packed image ``(3, H, W)``, uint8 or float in 0..255, as ``(H, W, 3)`` uint8."""
    image = inputs.detach().cpu().float().round().clamp(0, 255).byte()
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())

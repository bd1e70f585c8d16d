"""The prediction for one image: its maps, or why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from m2h_mm.models.pipeline import Framing
from m2h_mm.structures import MultiTaskDataSample


@dataclass
class Prediction:
    """The maps of one image, or why there are none.

    Attributes:
        name: of its files, unique within a call.
        image: ``(H, W, 3)`` uint8 RGB, upright.
        cam2img: ``(3, 3)`` intrinsics in pixels of the image, None if its camera is not known.
        maps: task to prediction at the image's own size, aligned with it: ``semseg`` ``(H, W)``
            class ids from 0; ``depth`` ``(H, W)`` metres along the optical axis; ``normals`` ``(H,
            W, 3)`` unit vectors, x right, y up, z toward the camera; ``edge`` ``(H, W)``
            probabilities.
        error: why there are no maps; None if all is well.
        sample: the model's own output.
    """

    name: str
    image: np.ndarray | None = None
    cam2img: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    error: str | None = None
    sample: MultiTaskDataSample | None = None


def to_samples(
    batch: Sequence[Prediction], framings: Sequence[Framing]
) -> list[MultiTaskDataSample]:
    """What the model is told of the images of a batch."""
    return [
        MultiTaskDataSample(
            metainfo=dict(
                frame_id=prediction.name,
                ori_shape=framing.frame,
                img_shape=framing.frame,
                framing=framing,
                cam2img=prediction.cam2img,
            )
        )
        for prediction, framing in zip(batch, framings, strict=True)
    ]


def as_map(data: Tensor) -> np.ndarray:
    """``(C, H, W)`` as ``(H, W)`` or ``(H, W, C)``."""
    array = (data.float() if data.is_floating_point() else data).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)

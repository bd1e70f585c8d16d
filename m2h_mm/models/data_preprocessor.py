"""From a batch of packed frames to the network's input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from m2h_mm.registry import MODELS

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@MODELS.register_module()
class MultiTaskDataPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, normalises the images and pads them to one size.

    Images are padded after normalisation, with zeros on both sides (of an odd number of rows the
    larger half goes behind), as M2H's official code does. Labels are left as they are: each
    sample's metainfo gets ``padding`` (left, right, top, bottom), by which the model puts labels
    and predictions in their place.

    Args:
        mean: per channel of the RGB image, in 0..255. Default: ImageNet's.
        std: likewise.
        size_divisor: height and width are padded to a multiple of this, the backbone's coarsest
            stride: 14 for DINOv2, 32 for most others.
        non_blocking: copy to the device without blocking.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        size_divisor: int = 14,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                'model.data_preprocessor: expected three numbers in mean and three '
                'positive ones in std, '
                f'got {tuple(mean)} and {tuple(std)}.'
            )
        self.register_buffer(
            'mean', torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False
        )
        self.register_buffer(
            'std', torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False
        )
        self.size_divisor = size_divisor

    def forward(self, data: dict, training: bool = False) -> dict:
        """
        Args:
            data: ``inputs``, a list of ``(3, H, W)`` RGB images in 0..255, uint8 or float, that may
                differ in size, or one ``(N, 3, H, W)`` tensor; ``data_samples``, a list of as many,
                or None.

        Returns:
            The same dict with ``inputs (N, 3, H, W)`` float32.
        """
        data = self.cast_data(data)
        images = [(image.float() - self.mean) / self.std for image in data['inputs']]
        height = self._ceil(max(image.shape[1] for image in images))
        width = self._ceil(max(image.shape[2] for image in images))
        samples = data.get('data_samples')
        padded = []
        for index, image in enumerate(images):
            padding = centre_padding(image.shape[1:], (height, width))
            padded.append(F.pad(image, padding))
            if samples is not None:
                samples[index].set_metainfo(dict(padding=padding))
        return dict(data, inputs=torch.stack(padded), data_samples=samples)

    def _ceil(self, length: int) -> int:
        return -(-length // self.size_divisor) * self.size_divisor


def centre_padding(size: Sequence[int], padded: Sequence[int]) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) that centre ``size`` (H, W) in ``padded`` (H, W)."""
    rows, columns = padded[0] - size[0], padded[1] - size[1]
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def crop_padding(batch: Tensor, padding: Sequence[int]) -> Tensor:
    """The inside of ``batch (..., H, W)``: undoes a pad by (left, right, top, bottom)."""
    left, right, top, bottom = padding
    return batch[..., top : batch.shape[-2] - bottom, left : batch.shape[-1] - right]

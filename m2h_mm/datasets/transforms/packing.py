"""The end of a pipeline: from arrays to what the model is given."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from torch import Tensor

from m2h_mm.registry import TRANSFORMS
from m2h_mm.structures import Label, MultiTaskDataSample

META_KEYS = (
    'frame_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'pad_to',
    'cam2img',
    'zoom',
    'flip',
    'skipped',
    'sequence',
    'frame_index',
    'timestamp',
    'cam2world',
    'clip',
)


@TRANSFORMS.register_module()
class PackMultiTaskInputs(BaseTransform):
    """The end of a pipeline.

    Returns:
        ``inputs``: the image ``(3, H, W)``, uint8, RGB.
        ``data_samples``: :class:`MultiTaskDataSample` with a field ``gt_<task>`` per label that the
        frame has, ``data (C, H, W)`` and ``valid (1, H, W)``; and the metainfo ``frame_id``,
        ``img_path``, ``ori_shape``, ``img_shape``, ``pad_to``, ``cam2img``, ``zoom``, ``flip``, as
        far as known, and ``skipped``, what was wrong with the frames in whose place this one
        stands; of frames of sequences as well ``sequence``, ``frame_index``, ``timestamp``,
        ``cam2world`` and ``clip``, see :class:`~m2h_mm.datasets.SequenceDataset`.
    """

    def transform(self, results: dict) -> dict:
        sample = MultiTaskDataSample(
            metainfo={key: results[key] for key in META_KEYS if key in results}
        )
        for task in results.get('tasks', {}).values():
            if task.gt_field in results:
                sample.set_field(pack_label(results[task.gt_field]), task.gt_field)
        return dict(inputs=to_tensor(results['img']), data_samples=sample)


def pack_label(label: Label) -> PixelData:
    """A NumPy label as the field of a sample: ``data (C, H, W)`` and ``valid (1, H, W)``."""
    return PixelData(data=to_tensor(label.value), valid=to_tensor(label.valid))


def to_tensor(array: np.ndarray) -> Tensor:
    """``(H, W)`` or ``(H, W, C)`` to a contiguous ``(C, H, W)`` that owns its memory's layout."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1).contiguous()

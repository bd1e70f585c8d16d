"""The sample that carries a frame's labels and predictions."""

from mmengine.structures import BaseDataElement


class MultiTaskDataSample(BaseDataElement):
    """One frame: labels in fields ``gt_<task>``, predictions in fields ``pred_<task>``.

    The task's name in the config is the end of the field's name: ``gt_depth``, ``pred_semseg``.
    Each field is a :class:`mmengine.structures.PixelData` with ``data (C, H, W)``, also where C is
    1. That of a label also has ``valid (1, H, W)`` bool, the pixels where the label is known, see
    :class:`~m2h_mm.structures.Label`. A label that the frame lacks is not there.

    Metainfo: ``frame_id``, ``img_path``; ``ori_shape``, ``img_shape`` (H, W) of the file and of the
    packed image; ``pad_to`` (H, W), the size to which the preprocessor shall pad it, at least;
    ``cam2img`` 3x3, the intrinsics of the packed image in pixels, which at test time is the frame
    itself; ``framing``, where the preprocessor put the image in the network's input.
    """

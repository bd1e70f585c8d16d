"""The sample that carries a frame's labels and predictions."""

from mmengine.structures import BaseDataElement


class MultiTaskDataSample(BaseDataElement):
    """One frame: labels in ``gt_*`` fields, predictions in ``pred_*`` fields, both
    :class:`mmengine.PixelData`.

    The names of the fields belong to the tasks (:attr:`m2h_mm.tasks.Task.gt_field`,
    ``pred_field``): ``gt_sem_seg``, ``gt_depth_map``, ``gt_normal_map``, ``gt_edge_map``, and the
    same with ``pred_``. Every map is ``(C, H, W)``, also where C is 1. A label that the frame lacks
    is simply not there.

    Metainfo: ``frame_id``, ``img_path``; ``ori_shape``, ``img_shape`` (H, W) of the file and of the
    packed image; ``cam2img`` 3x3, the intrinsics of the packed image in pixels, which at test time
    is the frame itself; ``framing``, where the preprocessor put the image in the network's input.
    """

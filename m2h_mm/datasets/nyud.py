"""NYU Depth v2 for multi-task learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2h_mm.registry import DATASETS
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.semseg.colours import class_colours

from .multitask_dataset import MultiTaskDataset

NYU40_CLASSES = (
    'wall',
    'floor',
    'cabinet',
    'bed',
    'chair',
    'sofa',
    'table',
    'door',
    'window',
    'bookshelf',
    'picture',
    'counter',
    'blinds',
    'desk',
    'shelves',
    'curtain',
    'dresser',
    'pillow',
    'mirror',
    'floor mat',
    'clothes',
    'ceiling',
    'books',
    'refrigerator',
    'television',
    'paper',
    'towel',
    'shower curtain',
    'box',
    'whiteboard',
    'person',
    'night stand',
    'toilet',
    'sink',
    'lamp',
    'bathtub',
    'bag',
    'other structure',
    'other furniture',
    'other prop',
)
NYU13_CLASSES = (
    'bed',
    'books',
    'ceiling',
    'chair',
    'floor',
    'furniture',
    'objects',
    'picture',
    'sofa',
    'table',
    'tv',
    'wall',
    'window',
)

FULL_SIZE = (480, 640)
FULL_CAMERA = (518.8579, 519.4696, 325.5824, 253.7362)
# (H, W) of a release to the (row, column) where its images begin in the full frame.
CROP_ORIGINS = {(427, 561): (44, 40), (426, 560): (45, 41), (425, 560): (44, 40)}


@DATASETS.register_module()
class NYUDDataset(MultiTaskDataset):
    """NYUD-MT: 795 training and 654 validation frames of NYU Depth v2 (Silberman et al., ECCV
    2012).

    Every release of it is read as it is, see :class:`MultiTaskDataset` for the layout: images
    ``.jpg`` or ``.png``; segmentation 0 = void, 1..40; depth ``.npy`` or ``.mat`` in metres or
    ``.png`` in millimetres; normals ``.npy``, ``.png`` or ``.jpg``; edge ``.npy`` or ``.png``;
    480x640, 425x560 or any other size.

    With ``semseg=dict(num_classes=13)`` the segmentation has the 13 classes of Couprie et al.
    (arXiv 1301.3572), as ``m2h-mm convert-data nyud --classes 13`` writes them.

    Intrinsics come from ``cameras.json``, else from the Kinect's colour camera: the full frame
    480x640; the tool kit's crop 427x561 and its 426x560 and 425x560 descendants with the principal
    point moved by the crop's corner (for 425x560 the exact corner is not documented: right to about
    two pixels); any other size is taken for the full frame resized.

    Args:
        data_root: folder of the data.
        split: 'train' or 'val'.
        tasks: names, or name to arguments, as for the model.
        pipeline: transforms.
        reduce_zero_label: segmentation 0 is void, 1..num_classes the classes, as in every release.
        **kwargs: of :class:`MultiTaskDataset`.

    Raises:
        FileNotFoundError, ValueError: see :class:`MultiTaskDataset`.
    """

    METAINFO = dict(classes=NYU40_CLASSES, palette=class_colours(len(NYU40_CLASSES)).tolist())
    how_to_get = (
        'Unpack an NYUD-MT archive there (the multi-task release of NYU Depth v2 that MTI-Net, '
        'ATRC and InvPT use), or '
        'make one from nyu_depth_v2_labeled.mat with m2h-mm convert-data nyud, or set '
        'data_root to where one '
        'is.\n'
        'To start without any download: m2h-mm train m2h_tiny_rooms'
    )

    def __init__(
        self,
        data_root: str | Path = 'data/NYUDv2',
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = ('semseg', 'depth', 'normals', 'edge'),
        pipeline: Sequence = (),
        reduce_zero_label: bool = True,
        **kwargs,
    ) -> None:
        tasks = build_tasks(tasks)
        if 'semseg' in tasks and tasks['semseg'].num_classes == len(NYU13_CLASSES):
            names = dict(classes=NYU13_CLASSES, palette=class_colours(len(NYU13_CLASSES)).tolist())
            kwargs['metainfo'] = {**names, **(kwargs.get('metainfo') or {})}
        super().__init__(
            data_root=data_root,
            split=split,
            tasks=tasks,
            pipeline=pipeline,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )

    def default_camera(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        fx, fy, cx, cy = FULL_CAMERA
        if size in CROP_ORIGINS:
            top, left = CROP_ORIGINS[size]
            return fx, fy, cx - left, cy - top
        scale_x, scale_y = size[1] / FULL_SIZE[1], size[0] / FULL_SIZE[0]
        return fx * scale_x, fy * scale_y, (cx + 0.5) * scale_x - 0.5, (cy + 0.5) * scale_y - 0.5

"""Frames with poses, from a recording or from photos and a file of poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from m2h_mm.datasets.nyud import NYU40_CLASSES
from m2h_mm.datasets.photo_camera import camera_of_file
from m2h_mm.datasets.poses import POSES
from m2h_mm.datasets.recordings import LAYOUTS
from m2h_mm.datasets.sequence import OURS, SequenceDataset
from m2h_mm.geometry.pinhole import camera_of_view
from m2h_mm.mapping.fusion_kernels import UNKNOWN
from m2h_mm.mapping.trajectory import read_trajectory
from m2h_mm.structures.image_file import IMAGE_SUFFIXES, image_size, read_image
from m2h_mm.system.folders import list_files

_PIPELINE = (dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels'))
PHOTOS = 'photos'


@dataclass
class MapFrame:
    """A frame of a sequence.

    Attributes:
        name: of the frame.
        image: ``(H, W, 3)`` uint8 RGB.
        cam2world: ``(4, 4)``, from the optical frame, metres.
        cam2img: ``(3, 3)`` pixels.
        timestamp: seconds, None where it is not known.
        depth: ``(H, W)`` metres, 0 where not known; None where the frame has none of its own.
        classes: ``(H, W)`` uint8, 255 where not known; None likewise.
    """

    name: str
    image: np.ndarray
    cam2world: np.ndarray
    cam2img: np.ndarray
    timestamp: float | None
    depth: np.ndarray | None = None
    classes: np.ndarray | None = None


class Frames:
    """The frames of a sequence whose poses are known, read one after the other.

    Args:
        folder: of a recording as of 7-Scenes, TUM RGB-D or ScanNet; of walks through rooms, whose
            ``poses.json`` lists the poses; or of photos, with ``poses``.
        poses: of photos, see :func:`~m2h_mm.mapping.trajectory.read_trajectory`.
        layout: name of a layout of :class:`~m2h_mm.datasets.SequenceDataset`, or ``'photos'``.
            Default: by what is in the folder.
        sequence: name of the one to take where there are several, as ``1000000``.
        camera: (fx, fy, cx, cy) in pixels, or of photos their horizontal field of view in degrees.
            Default: the recording's; of photos what they note themselves, else 60 degrees.
        every: take every so manieth frame.

    Attributes:
        layout: the one taken.
        lost: number of frames without a pose, which are left out.
        guessed: whether nothing is known of the camera of photos.
        names: of the classes that frames have of their own; empty if they have none.
        paths: files that are read, for :func:`~m2h_mm.system.outputs.require_free`.

    Raises:
        FileNotFoundError: there are no frames, or no poses.
        ValueError: what cannot be read, an unknown sequence, or no frame with a pose.
    """

    def __init__(
        self,
        folder: str | Path,
        poses: str | Path | None = None,
        layout: str | None = None,
        sequence: str | None = None,
        camera: Sequence[float] | float | None = None,
        every: int = 1,
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f'Frames: there is no folder {folder}.')
        self.layout = layout or self._recognise(poses)
        self.guessed = False
        self.names: Sequence[str] = ()
        self.paths: list[Path] = [self.folder, *([Path(poses)] if poses else [])]
        self._dataset: SequenceDataset | None = None
        if self.layout == PHOTOS:
            self._entries = self._photos(poses, camera)
        else:
            if poses is not None:
                raise ValueError(
                    f'--poses: {folder} is a recording of layout {self.layout!r} with poses of its '
                    'own; take --layout photos to use the images alone.'
                )
            self._entries = self._recorded(sequence, camera)
        known = [entry for entry in self._entries if entry.get('cam2world') is not None]
        self.lost = len(self._entries) - len(known)
        self._entries = known[::every]
        if not known:
            raise ValueError(f'{folder}: none of {self.lost} frames has a pose.')

    def _recognise(self, poses: str | Path | None) -> str:
        if poses is not None:
            return PHOTOS
        if (self.folder / POSES).is_file():
            return OURS
        for name, layout in LAYOUTS.items():
            if (self.folder / layout.marker).exists():
                return name
        raise FileNotFoundError(
            f'{self.folder}: photos need --poses; a recording has '
            + ', or '.join(layout.expected for layout in LAYOUTS.values())
            + f', or {POSES}.'
        )

    def _photos(
        self, poses: str | Path | None, camera: Sequence[float] | float | None
    ) -> list[dict]:
        if poses is None:
            raise ValueError('--poses: photos need a file or a folder of poses.')
        found = list_files(self.folder, IMAGE_SUFFIXES)
        if not found.files:
            raise FileNotFoundError(f'{self.folder}: no image. There are {found.summary()}.')
        stems = [path.stem for path in found.files]
        trajectory = read_trajectory(Path(poses), stems)
        entries = []
        for path, (time, pose) in zip(found.files, trajectory, strict=True):
            size = image_size(path)
            known = camera_of_view(size, camera) if isinstance(camera, Real) else camera
            known = known or camera_of_file(path)
            self.guessed |= known is None
            entry = dict(img_path=path, cam2world=pose, timestamp=time)
            entries.append(dict(entry, camera=known or camera_of_view(size)))
        return entries

    def _recorded(self, sequence: str | None, camera: Sequence[float] | float | None) -> list[dict]:
        if isinstance(camera, Real):
            raise ValueError(
                f'--fov: {self.folder} is a recording whose camera is known; give --intrinsics to '
                'state another.'
            )
        settings: dict[str, Any] = dict(layout=self.layout, pipeline=_PIPELINE, test_mode=True)
        if self.layout == OURS:
            lists = sorted((self.folder / 'gt_sets').glob('*.txt'))
            splits = [path.stem for path in lists] or ['train']
            settings.update(tasks=('depth', 'semseg'), reduce_zero_label=True, check_normals=False)
            self.names = NYU40_CLASSES
        else:
            splits = ['all']
            settings.update(tasks=('depth',), camera=camera)
        found: dict[str, tuple[SequenceDataset, list[int]]] = {}
        for split in splits:
            dataset = SequenceDataset(data_root=self.folder, split=split, **settings)
            for index in range(len(dataset)):
                found.setdefault(dataset.get_data_info(index)['sequence'], (dataset, []))[1].append(
                    index
                )
        if sequence is None and len(found) == 1:
            sequence = next(iter(found))
        if sequence not in found:
            shown = ', '.join(sorted(found)[:8]) + (', ...' if len(found) > 8 else '')
            raise ValueError(f'--sequence: expected one of {shown}; got {sequence!r}.')
        self._dataset, indices = found[sequence]
        return [dict(self._dataset.get_data_info(index), index=index) for index in indices]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[MapFrame]:
        return map(self._read, self._entries)

    def _read(self, entry: dict) -> MapFrame:
        time = entry.get('timestamp')
        if self._dataset is None:
            path, (fx, fy, cx, cy) = entry['img_path'], entry['camera']
            cam2img = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
            return MapFrame(path.stem, read_image(path), entry['cam2world'], cam2img, time)
        sample = self._dataset.prepare_data(entry['index'])
        labels: dict[str, np.ndarray] = {}
        for name, task in self._dataset.tasks.items():
            label = sample.get(task.gt_field)
            if label is not None:
                unknown = UNKNOWN if name == 'semseg' else 0
                labels[name] = np.where(label.valid, label.value, unknown).squeeze()
        classes = labels.get('semseg')
        return MapFrame(
            sample['frame_id'],
            sample['img'],
            entry['cam2world'],
            sample['cam2img'],
            time,
            labels.get('depth'),
            None if classes is None else classes.astype(np.uint8),
        )

"""Data of your own: the names of the files are told, not coded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2h_mm.registry import DATASETS, TASKS
from m2h_mm.structures.image_file import IMAGE_SUFFIXES
from m2h_mm.system.spelling import did_you_mean

from .camera_files import read_camera_file
from .files import LABEL_SUFFIXES
from .frame_files import IMAGES, FrameFiles
from .multitask_dataset import MultiTaskDataset
from .patterns import NamePattern
from .shares import ALL, Parts, divide


@DATASETS.register_module()
class FolderDataset(MultiTaskDataset):
    """Frames in whatever folders and by whatever names they have::

        dict(
            type='FolderDataset',
            data_root='data/mine',
            image='{scene}/rgb/{frame}.jpg',
            labels=dict(semseg='{scene}/masks/{frame}_mask.png', depth='{scene}/depth/{frame}.png'),
            splits=dict(val=0.1, test='kitchen/*'),
            camera='{scene}/intrinsics.txt',
            label_formats=dict(semseg=dict(palette={0: (0, 0, 0), 1: (128, 0, 0)})),
        )

    A frame is what ``{names in braces}`` tell apart; its id joins them by slashes, ``hall/0001``. A
    pattern with one such name fits the files of folders below as well. Patterns of labels have the
    names of the image's. All else is as of :class:`MultiTaskDataset`: labels may be missing, files
    are checked, and ``label_formats`` says how they are read.

    Args:
        data_root: the folder above all files.
        image: pattern of the images, see :class:`~m2h_mm.datasets.patterns.NamePattern`; ``.*`` at
            its end is any suffix.
        labels: task to pattern. A task that is not named has no labels.
        splits: name to a share of the frames (0.1), a list of ids in a file below ``data_root``
            (``'val.txt'``), or a pattern or several of ids (``'kitchen/*'``). The split that is
            asked for and not named here has all frames that no other one has. ``'all'`` is all.
            Shares keep together what belongs together: what has the same first name of several, or
            lies in one folder, so that no scene is in two splits; they have one such group at
            least, and follow from the names alone. Default: the lists ``gt_sets/<split>.txt``.
        camera: (fx, fy, cx, cy) in pixels of all images, or the pattern or path of files that hold
            them: 4 numbers, or a matrix of 3x3 or 4x4, as text, ``.json`` or ``.npy``. Default:
            ``cameras.json``, if there is one.
        split: name of the split.
        **kwargs: of :class:`MultiTaskDataset`.

    Raises:
        FileNotFoundError: no image fits, or a list of a split is missing.
        ValueError: a pattern, split or camera that is none, an empty split.
    """

    how_to_get = 'Set data_root and image to where your images are.'

    def __init__(
        self,
        data_root: str | Path,
        image: str,
        labels: Mapping[str, str] | None = None,
        splits: Parts | None = None,
        camera: Sequence[float] | str | None = None,
        split: str = 'train',
        **kwargs,
    ) -> None:
        self._image = NamePattern(image, 'image')
        self._labels = {
            task: NamePattern(text, f'labels.{task}') for task, text in (labels or {}).items()
        }
        for pattern in self._labels.values():
            if set(pattern.places) != set(self._image.places):
                raise ValueError(
                    f'{pattern.key}={pattern.text!r}: expected the names of image='
                    f'{image!r}, {list(self._image.places)}, got {list(pattern.places)}.'
                )
        if splits is not None and not isinstance(splits, Mapping):
            raise ValueError(f'splits: expected a dict such as dict(val=0.1), got {splits!r}.')
        self._splits, self._camera = splits, camera
        super().__init__(data_root=data_root, split=split, **kwargs)
        # A task that exists is left alone: one setting serves runs of all tasks and of some.
        known = [*self.tasks, *sorted(TASKS.module_dict)]
        for task in self._labels:
            if task not in known:
                raise ValueError(
                    f'labels.{task}: there is no such task; this data set has {list(self.tasks)}.'
                    + did_you_mean(task, known)
                )

    # ---- files

    def find_files(self) -> FrameFiles:
        files = FrameFiles(Path(self.data_root))
        found = self._image.find(files.root, IMAGE_SUFFIXES, files.left_out.append)
        order = sorted(self._image.places)
        ids = {
            values: '/'.join(values[order.index(name)] for name in self._image.places)
            for values in found
        }
        files.images = {ids[values]: path for values, path in found.items()}
        files.labels = {name: {} for name in self.tasks}
        for task, pattern in self._labels.items():
            if task in self.tasks:
                labels = pattern.find(files.root, LABEL_SUFFIXES, files.left_out.append)
                files.labels[task] = {
                    ids.get(values, '/'.join(values)): path for values, path in labels.items()
                }
        return files

    def place_of(self, what: str) -> str:
        if what == IMAGES:
            return str(Path(self.data_root, self._image.text))
        if what in self._labels:
            return str(Path(self.data_root, self._labels[what].text))
        if what in self.tasks:
            return f'labels, which has {list(self._labels)}'
        return super().place_of(what) if self._splits is None else f'splits: {what}'

    def expected_files(self) -> list[tuple[str, str]]:
        return [
            (self._image.text, 'image'),
            *((pattern.text, f'labels.{task}') for task, pattern in self._labels.items()),
        ]

    def read_lists(self, files: FrameFiles, unreadable: list[str]) -> dict[str, list[str]]:
        if self._splits is None:
            return super().read_lists(files, unreadable)
        try:
            return self._divide(files)
        except (ValueError, OSError) as error:
            unreadable.append(str(error))
            return {}

    def read_split(self, files: FrameFiles) -> list[str]:
        if self.split == ALL:
            return sorted(files.images)
        if self._splits is None:
            return super().read_split(files)
        ids = self._divide(files)[self.split]
        if not ids:
            raise ValueError(
                f'split={self.split!r}: none of the {len(files.images)} frames is in it. '
                f'splits={dict(self._splits)!r}; ids are such as {next(iter(files.images))!r}. A '
                'share of few scenes may be empty: name them.'
            )
        return ids

    def _divide(self, files: FrameFiles) -> dict[str, list[str]]:
        groups = {frame_id: self._group(frame_id) for frame_id in files.images}
        named = self.split in (*self._splits, ALL)
        return divide(groups, self._splits, 'train' if named else self.split, files.root)

    def _group(self, frame_id: str) -> str:
        """What stays together in a share."""
        if len(self._image.places) > 1:
            return frame_id.partition('/')[0]
        return frame_id.rpartition('/')[0] or frame_id

    def read_cameras(self, files: FrameFiles) -> dict[str, Sequence[float]]:
        camera = self._camera
        if camera is None:
            return super().read_cameras(files)
        if not isinstance(camera, str):
            return dict.fromkeys(files.images, read_camera_file(camera, 'camera'))
        cache: dict[Path, Sequence[float]] = {}
        cameras = {}
        for frame_id in files.images:
            values = dict(zip(self._image.places, self._values(frame_id), strict=True))
            try:
                path = files.root / camera.format(**values)
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(
                    f'camera={camera!r}: expected a path with names of image, '
                    f'{list(self._image.places)}, or none ({error!r}).'
                ) from None
            if path not in cache and path.is_file():
                cache[path] = read_camera_file(path, f'camera {path}')
            if path in cache:
                cameras[frame_id] = cache[path]
        if not cameras:
            raise FileNotFoundError(
                f'camera={camera!r}: no image has such a file, such as {path}. Leave camera out if '
                'nothing is known.'
            )
        return cameras

    def _values(self, frame_id: str) -> list[str]:
        places = len(self._image.places)
        return [frame_id] if places == 1 else frame_id.split('/', places - 1)

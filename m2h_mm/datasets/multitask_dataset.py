"""Frames with labels for any of the tasks, in one folder per task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from m2h_mm.registry import DATASETS, SCOPE, TRANSFORMS
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.semseg import class_table

from .cameras import read_cameras
from .files import LISTS, read_ids, read_split, require_images
from .frame_files import IMAGES, FrameFiles, find_files
from .frame_report import report_frames, require_some_image, tell_of_names
from .label_formats import state_formats
from .label_look import look_at_first_labels
from .normals_check import require_our_normals
from .orientation import check_exif_labels, fit_frame, warn_of_doubtful
from .samplers import DrawIndex
from .transforms.scaling import warn_of_resize

# Headers are small: the time goes into waiting for the disk, which threads overlap.
HEADER_THREADS = 8


@DATASETS.register_module()
class MultiTaskDataset(BaseDataset):
    """Frames on disk in the layout of NYUD-MT, each file type found by itself::

        <data_root>/
          images/<id>.jpg, .png, ...         any kind of image that is read
          <task folder>/<id>.npy, .png, ...  segmentation, depth, ...: see each task's ``read``
          gt_sets/<split>.txt                one id per line
          cameras.json                       optional: {"<id>": [fx, fy, cx, cy]} in pixels

    Labels are optional: a frame without a label file lacks that task, and a task without a folder
    is a warning. When the data set is built, the headers of all files of the split are checked, and
    a few labels of each task are looked at, see :meth:`Task.inspect`: what is certainly wrong is an
    error, what is doubtful a warning. Where frames have depth, normals and a camera, a few of them
    show whether the normals are in our convention.

    A sample starts its way through the pipeline as a dict with ``img_path``, ``frame_id``,
    ``label_paths`` (task name to path), ``ori_shape`` (H, W), ``cam2img`` (3, 3) float64 in pixels
    (absent where the camera is unknown), ``tasks`` (name to :class:`Task`), and ``rng``, the one
    source of randomness for all transforms. It follows from the draw when the index is a
    :class:`DrawIndex` (see :class:`SeededInfiniteSampler`), else from NumPy's global generator.

    Args:
        data_root: the folder above.
        split: name of the split file.
        tasks: names, or name to arguments, as for the model.
        pipeline: transforms; unprefixed names are m2h_mm's, whatever the default scope.
        reduce_zero_label: the segmentation files hold 0 = void, 1..num_classes; else
            0..num_classes-1, 255 = void. ``label_formats=dict(semseg=dict(first=...))`` says the
            same, and more, and goes before it.
        label_formats: how the files of a task are to be read where that is not what this project
            writes: task to keys and values, such as ``dict(depth=dict(unit='cm'))``; see the
            tasks' :class:`~m2h_mm.tasks.LabelFormat`.
        exif_labels: how labels (and cameras) of photos lie that EXIF says to turn, where their size
            fits both ways: 'displayed', as the photo is shown upright, or 'stored', as its pixels
            stand in the file. Default: as displayed, with a warning. A size that fits one way only
            is recognised in any case, and what lies as it is stored is turned like the image.
        check_normals: refuse normals that agree with the depth in another convention only.
        class_space: segmentation in the classes of another data set: its registered name, such as
            'NYUDDataset', or the names of the classes. ``tasks.semseg.num_classes`` stays the
            number of classes in the files.
        class_map: own class, by name or id, to the name of its class in ``class_space``; classes
            that are not named become void. ``metainfo['classes']`` are then those of
            ``class_space``.
        on_bad_sample: what to do with a frame whose files cannot be read, differ in size or hold
            unknown classes. 'raise': an error, when the data set is built or, at the latest, when
            the frame is drawn. 'skip': training goes on with another frame of this data set, which
            follows from the draw, and the sample's metainfo ``skipped`` tells of it, see
            :class:`BadSamplesHook`. In ``test_mode`` always 'raise'. A frame without a valid label
            pixel is not bad, and NaN in depth or normals is a pixel that was not measured.
        max_refetch: with 'skip', bad frames in a row before it is an error.
        **kwargs: of ``mmengine.dataset.BaseDataset``: ``metainfo``, ``indices``,
            ``serialize_data``, ``test_mode``, ``lazy_init``.

    Raises:
        FileNotFoundError: no data, no split file, or images of the split are missing.
        ValueError: unknown task, empty split, files that are cut off or of different sizes, unknown
            classes, normals in another convention.
    """

    how_to_get = 'Put your frames there, or set data_root to where they are.'

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = ('semseg', 'depth', 'normals', 'edge'),
        pipeline: Sequence[dict | Callable] = (),
        reduce_zero_label: bool = False,
        label_formats: Mapping[str, Mapping] | None = None,
        exif_labels: str | None = None,
        check_normals: bool = True,
        class_space: str | Sequence[str] | None = None,
        class_map: Mapping[str | int, str] | None = None,
        on_bad_sample: str = 'raise',
        max_refetch: int = 10,
        **kwargs,
    ) -> None:
        if on_bad_sample not in ('raise', 'skip'):
            raise ValueError(f"on_bad_sample: expected 'raise' or 'skip', got {on_bad_sample!r}.")
        self.on_bad_sample = on_bad_sample
        check_exif_labels(exif_labels)
        self.exif_labels = exif_labels
        self.split = split
        self.check_normals = check_normals
        metainfo = {**self.METAINFO, **(kwargs.get('metainfo') or {})}
        self.tasks = state_formats(
            build_tasks(tasks), label_formats or {}, reduce_zero_label, metainfo.get('palette')
        )
        transforms = [
            TRANSFORMS.build({'_scope_': SCOPE, **step}) if isinstance(step, Mapping) else step
            for step in pipeline
        ]
        super().__init__(
            data_root=str(data_root),
            data_prefix={},
            pipeline=transforms,
            max_refetch=max_refetch,
            **kwargs,
        )
        if class_space is not None or class_map is not None:
            self._map_classes(class_space, class_map)

    def _map_classes(
        self, space: str | Sequence[str] | None, class_map: Mapping[str | int, str] | None
    ) -> None:
        other = DATASETS.get(space) if isinstance(space, str) else None
        classes = getattr(other, 'METAINFO', {}).get('classes') if isinstance(space, str) else space
        if not classes or not class_map:
            raise ValueError(
                'class_space, class_map: expected both, the first a data set with classes or '
                f'their names; got {space!r} and {class_map!r}.'
            )
        table = class_table(class_map, self._metainfo.get('classes', ()), classes)
        self.tasks = {name: task.with_class_table(table) for name, task in self.tasks.items()}
        self._metainfo['classes'] = tuple(classes)
        self._metainfo.pop('palette', None)

    def default_camera(self, size: tuple[int, int]) -> Sequence[float] | None:
        """``(fx, fy, cx, cy)`` in pixels of a frame of ``size`` (H, W) that ``cameras.json`` does
        not list.
        """
        return None

    # ---- where the files are

    def find_files(self) -> FrameFiles:
        """The files of all frames, whatever the split."""
        return find_files(self.data_root, self.tasks)

    def read_lists(self, files: FrameFiles, unreadable: list[str]) -> dict[str, list[str]]:
        """The frame ids of every split that there is; ``unreadable`` gets what is wrong with the
        others.
        """
        lists = {}
        for path in sorted((files.root / LISTS).glob('*.txt')):
            try:
                if path.is_file():
                    lists[path.stem] = read_ids(path)
            except (ValueError, OSError) as error:
                unreadable.append(str(error))
        return lists

    def read_split(self, files: FrameFiles) -> list[str]:
        """The frame ids of the split, in its order."""
        return read_split(files.root, self.split)

    def read_cameras(self, files: FrameFiles) -> dict[str, Sequence[float]]:
        """Frame id to (fx, fy, cx, cy) in pixels, of the frames whose camera is known."""
        return read_cameras(files.root)

    def place_of(self, what: str) -> str:
        """Where the files of ``'images'``, of a task or of a split are looked for, for messages."""
        root = Path(self.data_root)
        if what in self.tasks:
            return str(root / self.tasks[what].folder)
        return str(root / IMAGES) if what == IMAGES else str(root / LISTS / f'{what}.txt')

    def expected_files(self) -> list[tuple[str, str]]:
        """The files that are expected below ``data_root``, with a remark each."""
        return [
            ('images/<id>.jpg, .png, ...', ''),
            *(
                (f'{task.folder}/<id>.npy, .png, ...', f'optional, task {name}')
                for name, task in self.tasks.items()
            ),
            (f'gt_sets/{self.split}.txt', 'one <id> per line'),
        ]

    # ---- building

    def load_data_list(self) -> list[dict]:
        """One entry per frame of the split, after everything that can be checked without decoding
        was checked.
        """
        files = self.find_files()
        images = files.images
        require_some_image(self, files)
        frame_ids = self.read_split(files)
        require_images(self.place_of(IMAGES), self.split, frame_ids, images, files.left_out)
        cameras = self.read_cameras(files)

        def look_up(frame_id: str) -> dict:
            paths = files.labels_of(frame_id)
            try:
                fitted = fit_frame(images[frame_id], paths, cameras.get(frame_id), self.exif_labels)
            except (ValueError, OSError) as error:
                if not self._skips:
                    raise
                # It stays in the list, so that no other frame's draws depend on it.
                return dict(
                    img_path=str(images[frame_id]),
                    frame_id=frame_id,
                    camera=None,
                    label_paths={},
                    error=str(error),
                )
            return dict(
                fitted,
                img_path=str(images[frame_id]),
                frame_id=frame_id,
                camera=fitted['camera'] or self.default_camera(fitted['ori_shape']),
                label_paths={name: str(path) for name, path in paths.items()},
            )

        with ThreadPoolExecutor(HEADER_THREADS) as pool:
            data_list = list(pool.map(look_up, frame_ids))
        who = f'{type(self).__name__} {self.split}'
        tell_of_names(self, files, cameras, data_list)
        warn_of_doubtful(data_list, who)
        if self.test_mode:
            warn_of_resize(self.pipeline.transforms, who)
        report_frames(self, files, data_list)
        return data_list

    def filter_data(self) -> list[dict]:
        """All frames: mmengine calls this when they are listed, in whatever way. Time to look."""
        frames, who = self.data_list, f'{type(self).__name__} {self.split}'
        look_at_first_labels(frames, self.tasks, who, self._skips)
        if self.check_normals:
            doubt = require_our_normals(frames, self.tasks, Path(self.data_root), self._skips)
            if doubt:
                print_log(f'{who}: {doubt}', 'current', logging.WARNING)
        return super().filter_data()

    @property
    def _skips(self) -> bool:
        return self.on_bad_sample == 'skip' and not self.test_mode

    # ---- samples

    def prepare_data(self, idx: int) -> dict:
        """The sample ``idx`` after the pipeline; where it is bad and bad samples are skipped,
        another one.

        Raises:
            ValueError, OSError: a bad sample; with ``on_bad_sample='skip'``, more than
                ``max_refetch`` in a row.
        """
        rng = (
            idx.generator()
            if isinstance(idx, DrawIndex)
            else np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint32))
        )
        skipped: list[str] = []
        while True:
            try:
                return self.pipeline(self._start(idx, rng, skipped))
            except (ValueError, OSError) as error:
                if not self._skips:
                    raise
                skipped.append(str(error))
                if len(skipped) > self.max_refetch:
                    raise ValueError(
                        f'{type(self).__name__} {self.split}: {len(skipped)} frames in a row are '
                        'bad, which is no accident (on_bad_sample, max_refetch). The last one: '
                        f'{error}'
                    ) from error
            idx = int(rng.integers(len(self)))

    def _start(self, idx: int, rng: np.random.Generator, skipped: Sequence[str]) -> dict:
        """What goes into the pipeline."""
        results = self.get_data_info(idx)
        if 'error' in results:
            raise ValueError(results['error'])
        results.update(tasks=self.tasks, rng=rng)
        if skipped:
            results['skipped'] = tuple(skipped)
        camera = results.pop('camera', None)
        if camera is not None:
            fx, fy, cx, cy = camera
            results['cam2img'] = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
        return results

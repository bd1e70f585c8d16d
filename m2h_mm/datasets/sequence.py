"""Frames of moving cameras, in order of time and with poses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from m2h_mm.registry import DATASETS
from m2h_mm.structures.image_file import image_header
from m2h_mm.system.spelling import did_you_mean
from m2h_mm.tasks.files import array_size

from .multitask_dataset import HEADER_THREADS, MultiTaskDataset
from .poses import POSES, read_poses
from .recordings import LAYOUTS, Recording
from .samplers import DrawIndex
from .transforms.loading import require_size

OURS = 'nyud-mt'


@DATASETS.register_module()
class SequenceDataset(MultiTaskDataset):
    """Sequences of frames: walks through rendered rooms, and recordings of real cameras.

    An item is one frame, as of :class:`MultiTaskDataset`; the frames of a sequence follow each
    other in order of time. What :class:`~m2h_mm.datasets.ClipSampler` draws from it are clips,
    neighbours in time that get the same random transforms. A sample's metainfo has as well:

    - ``sequence``: its name;
    - ``frame_index``: number within the sequence, from 0;
    - ``timestamp``: seconds, where it is known;
    - ``cam2world``: (4, 4) float64, from the camera's optical frame (x right, y down, z forward) to
      a world that is fixed for the sequence, metres, see :mod:`m2h_mm.geometry.pose`. A frame whose
      pose is not known, such as where tracking was lost, has none. Transforms keep it exact: a flip
      mirrors camera and world, a zoom shrinks the world;
    - ``clip``: number of the draw, where the frame was drawn to train on. Only frames of one draw
      had the same transforms, and may be compared.

    Layouts (``layout``), with what their depth and cameras are unless stated otherwise:

    - ``nyud-mt``: ``images/<sequence>/<frame>.png`` and labels and cameras as of
      :class:`MultiTaskDataset`, and ``poses.json``: ``{"<id>": {"timestamp": seconds, "cam2world":
      4x4 numbers or null}}``.
    - ``7scenes``: ``seq-01/frame-000000.color.png``, ``.depth.png`` in mm, where 65535 is no
      measurement, ``.pose.txt``. Camera 585, 585, 320, 240, the published default of the depth
      camera, to which the colour is not registered: labels and image are some pixels apart.
    - ``tum``: ``rgb.txt``, ``depth.txt`` in 1/5000 m, ``groundtruth.txt``. An image gets the depth
      and the pose that are nearest in time, at most 0.02 s apart. Camera as published for
      ``freiburg1``, ``2`` and ``3`` if the folder's name says so, else 525, 525, 319.5, 239.5.
    - ``scannet``: ``color/0.jpg``, ``depth/0.png`` in mm, ``pose/0.txt``, where tracking was lost
      if it holds infinite numbers, ``intrinsic/intrinsic_depth.txt``, else 577.87, 577.87, 319.5,
      239.5. Images are brought to the size of the depth.

    Depth of 0 is no measurement anywhere. Recordings have depth alone of all labels.

    Args:
        data_root: folder of the data: for recordings, that of one, or a folder up to three levels
            above of several.
        layout: one of the names above.
        split: a list: of frame ids, ``gt_sets/<split>.txt`` (``nyud-mt``); of the recordings'
            folders, in a file of that name, or that of the data set: ``TrainSplit.txt`` and
            ``TestSplit.txt`` of 7-Scenes for 'train' and 'val', ``scannetv2_<split>.txt``. 'all':
            every recording below ``data_root``.
        tasks: names, or name to arguments, as for the model.
        pipeline: transforms.
        camera: (fx, fy, cx, cy) in pixels of the depth, in place of the layout's (recordings only).
        label_formats: see :class:`MultiTaskDataset`; goes before what the layout says of its depth.
        **kwargs: of :class:`MultiTaskDataset`.

    Raises:
        FileNotFoundError, ValueError: as of :class:`MultiTaskDataset`; an unknown layout; frames
            that are in no folder of a sequence, or not in order of time; a pose that is none.
    """

    how_to_get = 'Put recordings there, or set data_root and layout to what is there.'

    def __init__(
        self,
        data_root: str | Path,
        layout: str = OURS,
        split: str = 'train',
        tasks: Mapping[str, dict | None] | Sequence[str] = ('semseg', 'depth', 'normals', 'edge'),
        pipeline: Sequence = (),
        camera: Sequence[float] | None = None,
        label_formats: Mapping[str, Mapping] | None = None,
        **kwargs,
    ) -> None:
        if layout != OURS and layout not in LAYOUTS:
            known = (OURS, *LAYOUTS)
            raise ValueError(
                f'layout={layout!r}: expected one of {", ".join(map(repr, known))}.'
                + did_you_mean(layout, known)
            )
        self.layout, self._camera = layout, camera
        label_formats = dict(label_formats or {})
        if layout != OURS:
            of_layout = LAYOUTS[layout].depth_format
            label_formats['depth'] = {**of_layout, **label_formats.get('depth', {})}
        elif camera is not None:
            raise ValueError(f'camera: layout {OURS!r} has its cameras in cameras.json.')
        super().__init__(
            data_root=data_root,
            split=split,
            tasks=tasks,
            pipeline=pipeline,
            label_formats=label_formats,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        frames = self._load_ours() if self.layout == OURS else self._load_recordings()
        last: dict[str, dict] = {}
        for frame in frames:
            before = last.get(frame['sequence'])
            frame['frame_index'] = 0 if before is None else before['frame_index'] + 1
            if before and frame.get('timestamp', 0) < before.get('timestamp', 0):
                raise ValueError(
                    f'frame {frame["frame_id"]!r} is listed after {before["frame_id"]!r}, but was '
                    'taken before it. Expected the frames of a sequence in order of time.'
                )
            if frame.pop('turned', False) and 'cam2world' in frame:
                raise ValueError(
                    f'{frame["img_path"]}: EXIF says to turn this image, but its pose is that of '
                    'the camera as it was held. Remove the orientation from the file.'
                )
            last[frame['sequence']] = frame
        lost = sum('cam2world' not in frame for frame in frames)
        print_log(
            f'{type(self).__name__} {self.split}: {len(last)} sequences; frames without a pose: '
            f'{lost} of {len(frames)}',
            'current',
            logging.WARNING if lost == len(frames) else logging.INFO,
        )
        return frames

    def _load_ours(self) -> list[dict]:
        frames, poses = super().load_data_list(), read_poses(Path(self.data_root))
        for frame in frames:
            frame['sequence'], _, name = frame['frame_id'].rpartition('/')
            if not frame['sequence']:
                raise ValueError(
                    f'frame {name!r} in {self.data_root}: expected <sequence>/<frame>, a folder '
                    'below images/ for each sequence.'
                )
            pose = poses.get(frame['frame_id'])
            if pose is not None:
                frame['timestamp'] = pose.timestamp
                if pose.cam2world is not None:
                    frame['cam2world'] = pose.cam2world
        if not poses:
            print_log(f'{type(self).__name__}: no {POSES} in {self.data_root}', 'current')
        return frames

    def _load_recordings(self) -> list[dict]:
        layout, root = LAYOUTS[self.layout], Path(self.data_root)
        frames = []
        for folder in layout.find(root, self.split):
            recording = layout.read(folder)
            inside = folder.is_relative_to(root) and folder != root
            name = folder.relative_to(root).as_posix() if inside else folder.resolve().name
            with ThreadPoolExecutor(HEADER_THREADS) as pool:
                frames += pool.map(
                    lambda number, name=name, recording=recording: self._entry(
                        name, recording, number
                    ),
                    range(len(recording.frames)),
                )
        return frames

    def _entry(self, name: str, recording: Recording, number: int) -> dict:
        frame = recording.frames[number]
        entry = dict(
            img_path=str(frame.image),
            frame_id=f'{name}/{frame.image.stem}',
            sequence=name,
            timestamp=frame.timestamp,
            camera=tuple(self._camera or recording.camera),
            label_paths={},
        )
        if frame.cam2world is not None:
            entry['cam2world'] = frame.cam2world
        try:
            header = image_header(frame.image)
            entry['ori_shape'], entry['turned'] = header.size, header.orientation != 1
            if frame.depth is not None and 'depth' in self.tasks:
                entry['label_paths']['depth'] = str(frame.depth)
                size = array_size(frame.depth)
                if self.layout == 'scannet':
                    entry['ori_shape'] = entry['load_shape'] = size
                else:
                    require_size('depth', frame.depth, size, frame.image, header.size)
        except (ValueError, OSError) as error:
            if not self._skips:
                raise
            entry['error'] = str(error)
        return entry

    def clips(self, length: int, stride: int = 1) -> np.ndarray:
        """(C, length) int: the indices of all clips of frames ``stride`` apart in one sequence.

        Raises:
            ValueError: there is none.
        """
        self.full_init()
        infos = map(self.get_data_info, range(len(self)))
        places = {(info['sequence'], info['frame_index']): i for i, info in enumerate(infos)}
        clips = [
            [places.get((sequence, first + step * stride)) for step in range(length)]
            for sequence, first in places
        ]
        clips = [clip for clip in clips if None not in clip]
        if not clips:
            longest = max(frame for _, frame in places) + 1
            raise ValueError(
                f'clip_length={length}, stride={stride}: no sequence of {self.data_root} is that '
                f'long; the longest has {longest} frames.'
            )
        return np.array(clips)

    def _start(self, idx: int, rng: np.random.Generator, skipped: Sequence[str]) -> dict:
        results = super()._start(idx, rng, skipped)
        # What stands in for a bad frame is drawn anew, and its index is a plain one.
        if isinstance(idx, DrawIndex):
            results['clip'] = idx.draw
        return results

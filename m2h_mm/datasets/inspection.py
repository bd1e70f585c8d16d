"""Inspection of all files of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from m2h_mm.geometry.pinhole import check_camera
from m2h_mm.structures import Label
from m2h_mm.structures.image_file import image_header
from m2h_mm.system import available_cores
from m2h_mm.tasks.files import array_size

from .frame_files import IMAGES
from .label_look import look_at_label, share
from .multitask_dataset import MultiTaskDataset
from .normals_check import require_our_normals
from .orientation import doubt, is_doubtful, label_turn, turn_camera
from .sequence import OURS
from .transforms.loading import LoadMultiTaskImage
from .transforms.packing import to_tensor


class Finding(NamedTuple):
    """One thing that is wrong.

    Args:
        kind: what, the same words for the same thing.
        item: the file or frame, and details.
        fatal: training fails on it.
    """

    kind: str
    item: str
    fatal: bool = False


@dataclass
class Totals:
    """Sums over the labels of one task in one split.

    Attributes:
        labels: number of labels that can be used.
        pixels, valid: their pixels, and how many of them count.
        statistics: sum of :meth:`Task.label_statistics`.
    """

    labels: int = 0
    pixels: int = 0
    valid: int = 0
    statistics: Tensor | int = 0

    def __iadd__(self, other: Totals) -> Totals:
        self.labels += other.labels
        self.pixels += other.pixels
        self.valid += other.valid
        self.statistics = self.statistics + other.statistics
        return self


@dataclass
class Inspection:
    """What was found.

    Attributes:
        frames: split to its number of frames.
        totals: split to task to sums.
        classes: task to the names of its classes, of tasks that have some.
        findings: all that is wrong.
    """

    frames: dict[str, int] = field(default_factory=dict)
    totals: dict[str, dict[str, Totals]] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_fatal(self) -> bool:
        return any(finding.fatal for finding in self.findings)


class _Frame(NamedTuple):
    """What one frame's files hold: the data set's entry of it, as far as its files are intact, and
    sums by task.
    """

    data: dict
    totals: dict[str, Totals]
    findings: list[Finding]


def inspect_dataset(
    dataset: MultiTaskDataset,
    splits: Sequence[str],
    track: Callable[[Iterator, int], Iterator] = lambda frames, total: frames,
) -> Inspection:
    """Decode all files of some splits and list all that is wrong, not the first only.

    Args:
        dataset: the data set, built with ``lazy_init=True``: it says where the files are and how
            they are read.
        splits: names of the lists to look at.
        track: wraps the iterator over the frames, of which there are ``total``, for a progress bar.

    Raises:
        ValueError: recordings in a layout of their own.
    """
    layout = getattr(dataset, 'layout', OURS)
    if layout != OURS:
        raise ValueError(
            f'layout={layout!r}: only data sets in the layout of NYUD-MT are inspected. A '
            f'{type(dataset).__name__} looks at all headers of its files when it is built.'
        )
    root = Path(dataset.data_root)
    files = dataset.find_files()
    images, labels = files.images, files.labels
    unreadable: list[str] = []
    lists = dataset.read_lists(files, unreadable)
    splits_of: dict[str, list[str]] = {}
    for split in splits:
        for frame_id in dict.fromkeys(lists.get(split, ())):
            splits_of.setdefault(frame_id, []).append(split)
    report = Inspection(
        frames={split: len(set(lists.get(split, ()))) for split in splits},
        totals={split: {name: Totals() for name in dataset.tasks} for split in splits},
        classes={
            name: classes
            for name, task in dataset.tasks.items()
            if (classes := task.class_names(dataset.metainfo))
        },
        findings=[
            *(Finding('list of frames that cannot be read', line, True) for line in unreadable),
            *_check_names(dataset, images, labels, lists, splits),
            *(Finding('files and folders that are left out', line) for line in files.left_out),
        ],
    )
    cameras: Mapping[str, Sequence[float]] = {}
    try:
        cameras = dataset.read_cameras(files)
    except (ValueError, FileNotFoundError) as error:
        report.findings.append(Finding('cameras that cannot be used', str(error), True))
    for frame_id in sorted(cameras.keys() - images.keys()):
        report.findings.append(Finding('camera without an image', frame_id))

    def look_at(frame_id: str) -> _Frame:
        paths = files.labels_of(frame_id)
        return _inspect_frame(dataset, frame_id, images.get(frame_id), paths, cameras.get(frame_id))

    intact = []
    with ThreadPoolExecutor(available_cores()) as pool:
        for frame in track(pool.map(look_at, splits_of), len(splits_of)):
            report.findings += frame.findings
            intact.append(frame.data)
            for split in splits_of[frame.data['frame_id']]:
                for name, totals in frame.totals.items():
                    report.totals[split][name] += totals
    for split in splits if dataset.check_normals else ():
        frames = [data for data in intact if split in splits_of[data['frame_id']]]
        try:
            doubt = require_our_normals(frames, dataset.tasks, root)
        except ValueError as error:
            report.findings.append(
                Finding(f'normals of {split} in another convention', str(error), True)
            )
        else:
            if doubt:
                report.findings.append(Finding(f'normals of {split} unlike the depth', doubt))
    report.findings += _check_classes(report)
    return report


def _check_names(
    dataset: MultiTaskDataset,
    images: Mapping[str, Path],
    labels: Mapping[str, Mapping[str, Path]],
    lists: Mapping[str, Sequence[str]],
    splits: Sequence[str],
) -> Iterator[Finding]:
    """What the lists and the names of the files tell."""
    if not images:
        yield Finding('there are no images', dataset.place_of(IMAGES), True)
    splits_of: dict[str, list[str]] = {}
    for split, ids in lists.items():
        for frame_id in dict.fromkeys(ids):
            splits_of.setdefault(frame_id, []).append(split)
    for frame_id, its_splits in splits_of.items():
        if len(its_splits) > 1:
            yield Finding('in more than one split', f'{frame_id}: {", ".join(its_splits)}')
    for frame_id in sorted(images.keys() - splits_of.keys()):
        yield Finding('image that is in no list', str(images[frame_id]))
    for name, found in labels.items():
        for frame_id in sorted(found.keys() - images.keys()):
            yield Finding(f'{name} label without an image', str(found[frame_id]))
    for split in splits:
        counts = Counter(lists.get(split, ()))
        if not counts:
            yield Finding(
                'list of frames that is missing or empty',
                dataset.place_of(split),
                True,
            )
            continue
        for frame_id, count in counts.items():
            if count > 1:
                yield Finding(f'more than once in {split}', frame_id)
            if images and frame_id not in images:
                yield Finding(f'frame of {split} without an image', frame_id, True)
            if not any(frame_id in found for found in labels.values()):
                yield Finding(f'frame of {split} without any label', frame_id)
        for name, found in labels.items():
            missing = [frame_id for frame_id in counts if frame_id not in found]
            if len(missing) == len(counts):
                yield Finding(f'no frame of {split} has a label', name)
                continue
            yield from (
                Finding(f'frame of {split} without a {name} label', frame_id)
                for frame_id in missing
            )


def _inspect_frame(
    dataset: MultiTaskDataset,
    frame_id: str,
    image: Path | None,
    labels: Mapping[str, Path],
    camera: Sequence[float] | None,
) -> _Frame:
    findings, totals, intact, turns, size = [], {}, {}, {}, None
    if image is not None:
        try:
            header = image_header(image)
            size = LoadMultiTaskImage()(dict(img_path=str(image)))['ori_shape']
            if labels and is_doubtful(header, dataset.exif_labels):
                findings.append(Finding('labels of a photo that EXIF turns', doubt([image])))
        except (ValueError, OSError) as error:
            findings.append(Finding('image that cannot be read', str(error), True))
    for name, path in labels.items():
        task = dataset.tasks[name]
        try:
            if size is None:
                array_size(path)
            elif (turn := label_turn(name, path, image, header, dataset.exif_labels)) != 1:
                turns[name] = turn
            looked = look_at_label(dict(label_paths={name: str(path)}), task)
        except (ValueError, OSError) as error:
            findings.append(Finding(f'{name} label that cannot be used', str(error), True))
            continue
        intact[name] = str(path)
        findings += [
            Finding(f'{name} label: {seen}', f'{path}: {share(seen)} of the pixels', seen.certain)
            for seen in looked.doubts
        ]
        label = looked.label
        packed = Label(to_tensor(label.value), to_tensor(label.valid))
        counted = task.truth(packed).valid
        totals[name] = Totals(1, counted.numel(), int(counted.sum()), task.label_statistics(packed))
    if size is not None:
        if camera is None:
            camera = dataset.default_camera(size)
        else:
            camera = turn_camera(camera, header, dataset.exif_labels)
            findings += _check_camera(frame_id, camera, size)
    data = dict(frame_id=frame_id, camera=camera, label_paths=intact, label_turns=turns)
    return _Frame(data, totals, findings)


def _check_camera(
    frame_id: str, camera: Sequence[float], size: tuple[int, int]
) -> Iterator[Finding]:
    try:
        doubt = check_camera(*camera, size)
    except ValueError as error:
        yield Finding('camera that cannot be used', f'{frame_id}: {error}', True)
    else:
        if doubt is not None:
            yield Finding('camera that is doubtful', f'{frame_id}: {doubt}')


def _check_classes(report: Inspection) -> Iterator[Finding]:
    for split, totals in report.totals.items():
        for name, classes in report.classes.items():
            if totals[name].labels:
                counts = totals[name].statistics[: len(classes)]
                for index in torch.nonzero(counts == 0).flatten().tolist():
                    yield Finding(f'class of {name} that never occurs in {split}', classes[index])

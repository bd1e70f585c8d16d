"""What is fuzzed of a data set: images, labels, lists of frames and cameras."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_guard import REPOSITORY, Attempt, Implausible
from fuzz_mutate import NAMES, ODD, mutate_bytes, mutate_tree, pick, to_json
from fuzz_seeds import SIZE, good_images, good_labels
from mmengine.registry import init_default_scope

from m2h_mm.datasets import MultiTaskDataset
from m2h_mm.datasets.cameras import read_cameras
from m2h_mm.datasets.files import read_ids
from m2h_mm.datasets.label_formats import state_formats
from m2h_mm.structures import Label
from m2h_mm.structures.image_file import IMAGE_SUFFIXES, image_header, read_image
from m2h_mm.system.paths import path_inside
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.files import array_size

TASKS = dict(
    semseg=dict(num_classes=5), depth={}, normals={}, edge={}, disparity={}, saliency={},
    human_parts={},
)  # fmt: skip
# What can be stated of files, and is good in most of them.
FORMATS = dict(
    semseg=[dict(first=1), dict(void=[4, 255]), dict(ids=[0, 1, 2, 3, 7]), dict(ids={0: 1, 3: 2})],
    depth=[dict(unit='mm'), dict(unit='1/5000', invalid=[0, 65535]), dict(unit='10/255')],
    normals=[dict(range=[0, 1]), dict(convention='x,-y,-z'), dict(range=[0, 255], invalid=255)],
    edge=[dict(void=128), dict(yes=255), dict(yes=0, no=255)],
    disparity=[dict(unit='1/256', offset=1), dict(unit='px')],
    saliency=[dict(yes=255), dict(void=128)],
    human_parts=[],
)
# Pillow takes 179 million pixels of any file, however short.
PICTURE_BYTES = 2**30
DTYPES = (np.uint8, np.int16, np.int32, np.uint16, np.int64, np.float32, np.float64, bool)


def run_onnx() -> Any:
    """The module of ``tools/deployment/run_onnx.py``, which is in no package."""
    path = REPOSITORY / 'tools' / 'deployment' / 'run_onnx.py'
    spec = importlib.util.spec_from_file_location('run_onnx', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Images:
    """Image files, by all readers there are."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.good, self.runner = folder, good_images(), run_onnx()

    def make(self, rng: np.random.Generator) -> Attempt:
        path = self.folder / f'0{pick(rng, IMAGE_SUFFIXES)}'
        path.write_bytes(mutate_bytes(rng, pick(rng, self.good), self.good))
        sizes = {}

        def read() -> None:
            pixels = read_image(path)
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                raise Implausible(f'{pixels.dtype} {pixels.shape}')
            sizes['read_image'] = pixels.shape[:2]

        def header() -> None:
            sizes['image_header'] = image_header(path).size
            compare()

        def runner() -> None:
            sizes['run_onnx'] = self.runner.read_image(path).size[::-1]
            compare()

        def compare() -> None:
            if len(set(sizes.values())) > 1:
                raise Implausible(f'the readers disagree: {sizes}')
            if 'read_image' in sizes and len(sizes) < 2:
                raise Implausible('the header is refused and the image is read')

        calls = dict(read_image=read, image_header=header, run_onnx=runner)
        calls['bytes'] = lambda: read_image(path.read_bytes())
        # The main() of run_onnx names the file.
        names = [path.name, 'The image', 'not an image']
        return Attempt(calls, names, [path], memory=PICTURE_BYTES)


class Labels:
    """Label files of all tasks, as labels and as predictions, and what is stated of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.good, self.tasks = folder, good_labels(), build_tasks(TASKS)
        self.others = [data for files in self.good.values() for _, data in files]

    def make(self, rng: np.random.Generator) -> Attempt:
        name = pick(rng, list(TASKS))
        suffix, data = pick(rng, self.good[name])
        task, formats = self.tasks[name], FORMATS[name]
        if rng.random() < 0.15:
            suffix, data = '.npy', _odd_array(rng)
        elif rng.random() < 0.95:
            data = mutate_bytes(rng, data, self.others)
        if rng.random() < 0.1:
            suffix = pick(rng, ('.png', '.npy', '.mat', '.jpg', '.PNG', '.txt', ''))
        path = self.folder / f'0{suffix}'
        path.write_bytes(data)
        if formats and rng.random() < 0.15:
            settings, note = mutate_tree(rng, pick(rng, formats))
            stated = {name: settings}
            call = dict(format=lambda: _look(state_formats({name: task}, stated)[name], path))
            return Attempt(call, [path.name, f'{name}.', f'{name}:'], [path], note)
        stated = pick(rng, formats) if formats and rng.random() < 0.3 else {}
        calls = dict(
            read=lambda: _look(task.with_format(**stated), path),
            prediction=lambda: _predicted(task.for_predictions(**stated), path),
            size=lambda: array_size(path),
        )
        return Attempt(calls, [path.name, f'{name}.'], [path], f'{name} {stated}')


def _odd_array(rng: np.random.Generator) -> bytes:
    """Numbers that no label has, in a sound file."""
    shape = pick(
        rng, (SIZE, (*SIZE, 3), (1, *SIZE), SIZE[:1], (), (0, 3), (*SIZE, 4), (2, 2, 2, 2))
    )
    array = np.zeros(shape, pick(rng, (*DTYPES, np.complex64, 'datetime64[s]', 'U3', '>f4', 'f2')))
    if array.dtype.kind in 'fiu' and array.size:
        limit = 1e308 if array.dtype.kind == 'f' else np.iinfo(array.dtype).max
        with np.errstate(all='ignore'):
            values = np.array([0, 1, 255, 65504, -1, 1e10, math.nan, math.inf, limit, -limit, 0.5])
            if array.dtype.kind != 'f':
                values = np.nan_to_num(values).clip(np.iinfo(array.dtype).min, limit)
            array.flat[:] = rng.choice(values[: int(rng.integers(1, 12))], array.size)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _look(task: Any, path: Path) -> None:
    label = task.read(path)
    if not isinstance(label, Label) or label.valid.dtype != bool:
        raise Implausible(f'{type(label).__name__}, valid {label.valid.dtype}')
    if label.value.dtype not in DTYPES or label.value.shape[:2] != label.valid.shape:
        raise Implausible(f'{label.value.dtype} {label.value.shape}, valid {label.valid.shape}')
    if not np.isfinite(label.value).all():
        raise Implausible('the label holds numbers that are not finite')
    for doubt in task.inspect(path, label):
        if doubt.pixels.shape != label.valid.shape:
            raise Implausible(f'doubt {doubt.what!r} concerns {doubt.pixels.shape}')
    task.explain([path], [label])


def _predicted(task: Any, path: Path) -> None:
    values = task.read_prediction(path)
    task.look_at_predictions([path])
    if not np.isfinite(values).all() or values.ndim not in (2, 3):
        raise Implausible(f'a prediction {values.dtype} {values.shape}, or not finite')


class DataRoot:
    """A small data set on disk, in which one file at a time is replaced."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / 'data'
        images, labels = good_images(), good_labels()
        self.files = {
            'images/0.png': images[0], 'images/a/1.png': images[0], 'images/2.png': images[0],
            'segmentation/0.png': dict(labels['semseg'])['.png'],
            'depth/a/1.npy': dict(labels['depth'])['.npy'],
            'normals/0.npy': dict(labels['normals'])['.npy'],
            'gt_sets/train.txt': b'0\na/1\n2\n',
            'cameras.json': b'{"0": [30.0, 30, 13.5, 9.5], "a/1": [30, 30, 13, 9]}',
        }  # fmt: skip
        shutil.rmtree(self.root, ignore_errors=True)
        for name, data in self.files.items():
            self.write(name, data)
        self.last: str | None = None
        self.others = [*self.files.values(), *images]
        init_default_scope('m2h_mm')

    def write(self, name: str, data: bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def replace(self, name: str, data: bytes) -> Path:
        """Another content for one file; what was replaced before is good again."""
        if self.last is not None:
            self.write(self.last, self.files[self.last])
        self.last = name
        return self.write(name, data)

    def build(self, skip: bool = False) -> None:
        dataset = MultiTaskDataset(
            self.root,
            tasks={name: TASKS[name] for name in ('semseg', 'depth', 'normals')},
            on_bad_sample='skip' if skip else 'raise',
            lazy_init=False,
        )
        for index in range(min(len(dataset), 5)):
            found = dataset.get_data_info(index)
            for path in (found['img_path'], *found['label_paths'].values()):
                if self.root.resolve() not in Path(path).resolve().parents:
                    raise Implausible(f'{path} lies outside')


class Lists(DataRoot):
    """Lists of frames, and data sets in which one file is damaged."""

    def make(self, rng: np.random.Generator) -> Attempt:
        name = 'gt_sets/train.txt'
        if rng.random() < 0.3:
            name = pick(rng, [each for each in self.files if each != 'cameras.json'])
            data = mutate_bytes(rng, self.files[name], self.others)
        elif rng.random() < 0.4:
            data = mutate_bytes(rng, self.files[name], self.others)
        else:
            lines = [pick(rng, ('0', 'a/1', '2', *NAMES)) for _ in range(int(rng.integers(1, 5)))]
            text = pick(rng, ('\n', '\r\n', '\r', '\n\n')).join(lines)
            data = text.encode(
                pick(rng, ('utf-8', 'utf-8', 'utf-8-sig', 'utf-16')), 'surrogatepass'
            )
        path, skip = self.replace(name, data), bool(rng.random() < 0.3)

        def inside() -> None:
            for line in read_ids(path):
                found = path_inside(self.root / 'images', line)
                if (self.root / 'images').resolve() not in found.resolve().parents:
                    raise Implausible(f'{line!r} leads to {found}')

        calls = dict(build=lambda: self.build(skip))
        if name.endswith('.txt'):
            calls['path_inside'] = inside
        return Attempt(calls, [path.name, 'train', '0000'], [path], f'skip={skip}')


class Cameras(DataRoot):
    """``cameras.json``."""

    def make(self, rng: np.random.Generator) -> Attempt:
        content = json.loads(self.files['cameras.json'])
        if rng.random() < 0.35:
            data = mutate_bytes(rng, self.files['cameras.json'], self.others)
        else:
            if rng.random() < 0.3:
                content['0'] = [pick(rng, (*ODD, 30)) for _ in range(int(rng.integers(1, 6)))]
            data = to_json(rng, mutate_tree(rng, content)[0])
        path = self.replace('cameras.json', data)

        def read() -> None:
            for frame_id, camera in read_cameras(self.root).items():
                if len(camera) != 4 or not all(map(math.isfinite, camera)) or min(camera[:2]) <= 0:
                    raise Implausible(f'{frame_id!r}: {camera}')

        calls: Mapping = dict(read=read)
        if rng.random() < 0.5:
            calls['build'] = self.build
        return Attempt(calls, [path.name], [path])

"""From images to maps, pictures and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from m2h_mm.inference.images import list_images, read_image
from m2h_mm.inference.loading import class_names, load_model
from m2h_mm.models.building import require_tasks
from m2h_mm.registry import INFERENCERS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.visualization import MultiTaskVisualizer, save_picture

DTYPES = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)
MAX_INPUT_PIXELS = 2**21
# Scores of 40 classes in float32 take 160 bytes a pixel: beyond this, finished maps are enlarged
# instead.
MAX_OUTPUT_PIXELS = 2**23
NATIVE, FIT = 'native', 'fit'
Size = str | tuple[int, int]


@dataclass
class Prediction:
    """What became of one image.

    Attributes:
        name: of its files, unique within a call.
        image: ``(H, W, 3)`` uint8 RGB, upright.
        maps: task to prediction at the image's own size, aligned with it: ``semseg`` ``(H, W)``
            class ids from 0; ``depth`` ``(H, W)`` metres along the optical axis; ``normals`` ``(H,
            W, 3)`` unit vectors, x right, y up, z toward the camera; ``edge`` ``(H, W)``
            probabilities.
        error: why there are no maps; None if all is well.
        sample: the model's own output.
    """

    name: str
    image: np.ndarray | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    error: str | None = None
    sample: MultiTaskDataSample | None = None


@INFERENCERS.register_module()
class M2HInferencer(BaseInferencer):
    """Runs a trained model on images.

    ::

        inferencer = M2HInferencer('m2h_vits_nyud', 'work_dirs/m2h_vits_nyud/iter_40000.pth')
        depth = inferencer('room.jpg', tasks=['depth'])['predictions'][0]['depth']      # (H, W) metres
        inferencer('photos/', out_dir='results')                                        # pictures and maps as files

    Args:
        model: name or path of a config, or a config. May be left out for the authors' own M2H
            checkpoints, whose architecture is recognised.
        weights: a checkpoint. It is never unpickled beyond tensors.
        device: 'cpu', 'cuda', 'cuda:1', ... Default: a GPU where there is one.
        show_progress: show a progress bar. Default: True.
        compile: compile the network for each size and number of images that it meets, on a GPU with
            CUDA graphs. The first call of each takes a minute or more: for videos and for many
                images of one size. Default: False.

    Raises:
        FileNotFoundError, ValueError: see :func:`~m2h_mm.inference.loading.load_model`.
    """

    def __init__(
        self,
        model: str | Path | Config | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        show_progress: bool = True,
        compile: bool = False,
    ) -> None:
        if weights is None:
            raise ValueError('M2HInferencer: expected weights, the file of a checkpoint.')
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.model, self.cfg = load_model(model, weights)
        self.model.to(device, memory_format=torch.channels_last)
        self.model.channels_last = True
        self.device = torch.device(device)
        if compile:
            self.model.run_network = torch.compile(
                self.model.run_network,
                dynamic=False,
                mode='reduce-overhead' if self.device.type == 'cuda' else None,
            )
        self.pipeline = self._init_pipeline(self.cfg)
        self.tasks = self.model.tasks
        self.show_progress = show_progress
        semseg = self.tasks.get('semseg')
        self.classes = class_names(self.cfg, semseg.num_classes) if semseg else ()
        self.visualizer = MultiTaskVisualizer(name='inferencer')

    def __call__(
        self,
        inputs: Any,
        tasks: Sequence[str] | None = None,
        size: Size = NATIVE,
        dtype: str = 'fp32',
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        return_vis: bool = False,
        return_datasamples: bool = False,
        return_predictions: bool | None = None,
    ) -> dict[str, Any]:
        """Predict, and write what was asked for.

        Args:
            inputs: an image (file, bytes or array, see
                :func:`~m2h_mm.inference.images.read_image`), a folder, a glob, or a sequence of
                images.
            tasks: those wanted; what only others need is not computed. Default: all of the model.
            size: at which the network sees an image: ``'native'``, its own, padded to multiples of
                the network's stride (shrunk first beyond 2 megapixels); ``'fit'``, resized to the
                nearest multiples, without padding; or ``(H, W)`` in pixels. The maps have the
                image's own size in any case.
            dtype: ``'fp32'``, ``'bf16'`` or ``'fp16'``; the weights stay in float32.
            batch_size: images at a time; only images of one size go together.
            out_dir: folder for ``pictures/<name>.png``, all tasks side by side, and
                ``<task>/<name>`` with the suffix of the task, as ``tools/test.py --save-preds``
                    writes them. Default: none, nothing is written.
            return_vis: also return the pictures.
            return_datasamples: return :class:`MultiTaskDataSample` instead of dicts of arrays.
            return_predictions: collect the maps. Default: unless there is an ``out_dir``, so that
                any number of images can be processed.

        Returns:
            ``predictions``: one dict of maps per image (None for an image that failed), units as in
            :class:`Prediction`; ``visualization``: the pictures; ``failed``: name to reason. One
            image alone raises instead.

        Raises:
            FileNotFoundError: there is no such input.
            ValueError: unknown tasks, size or dtype; the one image cannot be read.
        """
        images = self.list_inputs(inputs)
        keep = out_dir is None if return_predictions is None else return_predictions
        kept, pictures, failed = [], [], {}
        columns = (
            TextColumn('Predicting'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, disable=not self.show_progress) as progress:
            bar = progress.add_task('', total=len(images))
            for prediction in self.stream(images, tasks, size, dtype, batch_size):
                if prediction.error is not None:
                    if len(images) == 1:
                        raise ValueError(prediction.error)
                    failed[prediction.name] = prediction.error
                elif out_dir is not None:
                    self.write(prediction, out_dir)
                if keep:
                    kept.append(prediction)
                if return_vis:
                    pictures += self.visualize([], [prediction])
                progress.advance(bar)
        return {**self.postprocess(kept, pictures, return_datasamples), 'failed': failed}

    def _init_pipeline(self, cfg: Config) -> Callable[[Any], np.ndarray]:
        return read_image

    def visualize(self, inputs: list, preds: Sequence[Prediction]) -> list[np.ndarray | None]:
        """A picture of each prediction, None where there is none."""
        return [None if prediction.error else self.draw(prediction) for prediction in preds]

    def postprocess(
        self, preds: Sequence[Prediction], visualization: list, return_datasamples: bool = False
    ) -> dict[str, Any]:
        """What a call returns."""
        predictions = [
            None
            if prediction.error
            else prediction.sample
            if return_datasamples
            else prediction.maps
            for prediction in preds
        ]
        return dict(predictions=predictions, visualization=visualization)

    def list_inputs(self, inputs: Any) -> list[tuple[str, Any]]:
        """Name and source of each image; a name is the stem of the file, or its number."""
        if isinstance(inputs, (str, Path)):
            inputs = list_images(inputs)
        elif isinstance(inputs, (bytes, np.ndarray)):
            inputs = [inputs]
        named, taken = [], set()
        for index, source in enumerate(inputs):
            name = Path(source).stem if isinstance(source, (str, Path)) else f'{index:06d}'
            if name in taken:
                name = f'{name}_{index:06d}'
            taken.add(name)
            named.append((name, source))
        return named

    def stream(
        self,
        images: Iterable[tuple[str, Any]],
        tasks: Sequence[str] | None = None,
        size: Size = NATIVE,
        dtype: str = 'fp32',
        batch_size: int = 1,
    ) -> Iterator[Prediction]:
        """Predictions one after the other, in order, for any number of images.

        Args:
            images: name and source of each.
            tasks, size, dtype, batch_size: see :meth:`__call__`.

        Raises:
            ValueError: unknown tasks, size or dtype. An image that cannot be read yields a
                prediction with an ``error`` instead.
        """
        if tasks is not None:
            require_tasks('tasks', tasks, tuple(self.tasks))
        if dtype not in DTYPES:
            raise ValueError(f'dtype: expected one of {list(DTYPES)}, got {dtype!r}.')
        if batch_size < 1:
            raise ValueError(f'batch_size: expected 1 or more, got {batch_size}.')
        _check_size(size)
        return self._stream(images, tasks, size, dtype, batch_size)

    def _stream(
        self,
        images: Iterable[tuple[str, Any]],
        tasks: Sequence[str] | None,
        size: Size,
        dtype: str,
        batch_size: int,
    ) -> Iterator[Prediction]:
        batch: list[Prediction] = []
        for name, source in images:
            try:
                prediction = Prediction(name, self.pipeline(source))
            except (ValueError, OSError) as error:
                prediction = Prediction(name, error=str(error))
            same_size = (
                prediction.image is not None
                and batch
                and prediction.image.shape == batch[0].image.shape
            )
            if batch and (not same_size or len(batch) == batch_size):
                yield from self._predict(batch, tasks, size, dtype)
                batch = []
            if prediction.error is None:
                batch.append(prediction)
            else:
                yield prediction
        if batch:
            yield from self._predict(batch, tasks, size, dtype)

    def _predict(
        self, batch: list[Prediction], tasks: Sequence[str] | None, size: Size, dtype: str
    ) -> list[Prediction]:
        divisor = getattr(self.model.data_preprocessor, 'size_divisor', 1)
        shape = batch[0].image.shape[:2]
        target, output = input_size(shape, size, divisor), limit_pixels(shape, MAX_OUTPUT_PIXELS)
        samples, inputs = [], []
        for prediction in batch:
            image = prediction.image
            if target != shape:
                shrinks = target[0] * target[1] < shape[0] * shape[1]
                image = cv2.resize(
                    image,
                    target[::-1],
                    interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
                )
            inputs.append(torch.from_numpy(image).permute(2, 0, 1))
            samples.append(
                MultiTaskDataSample(
                    metainfo=dict(frame_id=prediction.name, ori_shape=output, img_shape=target)
                )
            )
        data = self.model.data_preprocessor(dict(inputs=inputs, data_samples=samples))
        autocast = (
            nullcontext()
            if DTYPES[dtype] is None
            else torch.autocast(self.device.type, DTYPES[dtype])
        )
        with torch.inference_mode(), autocast:
            samples = self.model(**data, mode='predict', tasks=tasks)
        for prediction, sample in zip(batch, samples, strict=True):
            prediction.sample = sample.cpu()
            for name, task in self.tasks.items():
                if task.pred_field in sample:
                    map = as_map(sample.get(task.pred_field).data)
                    prediction.maps[name] = (
                        map if map.shape[:2] == shape else task.resize(map, shape)
                    )
        return batch

    def draw(self, prediction: Prediction) -> np.ndarray:
        """The image and its predictions side by side, with keys to the colours: ``(H', W', 3)``
        uint8 RGB.
        """
        tasks = {name: self.tasks[name] for name in prediction.maps}
        return self.visualizer.draw_frame(
            prediction.image, prediction.sample, tasks, self.classes, draw_gt=False
        )

    def write(self, prediction: Prediction, out_dir: str | Path) -> None:
        """Write the picture and the maps of a prediction below ``out_dir``."""
        save_picture(self.draw(prediction), Path(out_dir) / 'pictures' / f'{prediction.name}.png')
        self.write_maps(prediction, out_dir)

    def write_maps(self, prediction: Prediction, out_dir: str | Path) -> None:
        """Write the maps of a prediction below ``out_dir``: ``<task>/<name>`` with the suffix of
        the task.
        """
        for name, map in prediction.maps.items():
            task = self.tasks[name]
            task.write_prediction(
                map, Path(out_dir) / name / f'{prediction.name}{task.prediction_suffix}'
            )


def input_size(shape: tuple[int, int], size: Size, divisor: int) -> tuple[int, int]:
    """``(H, W)`` at which the network sees an image of ``shape``, before padding: ``size`` of the
    call.
    """
    if not isinstance(size, str):
        return tuple(size)
    return limit_pixels(shape, MAX_INPUT_PIXELS, divisor if size == FIT else 1)


def limit_pixels(shape: tuple[int, int], most: int, step: int = 1) -> tuple[int, int]:
    """``shape``, in proportion down to about ``most`` pixels if it has more, as multiples of
    ``step``.
    """
    shrink = min(1.0, (most / (shape[0] * shape[1])) ** 0.5)
    height, width = (max(step, round(length * shrink / step) * step) for length in shape)
    # The shorter side of a thin strip cannot shrink: the longer one does.
    longest = max(step, most // min(height, width) // step * step)
    return min(height, longest), min(width, longest)


def as_map(data: torch.Tensor) -> np.ndarray:
    """``(C, H, W)`` as ``(H, W)`` or ``(H, W, C)``."""
    array = (data.float() if data.is_floating_point() else data).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)


def _check_size(size: Size) -> None:
    pair = (
        not isinstance(size, str)
        and len(size) == 2
        and all(int(length) == length > 0 for length in size)
    )
    if not pair and size not in (NATIVE, FIT):
        raise ValueError(
            f"size: expected 'native', 'fit' or (height, width) in pixels, got {size!r}."
        )

"""The inferencer, which runs a trained model on images and writes maps and pictures."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log

from m2h_mm.datasets.files import LABEL_SUFFIXES
from m2h_mm.inference.hub import HubModel
from m2h_mm.inference.image_cameras import UNKNOWN, Camera, intrinsics_of, require_camera
from m2h_mm.inference.images import list_images, list_sources
from m2h_mm.inference.loading import compile_network, load_model
from m2h_mm.inference.names import (
    map_path,
    name_inputs,
    path_of,
    picture_path,
    root_of,
    without_results,
)
from m2h_mm.inference.prediction import Prediction, as_map, to_samples
from m2h_mm.inference.shipped import shipped_model
from m2h_mm.inference.stabiliser import stabilise_network
from m2h_mm.models.adapters import merge_adapters
from m2h_mm.models.building import require_tasks
from m2h_mm.models.optimize import optimize
from m2h_mm.models.pipeline import TEST, ImagePipeline, Size, check_size
from m2h_mm.registry import INFERENCERS
from m2h_mm.structures.image_file import read_image
from m2h_mm.system.outputs import require_alone, require_free
from m2h_mm.system.progress import progress_bar
from m2h_mm.visualization import MultiTaskVisualizer, save_picture

DTYPES = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)


@INFERENCERS.register_module()
class M2HInferencer(HubModel, BaseInferencer):
    """Runs a trained model on images.

    ::

        inferencer = M2HInferencer()  # or M2HInferencer('work_dirs/m2h_vits_nyud/iter_40000.pth')
        depth = inferencer('room.jpg', tasks=['depth'])['predictions'][0]['depth']  # (H, W) metres
        inferencer('photos/', out_dir='results')  # pictures and maps as files

    Args:
        weights: a checkpoint of a training of this project or a published file, which say
            themselves which model they are of, or a checkpoint of the authors of M2H, M2H-MX or
            TaskPrompter. It is never unpickled beyond tensors and plain values. Default: the model
            that comes with the package.
        config: name or path of a config, or a config, that takes the place of what the checkpoint
            says. Default: what it says.
        device: 'cpu', 'cuda', 'cuda:1', ... Default: a GPU where there is one.
        show_progress: show a progress bar. Default: True.
        compile: compile the network for each size and number of images that it meets, on a GPU with
            CUDA graphs. The first call of each takes a minute or more: for videos and for many
            images of one size. Default: False.
        camera: (fx, fy, cx, cy) of the images in pixels, or their horizontal field of view in
            degrees; depth of a model with a ``canonical_focal`` is in proportion to the focal
            length. Default: what a photo notes (EXIF), or else 60 degrees, with a warning.
        stabilise: the images are those of a video, in order: their maps shall not flicker, see
            :class:`~m2h_mm.inference.stabiliser.ImageStabiliser`. Default: False.
        options: values that take the place of the checkpoint's or the config's, such as
            ``{'model.data_preprocessor.size': (480, 640)}``.

    Attributes:
        model: in evaluation mode, its adapters put into the weights.
        description: what is known of it, a :class:`ModelDescription`.
        pipeline: the model's :class:`ImagePipeline`.
        tasks: name to :class:`Task`, of the model.
        camera: as it was given; what is set later holds from the next image on.
        classes: task to the names of its classes, where they are known.
        stabiliser: where it stabilises; ``stabiliser.reset()`` between two videos.

    Raises:
        FileNotFoundError, ValueError: see :func:`~m2h_mm.inference.loading.load_model`.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        config: str | Path | Config | None = None,
        device: str | None = None,
        show_progress: bool = True,
        compile: bool = False,
        options: Mapping[str, Any] | None = None,
        camera: Camera = None,
        stabilise: bool = False,
    ) -> None:
        require_camera(camera)
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        weights = shipped_model() if weights is None else weights
        self.model, self.description = load_model(weights, config, options)
        optimize(merge_adapters(self.model).to(device))
        self.device = torch.device(device)
        if compile:
            compile_network(self.model, self.device)
        self.stabiliser = stabilise_network(self.model) if stabilise else None
        self.pipeline = self._init_pipeline(None)
        self.tasks = self.model.tasks
        self.show_progress = show_progress
        self.classes = self.description.classes
        self.visualizer = MultiTaskVisualizer(name='inferencer')
        self.source = Path(weights)
        self.camera = camera
        self._warned = False
        self._read = [path for path in (weights, config) if isinstance(path, (str, Path))]

    def __call__(
        self,
        inputs: Any,
        tasks: str | Sequence[str] | None = None,
        size: Size = TEST,
        dtype: str = 'fp32',
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        return_vis: bool = False,
        return_datasamples: bool = False,
        return_predictions: bool | None = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Predict, and write what was asked for.

        Args:
            inputs: an image (file, bytes, open file, PIL image or array, see
                :func:`~m2h_mm.structures.image_file.read_image`), a folder, a glob, or a sequence
                of images.
            tasks: those wanted, or the one; what only others need is not computed. Default: all of
                the model.
            size: at which the network sees an image, see :meth:`ImagePipeline.input_size`. Default:
                ``'test'``, as the model was evaluated, which is the scale at which it knows depth;
                ``'native'``, the image's own; ``'fit'``, the nearest multiples of the network's
                stride; or ``(H, W)`` in pixels. The maps have the image's own size in any case.
            dtype: ``'fp32'``, ``'bf16'`` or ``'fp16'``; the weights stay in float32.
            batch_size: images at a time; only images of one size go together.
            out_dir: folder for ``pictures/<name>.png``, all tasks side by side, and
                ``<task>/<name>`` with the suffix of the task, as ``m2h-mm test --save-preds``
                writes them. Default: none, nothing is written.
            return_vis: also return the pictures.
            return_datasamples: return :class:`MultiTaskDataSample` instead of dicts of arrays.
            return_predictions: collect the maps. Default: unless there is an ``out_dir``, so that
                any number of images can be processed.
            overwrite: let files in ``out_dir`` be replaced, but never one that is read. Images of a
                folder or a glob that lie in ``out_dir`` are results, and left out.

        Returns:
            ``predictions``: one dict of maps per image (None for an image that failed), units as in
            :class:`Prediction`; ``visualization``: the pictures; ``failed``: name to reason. One
            image alone raises instead.

        Raises:
            FileNotFoundError: there is no such input.
            FileExistsError: a file to write is there already; nothing was done.
            ValueError: unknown tasks, size or dtype; the one image cannot be read; an input would
                be replaced.
        """
        tasks = [tasks] if isinstance(tasks, str) else tasks
        images = self.list_inputs(inputs, out_dir)
        if out_dir is not None:
            self._require_free(images, tasks, Path(out_dir), overwrite)
        keep = out_dir is None if return_predictions is None else return_predictions
        kept, pictures, failed = [], [], {}
        with progress_bar('Predicting', not self.show_progress) as progress:
            bar = progress.add_task('', total=len(images))
            for prediction in self.stream(images, tasks, size, dtype, batch_size):
                if prediction.error is not None:
                    if len(images) == 1:
                        raise ValueError(prediction.error)
                    failed[prediction.name] = prediction.error
                elif out_dir is not None:
                    try:
                        self.write(prediction, out_dir)
                    except OSError as error:
                        # Of this image alone; a full or read-only disk is so for all.
                        if error.errno != errno.ENAMETOOLONG or len(images) == 1:
                            raise
                        failed[prediction.name] = str(error)
                if keep:
                    kept.append(prediction)
                if return_vis:
                    pictures += self.visualize([], [prediction])
                progress.advance(bar)
        return {**self.postprocess(kept, pictures, return_datasamples), 'failed': failed}

    def _init_pipeline(self, cfg: Config | None) -> ImagePipeline:
        return self.model.pipeline

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

    def list_inputs(self, inputs: Any, out_dir: str | Path | None = None) -> list[tuple[str, Any]]:
        """Name and source of each image; see :func:`~m2h_mm.inference.names.name_inputs`.

        Args:
            inputs: see :meth:`__call__`.
            out_dir: images of a folder or a glob that lie in it are left out.
        """
        root = None
        if isinstance(inputs, (str, Path)):
            root, source = root_of(inputs), inputs
            inputs = list_images(source)
            if out_dir is not None:
                inputs = without_results(inputs, source, out_dir)
        inputs = list_sources(inputs)
        return list(zip(name_inputs(inputs, root), inputs, strict=True))

    def _require_free(
        self, images: list[tuple[str, Any]], tasks: Sequence[str] | None, out_dir: Path, over: bool
    ) -> None:
        wanted = [task for name, task in self.tasks.items() if tasks is None or name in tasks]
        names = [name for name, _ in images]
        maps = [map_path(name, task, out_dir) for name in names for task in wanted]
        require_alone(maps, LABEL_SUFFIXES)  # a folder of labels, which maps would be mixed with
        files = [*maps, *(picture_path(name, out_dir) for name in names)]
        sources = filter(None, (path_of(source) for _, source in images))
        require_free(files, [*sources, *self._read], over)

    def stream(
        self,
        images: Iterable[tuple[str, Any]],
        tasks: str | Sequence[str] | None = None,
        size: Size = TEST,
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
        tasks = [tasks] if isinstance(tasks, str) else tasks
        if tasks is not None:
            require_tasks('tasks', tasks, tuple(self.tasks))
        if dtype not in DTYPES:
            raise ValueError(f'dtype: expected one of {list(DTYPES)}, got {dtype!r}.')
        if batch_size < 1:
            raise ValueError(f'batch_size: expected 1 or more, got {batch_size}.')
        if self.stabiliser is not None:
            self.stabiliser.check_batch(batch_size)
        check_size(size)
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
                image = read_image(source)
                camera = intrinsics_of(self.camera, source, image.shape[:2])
                prediction = Prediction(name, image, camera)
            except (ValueError, OSError) as error:
                prediction = Prediction(name, error=str(error))
            same_size = (
                prediction.image is not None
                and batch
                and prediction.image.shape == batch[0].image.shape
            )
            if batch and not same_size:
                yield from self._predict(batch, tasks, size, dtype)
                batch = []
            if prediction.error is None:
                batch.append(prediction)
            else:
                yield prediction
            # Not when the next image comes: of a camera, that is a frame later.
            if len(batch) == batch_size:
                yield from self._predict(batch, tasks, size, dtype)
                batch = []
        if batch:
            yield from self._predict(batch, tasks, size, dtype)

    def _predict(
        self, batch: list[Prediction], tasks: Sequence[str] | None, size: Size, dtype: str
    ) -> list[Prediction]:
        images = [
            torch.from_numpy(prediction.image).to(self.device).permute(2, 0, 1)
            for prediction in batch
        ]
        inputs, framings = self.pipeline.prepare(images, size)
        unknown = [prediction.name for prediction in batch if prediction.cam2img is None]
        if unknown and self.model.canonical_focal is not None and not self._warned:
            print_log(UNKNOWN.format(unknown[0]), 'current', logging.WARNING)
            self._warned = True
        reduced = DTYPES[dtype]
        autocast = torch.autocast(self.device.type, reduced, enabled=reduced is not None)
        with torch.inference_mode(), autocast:
            samples = self.model(inputs, to_samples(batch, framings), mode='predict', tasks=tasks)
        for prediction, sample in zip(batch, samples, strict=True):
            prediction.sample = sample.cpu()
            for name, task in self.tasks.items():
                if task.pred_field in sample:
                    prediction.maps[name] = as_map(sample.get(task.pred_field).data)
        return batch

    def draw(self, prediction: Prediction) -> np.ndarray:
        """Image and maps side by side, with keys to the colours: ``(H', W', 3)`` uint8 RGB."""
        tasks = {name: self.tasks[name] for name in prediction.maps}
        return self.visualizer.draw_frame(
            prediction.image, prediction.sample, tasks, self.classes, draw_gt=False
        )

    def write(self, prediction: Prediction, out_dir: str | Path) -> None:
        """Write the picture and the maps of a prediction below ``out_dir``."""
        save_picture(self.draw(prediction), picture_path(prediction.name, out_dir))
        self.write_maps(prediction, out_dir)

    def write_maps(self, prediction: Prediction, out_dir: str | Path) -> None:
        """Write the maps of a prediction: ``<task>/<name>`` with the suffix of the task."""
        for name, map in prediction.maps.items():
            task = self.tasks[name]
            task.write_prediction(map, map_path(prediction.name, task, out_dir))

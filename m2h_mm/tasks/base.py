"""The base class of all tasks."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import Registry
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.structures.shapes import known_equal
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.files import write_array
from m2h_mm.tasks.label_format import LabelFormat


class Task(ABC):
    """One dense prediction task.

    A subclass owns all that is true of the task for every network and data set: how a label file is
    read, what a mirror or a zoom does to a label, how a head's output becomes a prediction, how
    wrong a prediction is. To add a task, subclass this in one file, register it in
    :data:`~m2h_mm.registry.TASKS` and name it in a config; only :meth:`read` must be written. A
    metric and a view of its own are registered under the same name in
    :data:`~m2h_mm.registry.METRICS` and ``VIEWS``.

    Class attributes:
        folder: the folder of a data set that holds its label files. Default: the task's name.
        channels: channels of the head's output.
        label_channels: channels of a label and of a prediction (1 also where the output has one per
            class).
        metric: name of its headline measure; ``higher_is_better`` says in which direction, and
            ``largest_metric`` the largest value that it can have.
        error_unit: unit of :meth:`error`.
        meaning: what the numbers of a prediction are, in words.
        grows_with_focal: whether the truth of one picture is in proportion to the focal length that
            it was taken with, as distances are.
        unit_vectors: whether a prediction is a vector of length 1, so that a mean of two has to be
            brought to that length again.
        prediction_suffix: file type in which a prediction is written unless asked otherwise.
        classes_of_dataset: its classes are those that the data set names in its metainfo.

    Attributes:
        name: the key in the config. Default: its :attr:`kind`.
        label_format: how files are read, see :meth:`with_format`. The class attribute says how
            those of ours are.
    """

    channels: int = 1
    label_channels: int = 1
    metric: str = 'error'
    higher_is_better: bool = False
    largest_metric: float = math.inf
    error_unit: str = ''
    meaning: str = ''
    grows_with_focal: bool = False
    unit_vectors: bool = False
    prediction_suffix: str = '.npy'
    classes_of_dataset: bool = False
    label_format: LabelFormat = LabelFormat()
    _reads_predictions: bool = False
    _name: str | None = None

    # ---- names

    @property
    def kind(self) -> str:
        """The name under which its class, its metric and its view are registered."""
        return next(iter(self._kinds()), type(self).__name__)

    @property
    def name(self) -> str:
        return self._name or self.kind

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def gt_field(self) -> str:
        """The field of a :class:`~m2h_mm.structures.MultiTaskDataSample` with the label."""
        return f'gt_{self.name}'

    @property
    def pred_field(self) -> str:
        """The field of a :class:`~m2h_mm.structures.MultiTaskDataSample` with the prediction."""
        return f'pred_{self.name}'

    @property
    def folder(self) -> str:
        return self.name

    def find_in(self, registry: Registry, default: Any) -> Any:
        """What ``registry`` holds for this kind of task, or for the kind that it derives from."""
        registry.import_from_location()
        found = (registry.module_dict.get(kind) for kind in self._kinds())
        return next((item for item in found if item is not None), default)

    def _kinds(self) -> list[str]:
        """The registered names of the class and of the tasks that it derives from."""
        names = {cls: name for name, cls in TASKS.module_dict.items()}
        return [names[cls] for cls in type(self).__mro__ if cls in names]

    # ---- labels

    @abstractmethod
    def read(self, path: str | Path) -> Label:
        """Decode a label file.

        Returns:
            NumPy arrays: ``value (H, W)`` or ``(H, W, C)`` in the task's units, uint8, int16, int32
            or float32; ``valid (H, W)`` bool. Values must be finite.
        """

    def with_format(self, **settings: Any) -> Task:
        """A copy of the task that reads files as stated, labels and predictions alike.

        Args:
            **settings: keys of :attr:`label_format`; what is not named stays as it is.

        Raises:
            ValueError: an unknown key, or a value that makes no sense; it begins with
                ``<task>.<key>``.
        """
        task = copy.copy(self)
        task.label_format = self.label_format.stated(self.name, settings)
        return task

    def for_predictions(self, **settings: Any) -> Task:
        """A copy of the task that reads prediction files: ours, or another program's whose format
        is stated. How a data set's labels are read says nothing about them.

        Args:
            **settings: see :meth:`with_format`.
        """
        task = copy.copy(self)
        task.label_format = type(self).label_format
        task._reads_predictions = True
        return task.with_format(**settings)

    def to_state(self, key: str, value: Any = None) -> str:
        """How a user states a key of the format, or its name alone, for messages."""
        if self._reads_predictions:
            named = f'--prediction-format {self.name}.{key}'
            return named if value is None else f'{named}={value}'
        named = f'label_formats.{self.name}.{key}'
        return named if value is None else f'{named}={value!r}'

    def with_class_table(self, table: np.ndarray) -> Task:
        """A copy whose labels are in the semantic classes of another data set. Here the task
        itself, which has none.

        Args:
            table: ``(256,)`` uint8, see :func:`~m2h_mm.tasks.semseg.class_map.class_table`.
        """
        return self

    def class_names(self, metainfo: Mapping) -> list[str]:
        """Names of the classes by id, the id where a class has no name; empty if the task has none.

        Args:
            metainfo: of the data set; its ``classes`` are those of semantic segmentation.
        """
        return []

    def flip(self, label: Label) -> Label:
        """Mirror left and right."""
        return label.flip()

    def turn(self, label: Label, orientation: int) -> Label:
        """As an image of that EXIF orientation (1..8) is turned to be upright."""
        return label.turn(orientation)

    def zoom(self, label: Label, scale: float, size: tuple[int, int]) -> Label:
        """Resize to ``size`` (H, W) as if the scene had been scaled by ``1 / scale``: what is a
        length changes with it.
        """
        return label.resize(size)

    def truth(self, label: Label) -> Label:
        """What of a label counts, in losses, metrics and errors alike: here all of it.

        Args:
            label: NumPy arrays of a frame, or tensors of a frame or a batch.
        """
        return label

    def target(self, label: Label) -> Label:
        """What a loss compares the head's output with: :meth:`truth`, in the output's numbers.

        Args:
            label: of a batch, ``value (N, C, H, W)``, ``valid (N, 1, H, W)``.
        """
        label = self.truth(label)
        return Label(label.value.float(), label.valid)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        """What looks wrong about a label file that can be read.

        Args:
            path: the file.
            label: what :meth:`read` made of it.
        """
        yield Doubt('no valid pixel', np.full(label.valid.shape, not label.valid.any()))

    def explain(self, paths: Sequence[Path], labels: Sequence[Label]) -> str:
        """How some label files were understood, in words for the log; here nothing.

        Args:
            paths: the files, at least one.
            labels: what :meth:`read` made of them.
        """
        return ''

    # ---- outputs

    def resize_output(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """A head's output ``(N, C, h, w)`` at ``size``, still in the output's space."""
        if known_equal(output.shape[-2], size[0]) and known_equal(output.shape[-1], size[1]):
            return output
        return F.interpolate(output, size=size, mode='bilinear', align_corners=False)

    def mirror_output(self, output: Tensor) -> Tensor:
        """What an output ``(N, C, h, w)`` of a mirrored image says of the image itself."""
        return output.flip(-1)

    def mean_output(self, outputs: Tensor) -> Tensor:
        """One output for several ``(V, N, C, h, w)`` of the same image: here their mean."""
        return outputs.float().mean(dim=0)

    def decode(self, output: Tensor) -> Tensor:
        """The prediction that an output ``(N, C, H, W)`` at full size stands for."""
        return output.float()

    # ---- predictions

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """Decode a prediction file, ours or another program's, into ``(H, W)`` or ``(H, W, C)`` in
        the task's units.
        """
        return self.read(path).value

    def look_at_predictions(self, paths: Sequence[Path]) -> None:
        """Look at a few prediction files together, before all are scored. Here nothing.

        Args:
            paths: of one folder, at least one; each can be read.

        Raises:
            ValueError: taken together they are certainly wrong.
        """
        return

    def write_prediction(self, prediction: np.ndarray, path: str | Path) -> None:
        """Write ``(H, W)`` or ``(H, W, 3)`` for :meth:`read_prediction`; ``.npy`` is exact,
        ``.png`` is rounded.
        """
        write_array(self.to_png(prediction) if Path(path).suffix == '.png' else prediction, path)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """A prediction as the uint8 or uint16 array that its ``.png`` holds; here, as it is."""
        return prediction

    def error(self, prediction: np.ndarray, label: Label) -> np.ndarray:
        """How wrong each pixel is, ``(H, W)`` float32 in ``error_unit``, NaN where the label does
        not count.

        Here the absolute difference, its mean over the channels.

        Args:
            prediction: ``(H, W)`` or ``(H, W, C)``.
            label: NumPy arrays of the same size.
        """
        error = np.abs(prediction.astype(np.float32) - label.value.astype(np.float32))
        if error.ndim == 3:
            error = error.mean(axis=2)
        return self.where_counted(error, label)

    def where_counted(self, error: np.ndarray, label: Label) -> np.ndarray:
        """``error (H, W)`` as float32, NaN where the label does not count."""
        return np.where(self.truth(label).valid, error, np.nan).astype(np.float32)

    # ---- the best guess without looking at the image

    def label_statistics(self, label: Label) -> Tensor:
        """What :meth:`constant_prediction` needs of the label of a frame, tensors ``(C, H, W)`` and
        ``(1, H, W)``: a vector to be summed over the frames.
        """
        label = self.truth(label)
        total = (label.value.double() * label.valid).sum(dim=(1, 2))
        return torch.cat([total, label.valid.sum()[None].double()])

    def constant_prediction(self, statistics: Tensor) -> Tensor:
        """``(C, 1, 1)``, what to predict without looking at the image: the mean over all pixels
        that count.
        """
        return (statistics[:-1] / statistics[-1].clamp(min=1)).float()[:, None, None]

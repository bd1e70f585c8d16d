"""What a task is, whatever the network."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures.shapes import known_equal
from m2h_mm.tasks.files import write_array


class Task(ABC):
    """One dense prediction task.

    A subclass owns all that is true of the task for every network and data set: its fields and
    folder, how a label is read and moved, which pixels are valid, how a head's output becomes a
    prediction. How it looks is said by its view (:mod:`m2h_mm.tasks.view`). To add a task,
    subclass this in one file, register it in :data:`~m2h_mm.registry.TASKS` under its name, and
    name it in a config.

    Class attributes:
        name: the key in configs and metrics.
        gt_field, pred_field: names of the label and the prediction in :class:`MultiTaskDataSample`.
        folder: the folder of the NYUD-MT layout that holds its label files.
        channels: channels of the head's output.
        label_channels: channels of a label (1 also where the output has one per class).
        void: value of a label pixel that is not valid; also what padding is filled with.
        metric: its headline metric; ``higher_is_better`` says in which direction.
        error_unit: unit of :meth:`error`.
        meaning: what the numbers of a prediction are, in words.
        prediction_suffix: file type in which a prediction is written unless asked otherwise.

    Labels are NumPy arrays ``(H, W)`` or ``(H, W, 3)`` in the data pipeline and tensors ``(N, C, H,
    W)`` in the model.
    """

    name: str
    gt_field: str
    pred_field: str
    folder: str
    channels: int = 1
    label_channels: int = 1
    void: float = 0.0
    metric: str
    higher_is_better: bool = False
    error_unit: str = ''
    meaning: str = ''
    prediction_suffix: str = '.npy'

    # ---- labels
    @abstractmethod
    def read(self, path: str | Path) -> np.ndarray:
        """Decode a label file into ``(H, W)`` or ``(H, W, 3)``, in the task's units, ``void`` where
        invalid.
        """

    @abstractmethod
    def valid(self, label: Tensor) -> Tensor:
        """``(N, 1, H, W)`` bool mask of the pixels of ``label (N, C, H, W)`` that count."""

    def target(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """What a loss compares the head's output with, and where: ``(target, valid)``."""
        return label.float(), self.valid(label)

    def flip(self, label: np.ndarray) -> np.ndarray:
        """Mirror left and right."""
        return label[:, ::-1]

    def resize(self, label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Sample at another ``(H, W)``, nearest neighbour, so that no two labels (or void) are ever
        mixed.
        """
        return cv2.resize(label, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)

    def zoom(self, label: np.ndarray, scale: float, size: tuple[int, int]) -> np.ndarray:
        """:meth:`resize` as if the scene had been scaled by ``1 / scale``: what is a length changes
        with it.
        """
        return self.resize(label, size)

    # ---- outputs
    def resize_output(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """A head's output ``(N, C, h, w)`` at ``size``, still in the output's space."""
        if known_equal(output.shape[-2], size[0]) and known_equal(output.shape[-1], size[1]):
            return output
        return F.interpolate(output, size=size, mode='bilinear', align_corners=False)

    @abstractmethod
    def decode(self, output: Tensor) -> Tensor:
        """The prediction that an output ``(N, C, H, W)`` at full size stands for."""

    # ---- predictions as files
    def read_prediction(self, path: str | Path) -> np.ndarray:
        """Decode a prediction file, ours or another program's, into ``(H, W)`` or ``(H, W, 3)`` in
        the task's units.
        """
        return self.read(path)

    def write_prediction(self, prediction: np.ndarray, path: str | Path) -> None:
        """Write ``(H, W)`` or ``(H, W, 3)`` for :meth:`read_prediction`; ``.npy`` is exact,
        ``.png`` is rounded.
        """
        write_array(self.to_png(prediction) if Path(path).suffix == '.png' else prediction, path)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """A prediction as the uint8 or uint16 array that its ``.png`` holds; here, as it is."""
        return prediction

    def error(self, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        """How wrong each pixel is, ``(H, W)`` float32 in ``error_unit``, NaN where the label is not
        valid.
        """
        error = np.abs(prediction.astype(np.float32) - label.astype(np.float32))
        return np.where(self.valid_pixels(label), error, np.nan)

    def valid_pixels(self, label: np.ndarray) -> np.ndarray:
        """:meth:`valid` of one label ``(H, W)`` or ``(H, W, 3)``: ``(H, W)`` bool."""
        channels_first = torch.from_numpy(
            np.ascontiguousarray(label.reshape(*label.shape[:2], -1).transpose(2, 0, 1))
        )
        return self.valid(channels_first[None])[0, 0].numpy()

    # ---- statistics
    def label_statistics(self, label: Tensor) -> Tensor:
        """What :meth:`constant_prediction` needs of one label ``(C, H, W)``, a vector to be summed
        over the frames.
        """
        valid = self.valid(label[None])[0]
        return torch.cat([(label.double() * valid).sum(dim=(1, 2)), valid.sum()[None].double()])

    def constant_prediction(self, statistics: Tensor) -> Tensor:
        """``(C, 1, 1)``, what to predict without looking at the image: the mean over all valid
        pixels.
        """
        return (statistics[:-1] / statistics[-1].clamp(min=1)).float()[:, None, None]


def build_tasks(
    tasks: Mapping[str, dict | None] | Sequence[str] | Mapping[str, Task],
) -> dict[str, Task]:
    """Build the tasks of a config.

    Args:
        tasks: names, or a dict of name to arguments. The class is the one registered under the name
            unless the arguments hold a ``type``.

    Returns:
        Name to :class:`Task`, in the config's order.

    Raises:
        ValueError: a name that is not registered, or no task at all.
    """
    items = tasks.items() if isinstance(tasks, Mapping) else [(name, None) for name in tasks]
    built = {}
    for name, cfg in items:
        if isinstance(cfg, Task):
            built[name] = cfg
            continue
        cfg = dict(cfg or {})
        kind = cfg.setdefault('type', name)
        if isinstance(kind, str) and TASKS.get(kind) is None:
            known = sorted(TASKS.module_dict)
            close = difflib.get_close_matches(kind, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ''
            raise ValueError(
                f'tasks: unknown task {kind!r}; known are {known}.{hint} A task of '
                'your own is registered '
                'with @TASKS.register_module(name) in a module named by '
                'custom_imports.'
            )
        built[name] = TASKS.build(cfg)
        built[name].name = name
    if not built:
        raise ValueError(
            'tasks: expected at least one task, such as '
            'dict(semseg=dict(num_classes=40), depth=dict()), '
            'got none.'
        )
    return built

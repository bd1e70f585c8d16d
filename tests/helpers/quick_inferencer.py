"""An inferencer that looks at each pixel alone: what is tested is what is done with its maps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from m2h_mm.inference import Prediction


class QuickInferencer:
    """As much of :class:`M2HInferencer` as robots use.

    Attributes:
        stop: number of predictions after which Ctrl-C is pressed; None: never.
        done: predictions.
    """

    def __init__(self) -> None:
        self.tasks = dict.fromkeys(('semseg', 'depth', 'normals', 'edge'))
        self.classes = {'semseg': ['wall', 'floor', 'sofa', 'lamp']}
        self.source = Path(__file__)
        self.device = torch.device('cpu')
        self.pipeline = SimpleNamespace(canonical_focal=None)
        self.camera = self.stabiliser = self.stop = None
        self.done = 0

    def stream(self, images, tasks=None, size='test', dtype='fp32'):
        for name, image in images:
            if self.done == self.stop:
                raise KeyboardInterrupt
            self.done += 1
            maps = maps_of(image)
            if self.pipeline.canonical_focal is not None:
                maps['depth'] *= np.float32(self.camera[0] / self.pipeline.canonical_focal)
            wanted = maps if tasks is None else {task: maps[task] for task in tasks}
            yield Prediction(name, image, maps=dict(wanted))


def maps_of(image: np.ndarray) -> dict[str, np.ndarray]:
    """Of ``(H, W, 3)`` uint8 RGB: depth from red, classes from green, edges from blue."""
    red, green, blue = np.moveaxis(image.astype(np.float32), -1, 0)
    normals = image.astype(np.float32) - 127.5
    return dict(
        depth=0.5 + red / 50,
        semseg=image[..., 1].astype(np.int64) // 64,
        normals=normals / np.linalg.norm(normals, axis=-1, keepdims=True),
        edge=blue / 255,
    )

"""Labels and predictions of every task whose lower half differs from the upper one."""

import numpy as np

from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.view import build_view
from m2h_mm.visualization.drawing import HATCH_DARK, HATCH_LIGHT

SIZE = (12, 16)
TASKS = build_tasks(
    dict(semseg=dict(num_classes=6), depth={}, normals={}, edge={}, saliency={}, human_parts={})
)

VIEWS = {name: build_view(task) for name, task in TASKS.items()}


def values_of(name: str) -> np.ndarray:
    """A label without holes whose lower half differs from its upper."""
    values = dict(
        semseg=(1, 2),
        depth=(2.0, 4.0),
        normals=((0, 0, 1), (0, 1, 0)),
        edge=(0, 1),
        saliency=(0, 1),
        human_parts=(0, 3),
    )[name]
    label = np.empty(
        (*SIZE, 3) if name == 'normals' else SIZE,
        np.float32 if name in ('depth', 'normals') else np.uint8,
    )
    label[: SIZE[0] // 2], label[SIZE[0] // 2 :] = values
    return label


def prediction_of(name: str, label: np.ndarray | None = None) -> np.ndarray:
    label = values_of(name) if label is None else label
    return label.astype(np.int64 if name in ('semseg', 'human_parts') else np.float32)


def hatched(picture: np.ndarray) -> np.ndarray:
    return (picture == HATCH_DARK).all(-1) | (picture == HATCH_LIGHT).all(-1)

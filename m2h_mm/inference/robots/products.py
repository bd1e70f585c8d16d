"""What robots get of a prediction: images with ROS's encodings, units and axes, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from m2h_mm.inference.prediction import Prediction
from m2h_mm.system.spelling import did_you_mean
from m2h_mm.tasks.semseg.colours import class_colours

MILLIMETRES = 1000
MOST_MILLIMETRES = 2**16 - 1
TO_OPTICAL = np.array([1, -1, -1], np.float32)
"""From our camera frame (x right, y up, z toward the camera) to ROS's optical one (x right, y down,
z forward).
"""


@dataclass
class Space:
    """How ids and depth are published.

    Attributes:
        ids: ``(256,)`` uint8, the id that is published of each class.
        colours: ``(256, 3)`` uint8 RGB by published id.
        depth_scale: metres are multiplied by it.
    """

    ids: np.ndarray = field(default_factory=lambda: np.arange(256, dtype=np.uint8))
    colours: np.ndarray = field(default_factory=class_colours)
    depth_scale: float = 1.0


@dataclass(frozen=True)
class Product:
    """One of the images.

    Attributes:
        task: of which it is made.
        encoding: of ROS.
        topic: under which it is published, where nothing else is said: the name that Mono-Hydra's
            nodes use, of those that they publish too.
        draw: makes it, from the prediction, its space, and where the camera has seen something.
    """

    task: str
    encoding: str
    topic: str
    draw: Callable[[Prediction, Space, np.ndarray | None], np.ndarray]


def _depth(prediction: Prediction, space: Space, seen: np.ndarray | None) -> np.ndarray:
    """``(H, W)`` float32, metres along the optical axis; NaN: not known."""
    depth = prediction.maps['depth'].astype(np.float32) * np.float32(space.depth_scale)
    return depth if seen is None else np.where(seen, depth, np.float32(np.nan))


def _depth_mm(prediction: Prediction, space: Space, seen: np.ndarray | None) -> np.ndarray:
    """``(H, W)`` uint16, millimetres; 0: not known, or farther than 65.535 m."""
    millimetres = np.rint(_depth(prediction, space, seen).astype(np.float64) * MILLIMETRES)
    known = (millimetres > 0) & (millimetres <= MOST_MILLIMETRES)
    return np.where(known, millimetres, 0).astype(np.uint16)


def _labels(prediction: Prediction, space: Space, seen: np.ndarray | None) -> np.ndarray:
    """``(H, W)`` uint8 ids of the label space."""
    return space.ids[prediction.maps['semseg'].astype(np.uint8)]


def _colour(prediction: Prediction, space: Space, seen: np.ndarray | None) -> np.ndarray:
    """``(H, W, 3)`` uint8 BGR, the colour of each id and nothing else."""
    return space.colours[_labels(prediction, space, seen)][..., ::-1]


def _overlay(prediction: Prediction, space: Space, seen: np.ndarray | None) -> np.ndarray:
    """``(H, W, 3)`` uint8 BGR, the colours laid over the picture, for people."""
    image = prediction.image[..., ::-1].astype(np.uint16)
    return ((image + _colour(prediction, space, seen)) // 2).astype(np.uint8)


def _normals(prediction: Prediction, space: Space, seen: np.ndarray | None) -> np.ndarray:
    """``(H, W, 3)`` float32 unit vectors in the optical frame; NaN: not known."""
    normals = prediction.maps['normals'].astype(np.float32) * TO_OPTICAL
    return normals if seen is None else np.where(seen[..., None], normals, np.float32(np.nan))


def _edges(prediction: Prediction, space: Space, seen: np.ndarray | None) -> np.ndarray:
    """``(H, W)`` uint8, 255 times the probability; 0 where nothing was seen."""
    edges = np.rint(prediction.maps['edge'] * 255).astype(np.uint8)
    return edges if seen is None else np.where(seen, edges, np.uint8(0))


PRODUCTS: dict[str, Product] = {
    'depth': Product('depth', '32FC1', '/camera/depth_cam/image_raw', _depth),
    'depth_mm': Product('depth', '16UC1', '/camera/depth_cam/image_mm', _depth_mm),
    'labels': Product('semseg', 'mono8', '/camera/seg_cam/labels_argmax', _labels),
    'colour': Product('semseg', 'bgr8', '/camera/seg_cam/image_raw', _colour),
    'overlay': Product('semseg', 'bgr8', '/camera/seg_cam/overlay', _overlay),
    'normals': Product('normals', '32FC3', '/camera/normals_cam/image_raw', _normals),
    'edges': Product('edge', 'mono8', '/camera/edge_cam/image_raw', _edges),
}
SYNCED_IMAGE = '/mono_hydra_perception/synced/image_raw'
SYNCED_CAMERA_INFO = '/mono_hydra_perception/synced/camera_info'


def choose_products(names: Iterable[str] | None, tasks: Mapping[str, object]) -> dict[str, Product]:
    """The products that are wanted.

    Args:
        names: of them. Default: all that the model can make, but the overlay, which shows nothing
            that the others do not.
        tasks: of the model.

    Raises:
        ValueError: a name that is none, or one whose task the model does not have.
    """
    if names is None:
        names = [
            name
            for name, product in PRODUCTS.items()
            if product.task in tasks and name != 'overlay'
        ]
    chosen = {}
    for name in names:
        if name not in PRODUCTS:
            raise ValueError(
                f'maps: expected some of {", ".join(PRODUCTS)}, got {name!r}.'
                + did_you_mean(name, PRODUCTS)
            )
        product = PRODUCTS[name]
        if product.task not in tasks:
            raise ValueError(
                f'maps: {name} is made of the task {product.task}, and the model has '
                f'{", ".join(tasks)} alone.'
            )
        chosen[name] = product
    return chosen

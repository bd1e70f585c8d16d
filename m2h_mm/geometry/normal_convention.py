"""The axis convention of a normal map, found by comparing the map with depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product

import numpy as np

from m2h_mm.geometry.plane_fit import MAX_ERROR, normals_from_planes

OURS = 'x,y,z'
# What the channels R, G, B hold in terms of our axes (x right, y up, z toward the camera); "-z" is
# forward.
CONVENTIONS = {'nyud-mt': OURS, 'refinenet': 'x,-z,y', 'ladicky': '-z,-y,x', 'geonet': 'x,-y,-z'}

# The plane fits see every frame at about this many rows, which is enough for the question and takes
# 30 ms.
_ROWS = 240
_WINDOW = 11
# Of 100 vectors that point anywhere, half or more lie within 60 degrees (a quarter of the sphere)
# of where they should less than once in a million times. Fewer vectors say nothing.
MIN_VECTORS = 100
# Degrees. Normals of the same surfaces are off by a few degrees, on a sensor's raw depth by some
# ten.
UNRELATED = 30


def parse_axes(text: str) -> str:
    """``text``, or the axes of the convention that it names.

    Raises:
        ValueError: neither a name nor x, y and z in some order with or without a minus.
    """
    axes = CONVENTIONS.get(text, text) if isinstance(text, str) else None
    if axes not in all_axes():
        raise ValueError(
            f'Convention of normals: expected one of {list(CONVENTIONS)}, or what the three '
            f'channels hold, such as {CONVENTIONS["refinenet"]} (x right, y up, z toward the '
            f'camera); got {text!r}.'
        )
    return axes


def all_axes() -> list[str]:
    """The 48 conventions, ours first. Half of them are mirror images, which no rotation of a camera
    makes.
    """
    return [
        ','.join(sign + axis for sign, axis in zip(signs, axes, strict=True))
        for axes in permutations('xyz')
        for signs in product(('', '-'), repeat=3)
    ]


def to_ours(vectors: np.ndarray, axes: str) -> np.ndarray:
    """``(..., 3)`` whose channels hold ``axes`` to x right, y up, z toward the camera."""
    return vectors @ _matrix(axes).astype(vectors.dtype)


def compose(first: str, then: str) -> str:
    """The axes that channels hold which :func:`to_ours` takes to ours from ``first`` and the result
    of that from ``then``.
    """
    others = then.split(',')
    composed = []
    for axis in first.split(','):
        other = others['xyz'.index(axis[-1])]
        negative = axis.startswith('-') != other.startswith('-')
        composed.append(('-' if negative else '') + other[-1])
    return ','.join(composed)


def _matrix(axes: str) -> np.ndarray:
    """``(3, 3)``: row c is our axis that channel c holds."""
    matrix = np.zeros((3, 3))
    for channel, axis in enumerate(axes.split(',')):
        matrix[channel, 'xyz'.index(axis[-1])] = -1 if axis[0] == '-' else 1
    return matrix


@dataclass(frozen=True)
class Agreement:
    """How well normal maps agree with the depth under each convention.

    Attributes:
        vectors: number of vectors that were compared, each from a plane fit of its own.
        medians: axes to the median angle in degrees, smallest first.
    """

    vectors: int
    medians: dict[str, float]

    @cached_property
    def best(self) -> str:
        """Axes of the smallest median."""
        return next(iter(self.medians))

    @property
    def is_of_something_else(self) -> bool:
        """Whether no convention fits: the normals are not those of this depth."""
        return self.vectors >= MIN_VECTORS and self.medians[self.best] > UNRELATED

    @property
    def is_clearly_other(self) -> bool:
        """Whether another convention fits so much better that ours can be ruled out.

        That takes medians that are further apart than the better one is off itself: by the triangle
        inequality ours then misses the other convention by more than the other misses the depth.
        They also have to be further apart than normals from depth may be wrong,
        :data:`~m2h_mm.geometry.plane_fit.MAX_ERROR`. Labels that do not follow the depth at all are
        near 90 degrees under each convention; a flat wall fits several of them alike.
        """
        apart = self.medians[OURS] - self.medians[self.best]
        return self.vectors >= MIN_VECTORS and apart > max(self.medians[self.best], MAX_ERROR)


def paired_normals(
    depth: np.ndarray, normals: np.ndarray, camera: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """The normals of a frame and those of its depth, where both are known, from windows that do not
    overlap.

    Args:
        depth: ``(H, W)`` metres, 0 where invalid.
        normals: ``(H, W, 3)``, (0, 0, 0) where missing.
        camera: (fx, fy, cx, cy), pixels.

    Returns:
        Two arrays ``(N, 3)``: the frame's, and the depth's in our convention.
    """
    step = max(round(depth.shape[0] / _ROWS), 1)
    derived = normals_from_planes(
        depth[::step, ::step], [value / step for value in camera], _WINDOW
    )
    tiles = (slice(_WINDOW // 2, None, _WINDOW),) * 2
    stored, derived = normals[::step, ::step][tiles], derived[tiles]
    known = stored.any(axis=2) & derived.any(axis=2)
    return stored[known], derived[known]


def compare_conventions(stored: np.ndarray, derived: np.ndarray) -> Agreement:
    """Median angles of all 48 conventions.

    Args:
        stored, derived: ``(N, 3)`` unit vectors, N at least 1, as :func:`paired_normals` returns
            them.
    """
    medians = {}
    for axes in all_axes():
        cosine = np.einsum('nc,nc->n', to_ours(stored, axes), derived)
        medians[axes] = float(np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))))
    return Agreement(len(stored), dict(sorted(medians.items(), key=lambda item: item[1])))

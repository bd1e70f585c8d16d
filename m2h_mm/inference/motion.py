"""Where the pixels of a picture were in the one before: from the two pictures, without poses."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

SMALLEST = 1e-6
# Pixels of the working size (about 100 x 100): how far a way there and back may end from its start,
# squared, beside a share of the squared way itself (Sundaram et al., ECCV 2010, eq. 5).
_RETURN, _RETURN_SHARE = 0.5, 0.01
# Of 255: a difference at which a match counts 37 %, beside that of the surroundings, so that a
# camera may change its exposure.
_DIFFERENCE, _SURROUNDINGS = 14.0, 15
_EVERY = 4
"""Of every so many pixels both ways the camera's motion is found."""
_OFF = 0.5
"""Pixels: a residual at which a pixel counts half."""


class Motion(NamedTuple):
    """The way of each pixel back to the picture before.

    Attributes:
        columns, rows: ``(h, w)`` float32, its place there, pixels.
        trust: ``(h, w)`` float32, 0..1; 0 out of view.
    """

    columns: np.ndarray
    rows: np.ndarray
    trust: np.ndarray

    def bring(self, map: np.ndarray) -> np.ndarray:
        """A map of the picture before, ``(h, w)`` or ``(h, w, C)`` float32, bilinear."""
        return cv2.remap(
            map, self.columns, self.rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def resized(self, size: tuple[int, int]) -> Motion:
        """For maps of another size (H, W) of the same view."""
        height, width = self.trust.shape
        if size == (height, width):
            return self
        across, down = size[1] / width, size[0] / height
        columns, rows, trust = (
            cv2.resize(map, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for map in self
        )
        return Motion((columns + 0.5) * across - 0.5, (rows + 0.5) * down - 0.5, trust)


class MotionFinder:
    """Optical flow by dense inverse search (Kroeger et al., ECCV 2016; OpenCV), and how far it can
    be trusted.

    A pixel is trusted if the way back leads home, and the picture there looks the same.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setFinestScale(1)
        self._grid: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, before: np.ndarray, now: np.ndarray) -> Motion:
        """Both ``(h, w)`` uint8, of the same size."""
        if self._grid is None or self._grid[0].shape != now.shape:
            rows, columns = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
            self._grid = columns, rows
        back, forth = self._search.calc(now, before, None), self._search.calc(before, now, None)
        columns, rows = (self._grid[axis] + back[..., axis] for axis in (0, 1))
        forth = cv2.remap(forth, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        missed = back + forth
        far = _RETURN + _RETURN_SHARE * _squared(back)
        height, width = now.shape
        inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
        seen = cv2.remap(before, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        other = now.astype(np.float32) - seen
        other -= cv2.blur(other, (_SURROUNDINGS, _SURROUNDINGS))
        other = cv2.blur(np.abs(other), (3, 3)) / _DIFFERENCE
        trust = cv2.exp(-other * other) * (inside & (_squared(missed) < far))
        # Its borders would be seen in the maps: they are made soft, on their inner side.
        trust = cv2.blur(cv2.erode(trust, np.ones((3, 3), np.uint8)), (5, 5))
        return Motion(columns, rows, trust)


def _squared(vectors: np.ndarray) -> np.ndarray:
    return vectors[..., 0] * vectors[..., 0] + vectors[..., 1] * vectors[..., 1]


class CameraMotion(NamedTuple):
    """How the camera has moved, to first order: a point P of now was at P + turn x P + shift.

    Attributes:
        turn: (3,) radians, in the optical frame (x right, y down, z forward).
        shift: (3,) in the unit of the depth.
    """

    turn: np.ndarray
    shift: np.ndarray

    def rotation(self) -> np.ndarray:
        """``(3, 3)`` float32: vectors of the camera before, x right, y up, z toward the camera, to
        such of now.
        """
        x, y, z = self.turn
        back = np.array([[1, z, -y], [-z, 1, x], [y, -x, 1]])
        flip = np.array([1, -1, -1])
        return (flip[:, None] * back * flip).astype(np.float32)


class Rays:
    """What the pixels of a picture see at depth 1, of a camera of which nothing is known but its
    view.

    Args:
        size: (h, w) of the picture.
        field_of_view: from left to right, degrees.
    """

    def __init__(self, size: tuple[int, int], field_of_view: float) -> None:
        height, width = size
        self.size = size
        self.focal = width / 2 / np.tan(np.radians(field_of_view) / 2)
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        self.columns, self.rows = columns, rows
        self.x = (columns - (width - 1) / 2) / np.float32(self.focal)
        self.y = (rows - (height - 1) / 2) / np.float32(self.focal)
        some = (slice(_EVERY // 2, None, _EVERY),) * 2
        self._some = some
        x, y = self.x[some].ravel(), self.y[some].ravel()
        none = np.zeros_like(x)
        # Longuet-Higgins and Prazdny (1980), eq. 2.4: of a turn, and of a shift at depth 1.
        self._of_turn = np.concatenate(
            [np.stack([-x * y, 1 + x * x, -y], 1), np.stack([-1 - y * y, x * y, x], 1)]
        )
        ones = np.ones_like(x)
        self._of_shift = np.concatenate(
            [np.stack([ones, none, -x], 1), np.stack([none, ones, -y], 1)]
        )

    def camera_motion(self, motion: Motion, nearness: np.ndarray) -> CameraMotion | None:
        """The motion that explains most of the flow.

        Least squares, in which what does not fit counts ever less: things that move.

        Args:
            motion: of the pixels.
            nearness: ``(h, w)``, 1 / depth.

        Returns:
            None where it explains less than half of what is trusted.
        """
        some = self._some
        moved = np.concatenate(
            [
                (motion.columns[some] - self.columns[some]).ravel(),
                (motion.rows[some] - self.rows[some]).ravel(),
            ]
        ) / np.float32(self.focal)
        trust = np.tile(motion.trust[some].ravel(), 2)
        near = np.tile(nearness[some].ravel(), 2)[:, None]
        matrix = np.concatenate([self._of_turn, self._of_shift * near], 1)
        weight = trust
        for _ in range(3):
            weighted = (matrix * weight[:, None]).T
            # What nothing is known of stays 0.
            normal = (weighted @ matrix).astype(np.float64)
            normal += np.eye(6) * 1e-4 * max(float(weight.mean()), SMALLEST)
            found = np.linalg.solve(normal, weighted @ moved).astype(np.float32)
            off = (matrix @ found - moved) * np.float32(self.focal / _OFF)
            weight = trust / (1 + off * off)
        explained = trust[np.abs(off) < 1 / _OFF].sum()
        if explained < 0.5 * max(float(trust.sum()), SMALLEST):
            return None
        return CameraMotion(found[:3], found[3:])

    def depth_ratio(self, moved: CameraMotion, nearness: np.ndarray) -> np.ndarray:
        """``(h, w)``: depth of each pixel's point in the camera before, over that of now."""
        return 1 + moved.turn[0] * self.y - moved.turn[1] * self.x + moved.shift[2] * nearness

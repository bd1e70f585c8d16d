"""Pictures of one camera that belong together: exposure over time, and blur by movement."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import cv2
import numpy as np

from m2h_mm.rooms.camera import Camera
from m2h_mm.rooms.photograph import Metered, meter
from m2h_mm.rooms.raycast import dot, planes

_BLURS = 8
_METERING, _DELAY = 0.25, 0.5
"""Seconds between two meterings, and for how long one has an effect."""


class Film:
    """A camera's settings, which all its pictures share, and what each has for itself.

    Args:
        photograph: of the style.
        key: of the film; settings and noise follow from it alone.
        exposure: 'fixed' or 'auto', see :class:`~m2h_mm.rooms.walk.WalkOptions`.
        duration: seconds.
        glance: time in seconds to (3, h, w) light of a small picture, to meter it.
    """

    def __init__(
        self,
        photograph: Callable[..., np.ndarray],
        key: tuple[int, int],
        exposure: str,
        duration: float,
        glance: Callable[[float], np.ndarray],
    ) -> None:
        self._photograph, self._key = photograph, key
        self._exposure, self._glance = exposure, glance
        self._times = np.linspace(0, duration, 2 + int(duration / (2 * _METERING)))

    @cached_property
    def _logs(self) -> np.ndarray:
        """(T, 5) logarithms of what is metered over time. Measured when the first picture is
        developed: who wants poses alone does not wait for it.
        """
        metered = [meter(self._glance(time)) for time in self._times]
        values = np.array([[found.median, found.mean, *found.color] for found in metered])
        logs = np.log(np.maximum(values, 1e-4))
        return logs if self._exposure == 'auto' else np.repeat(logs.mean(0)[None], len(logs), 0)

    def develop(self, light: np.ndarray, number: int, time: float) -> np.ndarray:
        """(H, W, 3) uint8 RGB, picture ``number``, of (3, H, W) light at ``time`` seconds."""
        settings = np.random.default_rng((*self._key, 3))
        grain = np.random.default_rng((*self._key, 4, number))
        return self._photograph(settings, light, self._metered(time), grain)

    def _metered(self, time: float) -> Metered:
        # What was seen lately counts the most; before the beginning it looked as at the beginning.
        ages = np.arange(9) * _DELAY / 4
        weights = np.exp(-ages / _DELAY)
        seen = [np.interp(time - ages, self._times, logs) for logs in self._logs.T]
        median, mean, *color = np.exp(np.array(seen) @ weights / weights.sum())
        return Metered(median, mean, np.array(color, np.float32))

    @staticmethod
    def blur(
        light: np.ndarray,
        point: np.ndarray,
        moves: np.ndarray,
        shift: np.ndarray,
        camera: Camera,
        after: Camera,
    ) -> np.ndarray:
        """(3, H, W) light that comes in while the shutter is open.

        Along the way that each pixel's point takes through the image, which is taken for straight,
        the light of the middle of that time is averaged. What is hidden in that moment cannot show.

        Args:
            light: (3, H, W) at the middle of the time.
            point: (3, H, W) that each pixel sees, world, metres.
            moves: (H, W) bool, the pixels of the thing that moves.
            shift: (3,) by which it moves until the end, metres.
            camera, after: in the middle and at the end of the time.
        """
        offset = point - planes(after.position) + moves * planes(shift)
        right, up, forward = (dot(planes(axis), offset) for axis in after.axes)
        forward = np.maximum(forward, 0.05)
        (fx, _, cx), (_, fy, cy) = after.cam2img[:2]
        rows, columns = np.indices(moves.shape, np.float32)
        across = np.float32(fx) * right / forward + np.float32(cx) - columns
        down = np.float32(-fy) * up / forward + np.float32(cy) - rows
        picture = np.ascontiguousarray(light.transpose(1, 2, 0))
        total = np.zeros_like(picture)
        for part in ((np.arange(_BLURS) + 0.5) / _BLURS * 2 - 1).astype(np.float32):
            total += cv2.remap(
                picture,
                columns - part * across,
                rows - part * down,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        return total.transpose(2, 0, 1) / _BLURS

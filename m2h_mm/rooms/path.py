"""The way of a camera that somebody carries through a room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms.camera import Camera, look
from m2h_mm.rooms.free_space import CELL, FreeSpace
from m2h_mm.rooms.room import Room
from m2h_mm.rooms.viewpoint import Framing, score_views

_RATE = 20
"""Points of the path per second, between which it is interpolated."""
_SMOOTH_WAY, _SMOOTH_GAZE = 0.25, 0.5
"""Standard deviations of the filters: along the way, metres, and of the gaze in time, seconds."""
_LEAST = 0.2
"""Least distance of the camera from what it could run into, metres."""
_LOOK = (1.2, 3.0)
"""How long somebody looks at one thing, least and most, seconds."""
_VIEWS = 64
_SHAKES = 6


@dataclass(frozen=True)
class Pace:
    """How somebody walks.

    Attributes:
        speed: mean, metres per second.
        shake: of the hand, relative to the usual one; 0 for a camera on rails.
    """

    speed: float = 0.4
    shake: float = 1.0


class CameraPath:
    """A smooth way through the free space of a room, and what is looked at on it.

    Somebody walks from place to place around the furniture, looks at one thing after the other, and
    holds the camera by hand: it sways with the steps and trembles. The camera comes no nearer than
    0.2 m to anything that stands in the way of a body between the knees and the camera, or, in a
    room that is too full for a body, in that of the camera.

    Args:
        rng: the path follows from its state, the room, framing, duration and pace alone.
        room: the room.
        framing: how the camera is held.
        duration: seconds that the path lasts, above 0.
        pace: how somebody walks.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        room: Room,
        framing: Framing,
        duration: float,
        pace: Pace = Pace(),
    ) -> None:
        from scipy.interpolate import make_interp_spline

        self.field_of_view = np.radians(rng.uniform(*framing.field_of_view))
        self._center_shift = rng.normal(0, 0.01, 2)
        eye = rng.uniform(*framing.heights)
        roll = rng.normal(0, np.radians(framing.roll))
        self.space = FreeSpace(room, eye)
        # One second more on either side, so that filters have no border within the path.
        times = np.arange(-_RATE, (duration + 1) * _RATE + 1) / _RATE
        position = np.column_stack([self._walk(rng, times, pace.speed), np.full(len(times), eye)])
        gaze = self._gaze(rng, room, framing, times, position)
        course = np.column_stack([position, gaze, np.full(len(times), roll)])
        self._course = make_interp_spline(times, course, k=3)
        self._shakes = _make_shakes(rng, pace)

    def _walk(self, rng: np.random.Generator, times: np.ndarray, speed: float) -> np.ndarray:
        """(T, 2) positions on the floor."""
        from scipy.ndimage import gaussian_filter1d

        space = self.space
        phase, swing = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.2)
        # The pace rises and falls, and is never below half of the mean.
        walked = speed * (times + 0.5 / swing * (np.sin(swing * times + phase)))
        walked -= walked[0]
        here = space.cells[rng.integers(len(space.cells))]
        way, length = [here], 0.0
        while length < walked[-1] + 4 * _SMOOTH_WAY and len(space.cells) > 1:
            ways = space.ways_from(here)
            far = rng.uniform(0.5, 1) * min(float(ways.length.max()), 6.0)
            # Of the places that are about so far away, one at random.
            near = np.flatnonzero(np.abs(ways.length - far) < 0.15 * far + 2 * CELL)
            leg = ways.to(int(rng.choice(near)) if len(near) else int(ways.length.argmax()))
            way.extend(leg[1:])
            here = way[-1]
            length += CELL * np.linalg.norm(np.diff(leg, axis=0), axis=1).sum()
        points = space.place(np.array(way))
        if len(points) < 2:
            return np.repeat(points, len(times), 0)
        along = np.append(0, np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum())
        # Smoothed as a function of the length of the way, it slows down where it turns back.
        step = 0.02
        even = np.arange(0, along[-1], step)
        points = np.column_stack([np.interp(even, along, axis) for axis in points.T])
        for width in (1, 0.7, 0.4, 0.2, 0.1, 0.0):
            smooth = points
            if width:
                smooth = gaussian_filter1d(points, width * _SMOOTH_WAY / step, axis=0)
            if width == 0 or space.clearance_at(smooth).min() > _LEAST + CELL:
                break
        return np.column_stack([np.interp(walked, even, axis) for axis in smooth.T])

    def _gaze(self, rng, room, framing: Framing, times, position) -> np.ndarray:
        """(T, 2) bearing and elevation of what the camera looks at, radians."""
        from scipy.ndimage import gaussian_filter1d

        bearing, gaze = None, np.empty((len(times), 2))
        first = 0
        while first < len(times):
            last = min(first + int(rng.uniform(*_LOOK) * _RATE), len(times))
            target = np.column_stack(
                [
                    rng.uniform(-1, 1, (_VIEWS, 2)) * room.size[:2] / 2,
                    rng.uniform(*framing.aims, _VIEWS),
                ]
            )
            noise = rng.normal(0, 0.3, _VIEWS)
            score = noise
            # What is good to look at from where the look begins and from where it ends.
            for index in (first, last - 1):
                here = np.repeat(position[index][None], _VIEWS, 0)
                score = score + score_views(room, here, target, self.field_of_view, framing.spacing)
                distance = np.linalg.norm((target - here)[:, :2], axis=1)
                score -= 10 * (distance < framing.nearest)
            offset = target - position[first]
            if bearing is not None:
                # A person turns the head by a quarter rather than all around.
                turn = np.arctan2(offset[:, 1], offset[:, 0]) - bearing
                score -= 2 * np.abs(np.angle(np.exp(1j * turn)))
            offset = target[score.argmax()] - position[first:last]
            gaze[first:last, 0] = np.arctan2(offset[:, 1], offset[:, 0])
            gaze[first:last, 1] = np.arctan2(offset[:, 2], np.hypot(offset[:, 0], offset[:, 1]))
            bearing, first = gaze[last - 1, 0], last
        gaze[:, 0] = np.unwrap(gaze[:, 0])
        return gaussian_filter1d(gaze, _SMOOTH_GAZE * _RATE, axis=0)

    def camera(self, time: float, height: int, width: int) -> Camera:
        """The camera at ``time`` seconds, with images of ``height`` x ``width`` pixels."""
        frequency, phase, size = self._shakes
        shake = (size * np.sin(2 * np.pi * frequency * time + phase)).sum(0)
        x, y, z, bearing, elevation, roll = self._course(time) + shake
        position = np.array([x, y, z])
        forward = [
            np.cos(bearing) * np.cos(elevation),
            np.sin(bearing) * np.cos(elevation),
            np.sin(elevation),
        ]
        focal = 0.5 * width / np.tan(self.field_of_view / 2)
        return look(
            position, position + forward, roll, focal, height, width, self._center_shift * width
        )


def _make_shakes(rng: np.random.Generator, pace: Pace) -> np.ndarray:
    """(3, K, 6) frequency in Hz, phase and size of the swings of x, y, z, bearing, elevation, roll,
    in metres and radians: slow ones are large, and one goes with the steps.
    """
    frequency = np.exp(rng.uniform(np.log(0.3), np.log(4), (_SHAKES, 6)))
    phase = rng.uniform(0, 2 * np.pi, (_SHAKES, 6))
    size = 1 / frequency
    size *= [0.006, 0.006, 0.005, *np.radians([0.5, 0.5, 0.35])] / np.sqrt((size**2).sum(0) / 2)
    frequency[0, :3] = 1.7 * np.sqrt(pace.speed / 0.5) * np.array([0.5, 0.5, 1])
    size[0, :3] = (0.006, 0.006, 0.012)
    return np.array([frequency, phase, size * pace.shake])

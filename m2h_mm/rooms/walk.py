"""A walk through a room: the frames of a film, with all labels and poses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from m2h_mm.rooms.camera import Camera
from m2h_mm.rooms.film import Film
from m2h_mm.rooms.moving import place_moving
from m2h_mm.rooms.path import CameraPath, Pace
from m2h_mm.rooms.primitives import Primitives
from m2h_mm.rooms.render import RoomFrame, label_maps, see
from m2h_mm.rooms.styles import find_style
from m2h_mm.system.spelling import did_you_mean

EXPOSURES = ('fixed', 'auto')
MOVING = ('ball', 'box')
_OPTICAL = np.array([[1.0], [-1.0], [1.0]])
"""From our axes right, up, forward to those of a pose: right, down, forward."""


@dataclass(frozen=True)
class WalkOptions:
    """How a walk is walked and filmed.

    Attributes:
        num_frames: number of frames.
        fps: frames per second.
        speed: mean speed of walking, metres per second.
        shake: of the hand, relative to the usual one; 0 for a camera on rails.
        exposure: 'fixed', the camera is set once, or 'auto', it follows what is in view with the
            delay of a real one.
        shutter: seconds for which the shutter is open: the image is blurred by what moves
            meanwhile, labels are those of the middle of the time. 0: no blur.
        moving: 'ball' or 'box', one thing that slides to and fro on the floor, where the room has
            space for it; None for nothing.

    Raises:
        ValueError: numbers that cannot be, or names that there are not.
    """

    num_frames: int = 60
    fps: float = 15.0
    speed: float = 0.4
    shake: float = 1.0
    exposure: str = 'fixed'
    shutter: float = 0.0
    moving: str | None = None

    def __post_init__(self) -> None:
        if not (
            self.num_frames >= 1
            and 0 < self.fps < np.inf
            and 0 < self.speed <= 3
            and 0 <= self.shake <= 10
            and 0 <= self.shutter <= 1 / self.fps
        ):
            raise ValueError(
                f'walk: {asdict(self)}: expected num_frames of at least 1, fps above 0, speed in '
                '(0, 3] m/s, shake in 0..10, and a shutter in 0..1/fps seconds.'
            )
        for name, value, known in (
            ('exposure', self.exposure, EXPOSURES),
            ('moving', self.moving or 'ball', MOVING),
        ):
            if value not in known:
                raise ValueError(
                    f'walk: {name}={value!r}: expected one of {", ".join(map(repr, known))}.'
                    + did_you_mean(value, known)
                )


DEFAULT_WALK = WalkOptions()


@dataclass
class WalkFrame(RoomFrame):
    """A frame of a walk, with all labels.

    Attributes:
        cam2world: (4, 4) float64, from the camera's optical frame (x right, y down, z forward) to
            the room (z up, the floor at z = 0), metres.
        timestamp: seconds from the first frame.
        moving: number among ``instances`` of the thing that moves; None without one.
    """

    cam2world: np.ndarray
    timestamp: float
    moving: int | None


class Walk:
    """A film of a room, which is built once; each frame is rendered when it is asked for.

    (style, seed, index, options) alone decide what frames look like, in whatever order they are
    asked for; the size only decides how many pixels they have. The room is that of frame ``index``
    of :func:`render_frame`.

    Args:
        seed, index: non-negative integers.
        height, width: of the frames in pixels.
        style: ``'plain'`` or ``'varied'``, see :mod:`m2h_mm.rooms.styles`.
        options: see :class:`WalkOptions`.

    Raises:
        ValueError: there is no such style.
    """

    def __init__(
        self,
        seed: int,
        index: int,
        height: int = 240,
        width: int = 320,
        style: str = 'plain',
        options: WalkOptions = DEFAULT_WALK,
    ) -> None:
        kind = find_style(style)
        self.options, self._size, self._key = options, (height, width), (seed, index)
        rng = np.random.default_rng(self._key)
        self.room = kind.make_room(rng)
        self._lights = kind.make_lights(rng, self.room)
        duration = len(self) / options.fps
        self._path = CameraPath(
            np.random.default_rng((*self._key, 1)),
            self.room,
            kind.framing,
            duration,
            Pace(options.speed, options.shake),
        )
        self._moving = None
        if options.moving is not None:
            cameras = [self._camera(self.time(i)) for i in range(len(self))]
            times = [self.time(i) for i in range(len(self))]
            moving_rng = np.random.default_rng((*self._key, 2))
            self._moving = place_moving(moving_rng, self.room, options.moving, times, cameras)
        self._primitives = Primitives(self.room.group.parts)
        self._film = Film(kind.photograph, self._key, options.exposure, duration, self._glance)

    def __len__(self) -> int:
        return self.options.num_frames

    def __iter__(self) -> Iterator[WalkFrame]:
        return map(self.frame, range(len(self)))

    def time(self, number: int) -> float:
        """Seconds from the first frame to frame ``number``."""
        return number / self.options.fps

    def cam2world(self, number: int) -> np.ndarray:
        """The pose of frame ``number``, see :class:`WalkFrame`."""
        camera = self._camera(self.time(number))
        pose = np.eye(4)
        pose[:3, :3] = (_OPTICAL * camera.axes).T
        pose[:3, 3] = camera.position
        return pose

    @property
    def moving(self) -> int | None:
        """Number among the room's instances of the thing that moves; None without one."""
        return self._moving.instance if self._moving else None

    def moving_at(self, number: int) -> np.ndarray | None:
        """(3,) shift in frame ``number`` of what moves, metres, from where the room has its
        parts; None without one.
        """
        return self._moving and self._moving.at(self.time(number))

    @property
    def cam2img(self) -> np.ndarray:
        """(3, 3) intrinsics of all frames, pixels."""
        return self._camera(0.0).cam2img

    def frame(self, number: int) -> WalkFrame:
        """Frame ``number``, from 0.

        Raises:
            IndexError: there are not so many.
        """
        if not 0 <= number < len(self):
            raise IndexError(f'frame {number}: the walk has {len(self)}.')
        time = self.time(number)
        camera, primitives = self._camera(time), self._at(time)
        light, hits = see(self.room, primitives, self._lights, camera)
        labels = label_maps(self.room, primitives, camera, hits)
        if self.options.shutter:
            half = self.options.shutter / 2
            shift = np.zeros(3)
            if self._moving is not None:
                shift = self._moving.at(time + half) - self._moving.at(time)
            moves = labels['instances'] == (-1 if self.moving is None else self.moving)
            after = self._camera(time + half)
            light = self._film.blur(light, hits.point, moves, shift, camera, after)
        return WalkFrame(
            image=self._film.develop(light, number, time),
            **labels,
            cam2world=self.cam2world(number),
            timestamp=time,
            moving=self.moving,
        )

    def _camera(self, time: float, size: tuple[int, int] | None = None) -> Camera:
        return self._path.camera(time, *(size or self._size))

    def _at(self, time: float) -> Primitives:
        if self._moving is None:
            return self._primitives
        return self._primitives.shifted(self._moving.instance, self._moving.at(time))

    def _glance(self, time: float) -> np.ndarray:
        """(3, h, w) light of a small picture."""
        height, width = self._size
        size = (24, max(round(24 * width / height), 1))
        camera = self._camera(time, size)
        return see(self.room, self._at(time), self._lights, camera)[0]

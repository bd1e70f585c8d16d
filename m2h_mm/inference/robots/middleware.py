"""What the live node wants of ROS, whichever version: the two front ends give it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

NODE = 'mono_hydra_perception'
"""Mono-Hydra's own name, by which launch files set its parameters."""


class Middleware(Protocol):
    """A front end.

    Attributes:
        version: of ROS, 1 or 2.
        simulated: whether the time is that of a simulation or a recording.
    """

    version: int
    simulated: bool

    def parameter(self, name: str, default: Any) -> Any:
        """A private parameter of the node."""

    def given_parameters(self) -> set[str]:
        """Names of the private parameters that somebody has set."""

    def publisher(self, topic: str, kind: str, queue_size: int) -> Callable[[Any], None]:
        """What publishes a message.

        Args:
            topic: its name.
            kind: of message, such as ``Image``.
            queue_size: messages that wait for slow listeners.
        """

    def subscribe(
        self,
        topic: str,
        kind: str,
        callback: Callable[[Any], None],
        queue_size: int,
        reliable: bool = True,
    ) -> None:
        """Have ``callback`` called with each message, in another thread."""

    def message(self, kind: str, header: Any = None, **fields: Any) -> Any:
        """A message; arrays become what ROS takes."""

    def listen_to_poses(self) -> None:
        """Begin to collect poses (TF)."""

    def pose(self, fixed: str, frame: str, stamp: Any, timeout: float) -> np.ndarray | None:
        """``(4, 4)`` float64, from ``frame`` to ``fixed`` at a time; None if nobody knows."""

    def now(self) -> float:
        """Seconds."""

    def log(self, level: str, text: str) -> None:
        """``info``, ``warn`` or ``error``; of two alike within 5 seconds the second is left out."""

    def on_shutdown(self, work: Callable[[], None]) -> None:
        """Have ``work`` done when ROS asks the node to end."""

    def spin(self) -> None:
        """Begin to call callbacks."""

    def close(self) -> None:
        """Leave ROS."""


class Throttle:
    """Lets through what was not said a short while ago.

    Args:
        seconds: how long it is left out. What begins alike is alike; what is only for information
            is always let through.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds = seconds
        self._said: dict[tuple[str, str], float] = {}

    def __call__(self, level: str, text: str) -> bool:
        key, now = (level, text[:24]), time.monotonic()
        if level != 'info' and now - self._said.get(key, -math.inf) < self.seconds:
            return False
        self._said[key] = now
        return True


def seconds_of(stamp: Any) -> float:
    """ROS 1 writes secs and nsecs, ROS 2 sec and nanosec."""
    if hasattr(stamp, 'secs'):
        return stamp.secs + stamp.nsecs * 1e-9
    return stamp.sec + stamp.nanosec * 1e-9


def matrix_of(transform: Any) -> np.ndarray:
    """``(4, 4)`` of a ``geometry_msgs/Transform``."""
    quaternion, move = transform.rotation, transform.translation
    x, y, z, w = np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w], float)
    x, y, z, w = np.array([x, y, z, w]) / max(np.sqrt(x * x + y * y + z * z + w * w), 1e-12)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = move.x, move.y, move.z
    return matrix

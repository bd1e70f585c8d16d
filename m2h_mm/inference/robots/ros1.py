"""The front end of the live node for ROS 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from m2h_mm.inference.robots.middleware import NODE, Throttle, matrix_of

PACKAGES = dict(Odometry='nav_msgs')
REMEMBER_POSES = 10.0  # seconds


class Ros1:
    """ROS 1 by rospy, see :class:`~m2h_mm.inference.robots.middleware.Middleware`.

    Args:
        arguments: of the command line: ``_name:=value`` sets a parameter, ``from:=to`` renames a
            topic.

    Raises:
        ImportError: rospy is not there.
    """

    version = 1

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        try:
            import rospy
        except ImportError as error:
            raise ImportError(
                f'The node needs rospy ({error}). Source the setup.bash of ROS first; where a '
                "distribution's own packages hold it (Debian: python3-rospy), add --packages "
                '/usr/lib/python3/dist-packages.'
            ) from error
        self._rospy = rospy
        self._throttle = Throttle()
        self._poses: Any = None
        rospy.init_node(NODE, argv=['node', *arguments])

    @property
    def simulated(self) -> bool:
        return bool(self._rospy.get_param('/use_sim_time', False))

    def parameter(self, name: str, default: Any) -> Any:
        return self._rospy.get_param(f'~{name}', default)

    def given_parameters(self) -> set[str]:
        return set(self._rospy.get_param('~', {}))

    def publisher(self, topic: str, kind: str, queue_size: int) -> Callable[[Any], None]:
        return self._rospy.Publisher(topic, self._type(kind), queue_size=queue_size).publish

    def subscribe(
        self,
        topic: str,
        kind: str,
        callback: Callable[[Any], None],
        queue_size: int,
        reliable: bool = True,
    ) -> None:
        # Every connection of ROS 1 is reliable. A small buffer makes rospy lag behind.
        self._rospy.Subscriber(
            topic, self._type(kind), callback, queue_size=queue_size, buff_size=2**24
        )

    def message(self, kind: str, header: Any = None, **fields: Any) -> Any:
        message = self._type(kind)()
        if header is not None:
            # Not the header itself: its number is set when a message is sent.
            message.header.stamp, message.header.frame_id = header.stamp, header.frame_id
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                value = value.tobytes() if name == 'data' else value.tolist()
            setattr(message, name, value)
        return message

    def listen_to_poses(self) -> None:
        import tf2_ros

        self._poses = tf2_ros.Buffer(self._rospy.Duration(REMEMBER_POSES))
        tf2_ros.TransformListener(self._poses)

    def pose(self, fixed: str, frame: str, stamp: Any, timeout: float) -> np.ndarray | None:
        import tf2_ros

        try:
            found = self._poses.lookup_transform(
                fixed.strip('/'), frame.strip('/'), stamp, self._rospy.Duration(timeout)
            )
        except tf2_ros.TransformException:
            return None
        return matrix_of(found.transform)

    def now(self) -> float:
        return self._rospy.get_time()

    def log(self, level: str, text: str) -> None:
        if self._throttle(level, text):
            rospy = self._rospy
            dict(info=rospy.loginfo, warn=rospy.logwarn, error=rospy.logerr)[level](text)

    def on_shutdown(self, work: Callable[[], None]) -> None:
        self._rospy.on_shutdown(work)

    def spin(self) -> None:
        """rospy calls callbacks by itself."""

    def close(self) -> None:
        self._rospy.signal_shutdown('the node has ended')

    def _type(self, kind: str) -> Any:
        return getattr(import_module(f'{PACKAGES.get(kind, "sensor_msgs")}.msg'), kind)

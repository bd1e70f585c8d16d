"""The front end of the live node for ROS 2."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from m2h_mm.inference.robots.middleware import NODE, Throttle, matrix_of

PACKAGES = dict(Odometry='nav_msgs')
REMEMBER_POSES = 10.0  # seconds


class Ros2:
    """ROS 2 by rclpy, see :class:`~m2h_mm.inference.robots.middleware.Middleware`.

    Args:
        arguments: of the command line, behind ``--ros-args``: ``-p name:=value`` sets a parameter,
            ``-r from:=to`` renames a topic.

    Raises:
        ImportError: rclpy is not there.
    """

    version = 2

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        try:
            import rclpy
        except ImportError as error:
            raise ImportError(
                f'The node needs rclpy ({error}). Source the setup.bash of ROS 2 first, in an '
                'environment of the Python that it was built for.'
            ) from error
        self._rclpy = rclpy
        self._throttle = Throttle()
        self._poses: Any = None
        rclpy.init(args=list(arguments))
        self._node = rclpy.create_node(NODE, automatically_declare_parameters_from_overrides=True)
        self._given = set(self._node.get_parameters_by_prefix(''))

    @property
    def simulated(self) -> bool:
        return bool(self._node.get_parameter('use_sim_time').value)

    def parameter(self, name: str, default: Any) -> Any:
        if not self._node.has_parameter(name):
            self._node.declare_parameter(name, default)
        return self._node.get_parameter(name).value

    def given_parameters(self) -> set[str]:
        return self._given

    def publisher(self, topic: str, kind: str, queue_size: int) -> Callable[[Any], None]:
        return self._node.create_publisher(self._type(kind), topic, queue_size).publish

    def subscribe(
        self,
        topic: str,
        kind: str,
        callback: Callable[[Any], None],
        queue_size: int,
        reliable: bool = True,
    ) -> None:
        from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

        quality = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=queue_size,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        self._node.create_subscription(self._type(kind), topic, callback, quality)

    def message(self, kind: str, header: Any = None, **fields: Any) -> Any:
        message = self._type(kind)()
        if header is not None:
            message.header = header
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                # What rclpy takes as it is; of other sequences it looks at every byte.
                value = array('B', value.tobytes()) if name == 'data' else value.tolist()
            setattr(message, name, value)
        return message

    def listen_to_poses(self) -> None:
        import tf2_ros
        from rclpy.duration import Duration

        self._poses = tf2_ros.Buffer(cache_time=Duration(seconds=REMEMBER_POSES))
        tf2_ros.TransformListener(self._poses, self._node)

    def pose(self, fixed: str, frame: str, stamp: Any, timeout: float) -> np.ndarray | None:
        import tf2_ros
        from rclpy.duration import Duration
        from rclpy.time import Time

        try:
            found = self._poses.lookup_transform(
                fixed.strip('/'),
                frame.strip('/'),
                Time.from_msg(stamp),
                timeout=Duration(seconds=timeout),
            )
        except tf2_ros.TransformException:
            return None
        return matrix_of(found.transform)

    def now(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def log(self, level: str, text: str) -> None:
        if self._throttle(level, text):
            logger = self._node.get_logger()
            # rclpy keeps the level of each line of code: three lines for three levels.
            if level == 'info':
                logger.info(text)
            elif level == 'warn':
                logger.warning(text)
            else:
                logger.error(text)

    def on_shutdown(self, work: Callable[[], None]) -> None:
        self._rclpy.get_default_context().on_shutdown(work)

    def spin(self) -> None:
        threading.Thread(target=self._spin, name='rclpy', daemon=True).start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        try:
            self._rclpy.spin(self._node)
        except (ExternalShutdownException, KeyboardInterrupt):
            pass

    def close(self) -> None:
        self._rclpy.try_shutdown()

    def _type(self, kind: str) -> Any:
        return getattr(import_module(f'{PACKAGES.get(kind, "sensor_msgs")}.msg'), kind)

"""Stand-ins for ROS: a front end that records, and the parts of rclpy that ours uses."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def stamp(seconds: float) -> SimpleNamespace:
    return SimpleNamespace(sec=int(seconds), nanosec=round(seconds % 1 * 10**9))


def header(seconds: float = 12.5, frame: str = 'optical') -> SimpleNamespace:
    return SimpleNamespace(stamp=stamp(seconds), frame_id=frame)


def picture(pixels: np.ndarray, seconds: float = 12.5) -> SimpleNamespace:
    """A message rgb8."""
    return SimpleNamespace(
        header=header(seconds),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding='rgb8',
        is_bigendian=0,
        step=pixels.shape[1] * 3,
        data=pixels.tobytes(),
    )


def camera_info(size: tuple[int, int], focal: float = 40.0, d=(0.0,) * 5) -> SimpleNamespace:
    height, width = size
    matrix = [focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1]
    return SimpleNamespace(
        header=header(0.0),
        height=height,
        width=width,
        distortion_model='plumb_bob',
        d=list(d),
        k=matrix,
        r=[1, 0, 0, 0, 1, 0, 0, 0, 1],
        p=[*matrix[:3], 0, *matrix[3:6], 0, *matrix[6:], 0],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    )


class RecordingRos:
    """A front end of ROS 2 without ROS.

    Attributes:
        published: topic to its messages.
        callbacks: topic to what is called.
        said: level and text.
        poses: seconds to ``(4, 4)``.
    """

    version = 2

    def __init__(self, simulated: bool = False, now: float = 0.0, **given: Any) -> None:
        self.simulated, self.time, self.given = simulated, now, given
        self.published: dict[str, list] = {}
        self.callbacks: dict[str, Any] = {}
        self.said: list[tuple[str, str]] = []
        self.poses: dict[float, np.ndarray] = {}
        self.ended = False

    def parameter(self, name: str, default: Any) -> Any:
        return self.given.get(name, default)

    def given_parameters(self) -> set[str]:
        return set(self.given)

    def publisher(self, topic, kind, queue_size):
        return self.published.setdefault(topic, []).append

    def subscribe(self, topic, kind, callback, queue_size, reliable=True):
        self.callbacks[topic] = callback

    def message(self, kind, header=None, **fields):
        return SimpleNamespace(kind=kind, header=header, **fields)

    def listen_to_poses(self):
        pass

    def pose(self, fixed, frame, stamp, timeout):
        return self.poses.get(stamp.sec + stamp.nanosec * 1e-9)

    def now(self):
        return self.time

    def log(self, level, text):
        self.said.append((level, text))

    def on_shutdown(self, work):
        self.stop = work

    def spin(self):
        pass

    def close(self):
        self.ended = True


class _Message:
    """Made empty, filled field by field."""

    def __init__(self) -> None:
        self.header = None


class RclpyNode:
    """What rclpy makes a node of; parameters come from ``-p name:=value``."""

    def __init__(self, name: str, overrides: dict[str, Any]) -> None:
        self.name, self.values = name, {'use_sim_time': False, **overrides}
        self.overrides, self.publishers, self.subscriptions = overrides, {}, {}
        self.said: list[tuple[str, str]] = []

    def get_parameters_by_prefix(self, prefix):
        return dict(self.overrides)

    def has_parameter(self, name):
        return name in self.values

    def declare_parameter(self, name, value):
        assert name not in self.values
        self.values[name] = value

    def get_parameter(self, name):
        return SimpleNamespace(value=self.values[name])

    def create_publisher(self, kind, topic, quality):
        messages = self.publishers.setdefault(topic, [])
        return SimpleNamespace(publish=messages.append)

    def create_subscription(self, kind, topic, callback, quality):
        self.subscriptions[topic] = (kind.__name__, callback, quality)

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=3_500_000_000))

    def get_logger(self):
        return SimpleNamespace(
            **{
                level: lambda text, level=level: self.said.append((level, text))
                for level in ('info', 'warning', 'error')
            }
        )


def rclpy_stand_in(monkeypatch, transform=None) -> SimpleNamespace:
    """Put stand-ins of rclpy, its messages and tf2_ros in the place of those modules.

    Args:
        transform: what TF knows: a ``geometry_msgs/Transform``; None: nothing.

    Returns:
        ``node`` once there is one, ``spun``, ``stopped``, and ``shutdown`` to end it.
    """
    state = SimpleNamespace(node=None, spun=[], stopped=False, shutdown=[])

    def module(name: str, **contents: Any) -> None:
        made = ModuleType(name)
        vars(made).update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    def init(args):
        texts = [text.partition(':=') for text in args if ':=' in text]
        words = dict(true=True, false=False)
        state.overrides = {
            name: words.get(value, int(value) if value.isdecimal() else value)
            for name, _, value in texts
        }

    def create_node(name, automatically_declare_parameters_from_overrides):
        state.node = RclpyNode(name, state.overrides)
        return state.node

    class TransformException(Exception):
        pass

    class Buffer:
        def __init__(self, cache_time):
            pass

        def lookup_transform(self, target, source, time, timeout):
            if transform is None:
                raise TransformException
            state.asked = (target, source, time)
            return SimpleNamespace(transform=transform)

    def policy(**values):
        return SimpleNamespace(**values)

    module(
        'rclpy',
        init=init,
        create_node=create_node,
        spin=state.spun.append,
        try_shutdown=lambda: setattr(state, 'stopped', True),
        get_default_context=lambda: SimpleNamespace(on_shutdown=state.shutdown.append),
    )
    module(
        'rclpy.qos',
        HistoryPolicy=policy(KEEP_LAST='last'),
        ReliabilityPolicy=policy(RELIABLE='reliable', BEST_EFFORT='best effort'),
        QoSProfile=policy,
    )
    module('rclpy.duration', Duration=lambda seconds: seconds)
    module('rclpy.time', Time=policy(from_msg=lambda stamp: stamp.sec))
    module('rclpy.executors', ExternalShutdownException=type('Ended', (Exception,), {}))
    module('tf2_ros', Buffer=Buffer, TransformListener=policy_listener(state))
    vars(sys.modules['tf2_ros'])['TransformException'] = TransformException
    kinds = ('Image', 'CompressedImage', 'CameraInfo', 'PointCloud2', 'PointField')
    module('sensor_msgs', msg=None)
    module('sensor_msgs.msg', **{kind: type(kind, (_Message,), {}) for kind in kinds})
    module('nav_msgs', msg=None)
    module('nav_msgs.msg', Odometry=type('Odometry', (_Message,), {}))
    return state


def policy_listener(state: SimpleNamespace):
    def listener(buffer, node):
        state.listening = True

    return listener

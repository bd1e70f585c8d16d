"""Tiny bags of every kind, written by rosbags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

KINDS = ('ros1', 'sqlite3', 'mcap')
SIZE = (28, 42)
CAMERA = [40.0, 0, 20.5, 0, 40, 13.5, 0, 0, 1]
IMAGES, INFOS = '/cam/image_raw', '/cam/camera_info'


class SmallBag:
    """Writes messages of one version of ROS to a bag."""

    def __init__(self, path: Path, kind: str = 'ros1') -> None:
        from rosbags.typesys import Stores, get_typestore

        self.is_ros2 = kind != 'ros1'
        self.path = path
        self.store = get_typestore(Stores.ROS2_HUMBLE if self.is_ros2 else Stores.ROS1_NOETIC)
        self.writer = self._writer(kind)
        self.connections: dict[str, Any] = {}

    def _writer(self, kind: str):
        if kind == 'ros1':
            from rosbags.rosbag1 import Writer

            return Writer(self.path)
        from rosbags.rosbag2 import StoragePlugin, Writer

        return Writer(self.path, version=9, storage_plugin=StoragePlugin[kind.upper()])

    def __enter__(self) -> SmallBag:
        self.writer.open()
        return self

    def __exit__(self, *error) -> None:
        self.writer.close()

    def type(self, name: str):
        return self.store.types[name]

    def header(self, time: int, frame: str = 'cam_optical'):
        stamp = self.type('builtin_interfaces/msg/Time')(time // 10**9, time % 10**9)
        sequence = {} if self.is_ros2 else dict(seq=time // 10**8)
        return self.type('std_msgs/msg/Header')(stamp=stamp, frame_id=frame, **sequence)

    def write(self, topic: str, time: int, name: str, details: dict | None = None, **fields):
        """A message ``name`` with these fields."""
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(
                topic, name, typestore=self.store, **(details or {})
            )
        message = self.type(name)(**fields)
        pack = self.store.serialize_cdr if self.is_ros2 else self.store.serialize_ros1
        self.writer.write(self.connections[topic], time, bytes(pack(message, name)))

    def image(self, time: int, pixels: np.ndarray, encoding: str = 'rgb8', topic: str = IMAGES):
        self.write(
            topic,
            time + 5,  # it arrives later
            'sensor_msgs/msg/Image',
            header=self.header(time),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels[0].nbytes,
            data=np.ascontiguousarray(pixels).reshape(-1).view(np.uint8),
        )

    def compressed(self, time: int, data: bytes, format: str, topic: str):
        self.write(
            topic,
            time + 5,
            'sensor_msgs/msg/CompressedImage',
            header=self.header(time),
            format=format,
            data=np.frombuffer(data, np.uint8),
        )

    def info(
        self,
        time: int,
        topic: str = INFOS,
        K=CAMERA,
        D=(0.0,) * 5,
        model='plumb_bob',
        size=SIZE,
    ):
        names = 'kdrp' if self.is_ros2 else 'KDRP'
        matrix = np.array(K, float)
        projection = np.zeros((3, 4))
        projection[:, :3] = matrix.reshape(3, 3)
        values = (matrix, np.array(D, float), np.eye(3).reshape(-1), projection.reshape(-1))
        self.write(
            topic,
            time + 6,
            'sensor_msgs/msg/CameraInfo',
            header=self.header(time),
            height=size[0],
            width=size[1],
            distortion_model=model,
            binning_x=0,
            binning_y=0,
            roi=self.type('sensor_msgs/msg/RegionOfInterest')(0, 0, 0, 0, False),
            **dict(zip(names, values, strict=True)),
        )

    def text(self, time: int, words: str, topic: str = '/chatter', details: dict | None = None):
        self.write(topic, time, 'std_msgs/msg/String', details, data=words)


def name_of(kind: str, stem: str) -> str:
    return f'{stem}.bag' if kind == 'ros1' else stem


def read_all(path: Path) -> list[tuple[Any, int, bytes, Any]]:
    """Connection, time, bytes and message, of all messages of a bag."""
    from rosbags.highlevel import AnyReader

    with AnyReader([path]) as reader:
        return [
            (connection, time, bytes(content), reader.deserialize(content, connection.msgtype))
            for connection, time, content in reader.messages()
        ]

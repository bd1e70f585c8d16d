"""The pictures of a bag, one after the other, each with its camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2h_mm.inference.robots.bag_files import (
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    open_bag,
    read_messages,
)
from m2h_mm.inference.robots.cameras import Camera
from m2h_mm.inference.robots.images import UnknownEncoding, rgb_of
from m2h_mm.system.spelling import did_you_mean

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader


@dataclass
class BagFrame:
    """A picture of a bag.

    Attributes:
        header: of its message.
        image: ``(H, W, 3)`` uint8 RGB, rectified if that was asked for; None if it is damaged.
        camera: of ``image``; None where the bag does not say.
        seen: ``(H, W)`` bool, what of a rectified image the camera has seen. None: all.
        error: why there is no image.
    """

    header: Any
    image: np.ndarray | None = None
    camera: Camera | None = None
    seen: np.ndarray | None = None
    error: str | None = None


@dataclass
class BagFrames:
    """Pictures of one topic of a bag.

    Args:
        path: of the bag.
        image_topic: of raw or compressed images. Default: the only one there is.
        camera_info_topic: of their camera. Default: ``camera_info`` beside the image topic, if the
            bag has it.
        rectify: whether to take out the distortion of the lens.
        every: take each so manieth picture only.
        start: pictures that are passed over, of those that are taken.

    Attributes:
        total: number of pictures that are taken, with those that are passed over.

    Raises:
        ValueError: there is no such topic, with a list of those that there are; the camera is not
            known, or not calibrated; pictures of an encoding that is not read; see also
            :func:`~m2h_mm.inference.robots.bag_files.open_bag`.
    """

    path: Path
    image_topic: str | None = None
    camera_info_topic: str | None = None
    rectify: bool = False
    every: int = 1
    start: int = 0

    def __post_init__(self) -> None:
        with open_bag(self.path) as reader:
            images = _topics(reader, IMAGE, COMPRESSED)
            self.image_topic = _choose(self.path, 'image topic', self.image_topic, images)
            infos = _topics(reader, CAMERA_INFO)
            if self.camera_info_topic is None:
                beside = camera_info_beside(self.image_topic)
                self.camera_info_topic = beside if beside in infos else None
            else:
                self.camera_info_topic = _choose(
                    self.path, 'camera info', self.camera_info_topic, infos
                )
            if self.rectify and self.camera_info_topic is None:
                raise ValueError(
                    f'Bag {self.path}: to rectify, the camera must be known, and there is no '
                    f'{camera_info_beside(self.image_topic)}. '
                    + _listed('CameraInfo', infos)
                    + ' Name one with --camera-info-topic, or leave out --rectify.'
                )
            self.total = reader.topics[self.image_topic].msgcount // self.every

    def __iter__(self) -> Iterator[BagFrame]:
        with open_bag(self.path) as reader:
            chosen = {self.image_topic, self.camera_info_topic}
            connections = [one for one in reader.connections if one.topic in chosen]
            info = self._first_info(reader)
            count = 0
            for connection, _, content in read_messages(reader, self.path, connections):
                if connection.topic == self.camera_info_topic:
                    info = reader.deserialize(content, CAMERA_INFO)
                    continue
                count += 1
                if count % self.every == 0 and count // self.every > self.start:
                    yield self._frame(reader.deserialize(content, connection.msgtype), info)

    def _first_info(self, reader: AnyReader) -> Any:
        """For pictures that come before their camera."""
        connections = [one for one in reader.connections if one.topic == self.camera_info_topic]
        for _, _, content in read_messages(reader, self.path, connections):
            return reader.deserialize(content, CAMERA_INFO)
        return None

    def _frame(self, message: Any, info: Any) -> BagFrame:
        try:
            image = rgb_of(message)
        except UnknownEncoding as error:
            raise ValueError(f'Bag {self.path}, topic {self.image_topic}: {error}') from error
        except ValueError as error:
            return BagFrame(message.header, error=str(error))
        frame = BagFrame(message.header, image)
        if info is None:
            return frame
        camera = self._camera(info, image.shape[:2])
        if not self.rectify:
            frame.camera = camera
        elif camera.needs_rectifying:
            frame.image, frame.camera = camera.rectify(image), camera.rectified
            frame.seen = None if camera.seen.all() else camera.seen
        else:
            frame.camera = camera.rectified
        return frame

    def _camera(self, info: Any, size: tuple[int, int]) -> Camera:
        """Made anew only where the message says something else than the last one."""
        try:
            camera = Camera.from_message(info, size)
        except ValueError as error:
            raise ValueError(
                f'Bag {self.path}, topic {self.camera_info_topic}: {error} Name another topic with '
                '--camera-info-topic.'
            ) from error
        last = getattr(self, '_last', None)
        if last is None or not camera.same_as(last):
            self._last = last = camera
        return last


def camera_info_beside(image_topic: str) -> str:
    """``/camera/image_raw`` or ``/camera/image_raw/compressed`` to ``/camera/camera_info``."""
    return image_topic.removesuffix('/compressed').rpartition('/')[0] + '/camera_info'


def _topics(reader: AnyReader, *kinds: str) -> list[str]:
    return sorted({one.topic for one in reader.connections if one.msgtype in kinds})


def _choose(path: Path, what: str, wanted: str | None, topics: list[str]) -> str:
    if wanted in topics:
        return wanted
    if wanted is None and len(topics) == 1:
        return topics[0]
    none = f'there is no {what} {wanted}' if wanted else f'an {what} must be named'
    raise ValueError(
        f'Bag {path}: {none}. {_listed(what, topics)}'
        + (did_you_mean(wanted, topics) if wanted else ' Name one with --image-topic.')
    )


def _listed(what: str, topics: list[str]) -> str:
    return f'It has {", ".join(topics)}.' if topics else f'It has no {what} at all.'

"""A bag with the maps of its pictures: predicted frame by frame, resumable, whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2h_mm.inference.inferencer import M2HInferencer
from m2h_mm.inference.robots.bag_files import (
    CAMERA_INFO,
    COMPRESSIONS,
    IMAGE,
    BagCopy,
    NewMessages,
    open_bag,
    read_messages,
    ros_version,
)
from m2h_mm.inference.robots.bag_frames import BagFrame, BagFrames
from m2h_mm.inference.robots.map_store import MapStore
from m2h_mm.inference.robots.products import SYNCED_CAMERA_INFO, SYNCED_IMAGE, Product, Space
from m2h_mm.inference.stream import FrameStream
from m2h_mm.models.pipeline import TEST, Size
from m2h_mm.system import write_atomically
from m2h_mm.system.locks import exclusive
from m2h_mm.system.outputs import require_free

READ_AHEAD = 4
WARM_UP = 8
"""Pictures that a stabiliser has to see before it goes on where it was interrupted."""


@dataclass
class BagJob:
    """Adds the maps of a bag's pictures to a copy of the bag.

    First all maps are predicted into a folder beside the new bag, ``NAME.part``; then the new bag
    is written from the old one and these, and gets its name when it is complete. Interrupted or
    killed, the same job goes on with what is in the folder.

    Args:
        frames: the pictures.
        out: the new bag: a file ``.bag`` for ROS 1, a folder for ROS 2.
        products: name to what is made of the maps.
        space: of ids, colours and depth.
        prefix: in front of the names of all new topics. Default: none.
        exclude: topics that are not copied.
        size, dtype: see :meth:`M2HInferencer.__call__`.
        compression: of the new bag, one of
            :data:`~m2h_mm.inference.robots.bag_files.COMPRESSIONS`.
        overwrite: let a file be replaced.

    Attributes:
        failed: number of picture to why it has no maps, of those of this run.

    Raises:
        FileExistsError, ValueError: the new bag is there already, would take the place of the old
            one, has the wrong kind of name, or has a topic that the old one has.
    """

    frames: BagFrames
    out: Path
    products: Mapping[str, Product]
    space: Space = field(default_factory=Space)
    prefix: str = ''
    exclude: Collection[str] = ()
    size: Size = TEST
    dtype: str = 'fp32'
    compression: str = 'none'
    overwrite: bool = False

    def __post_init__(self) -> None:
        self.failed: dict[int, str] = {}
        self.version = ros_version(self.frames.path)
        self.folder = self.out.with_name(self.out.name + '.part')
        self._check_name()
        known = COMPRESSIONS[self.version]
        if self.compression not in known:
            raise ValueError(
                f'compression: bags of ROS {self.version} know {", ".join(known)}, got '
                f'{self.compression!r}.'
            )
        with open_bag(self.frames.path) as reader:
            topics = {one.topic for one in reader.connections} - set(self.exclude)
        both = sorted(topics & set(self.topics))
        if both:
            raise ValueError(
                f'Bag {self.frames.path} has {", ".join(both)} already. Choose other names with '
                '--prefix, or leave the old topics out with --exclude-topics.'
            )

    def _check_name(self) -> None:
        path = self.frames.path
        if self.version == 1:
            if self.out.suffix != '.bag':
                raise ValueError(f'{self.out}: a bag of ROS 1, as {path} is, is called NAME.bag.')
            require_free([self.out], [path], self.overwrite)
            return
        if self.out.suffix in ('.bag', '.db3', '.mcap'):
            raise ValueError(
                f'{self.out}: a bag of ROS 2, as {path} is, is a folder: give it a name without '
                f'{self.out.suffix}.'
            )
        # The folder itself, and one that is within the old bag.
        require_free([self.out / 'metadata.yaml'], [path])
        if self.out.exists():
            raise FileExistsError(
                f'{self.out} is there already, and a folder is not replaced. Remove it, or choose '
                'another name.'
            )

    @property
    def topics(self) -> dict[str, str]:
        """Name of each new topic to the type of its messages."""
        topics = {product.topic: IMAGE for product in self.products.values()}
        if self.frames.rectify:
            topics[SYNCED_IMAGE] = IMAGE
        if self.frames.camera_info_topic is not None:
            topics[SYNCED_CAMERA_INFO] = CAMERA_INFO
        return {self.prefix + topic: kind for topic, kind in topics.items()}

    def run(self, inferencer: M2HInferencer) -> Iterator[int]:
        """Do the work.

        Args:
            inferencer: the model. What it states of the camera comes before what the bag says.

        Yields:
            The number of pictures that are done, each time when there is one more.

        Raises:
            ValueError: no picture could be read, another process writes this bag, or the folder
                beside it is somebody else's.
            OSError: the disk is full. The same job goes on from there.
        """
        self._require_own_folder()
        busy = f'{self.out} is being written by another process. Wait for it, or choose another.'
        with exclusive(self.folder, busy):
            self._begin_or_go_on(inferencer)
            stated = inferencer.camera
            with MapStore(self.folder / 'maps.db') as store:
                try:
                    yield from self._predict(inferencer, store)
                finally:
                    inferencer.camera = stated
                store.keep()
                self._assemble(store)
        shutil.rmtree(self.folder)

    def _require_own_folder(self) -> None:
        if self.folder.exists() and not (self.folder / 'job.json').is_file():
            if not self.folder.is_dir() or any(self.folder.iterdir()):
                raise ValueError(
                    f'{self.folder} is not from a bag that was begun here. Rename it, or choose '
                    'another name for the new bag.'
                )

    def _begin_or_go_on(self, inferencer: M2HInferencer) -> None:
        """What was begun by another job, of another bag, model or options, is thrown away."""
        job = json.dumps(self._facts(inferencer), indent=1, sort_keys=True)
        file = self.folder / 'job.json'
        if not (file.is_file() and file.read_text() == job):
            (self.folder / 'maps.db').unlink(missing_ok=True)
            write_atomically(file, job)
        shutil.rmtree(self.folder / 'bag', ignore_errors=True)

    def _facts(self, inferencer: M2HInferencer) -> dict[str, Any]:
        frames = self.frames
        return dict(
            bag=[str(frames.path.resolve()), *_state(frames.path)],
            model=[str(inferencer.source.resolve()), *_state(inferencer.source)],
            image_topic=frames.image_topic,
            camera_info_topic=frames.camera_info_topic,
            rectify=frames.rectify,
            every=frames.every,
            topics=self.topics,
            maps=list(self.products),
            camera=inferencer.camera,
            stabilise=inferencer.stabiliser is not None,
            ids=self.space.ids.tolist(),
            colours=self.space.colours.tolist(),
            depth_scale=self.space.depth_scale,
            size=self.size,
            dtype=self.dtype,
        )

    def _predict(self, inferencer: M2HInferencer, store: MapStore) -> Iterator[int]:
        new, stated = NewMessages(self.version), inferencer.camera
        tasks = sorted({product.task for product in self.products.values()})
        done = len(store)
        seen_again = 0
        if inferencer.stabiliser is not None:
            inferencer.stabiliser.reset()
            seen_again = min(done, WARM_UP)
        self.frames.start = done - seen_again
        yield done
        with FrameStream(self.frames, READ_AHEAD, latest=False) as frames:
            for frame in frames:
                messages = ()
                if frame.error is None:
                    if stated is None and frame.camera is not None:
                        inferencer.camera = frame.camera.pinhole
                    messages = self._messages(frame, inferencer, tasks, new)
                if seen_again:
                    seen_again -= 1
                    list(messages)
                    continue
                if frame.error is not None:
                    self.failed[done] = frame.error
                store.add(messages)
                done += 1
                yield done
        if self.failed and len(self.failed) == self.frames.total:
            raise ValueError(
                f'Bag {self.frames.path}, topic {self.frames.image_topic}: no picture could be '
                f'read: {self.failed[0]}'
            )

    def _messages(
        self, frame: BagFrame, inferencer: M2HInferencer, tasks: list[str], new: NewMessages
    ) -> Iterator[tuple[str, bytes]]:
        (prediction,) = inferencer.stream([('', frame.image)], tasks, self.size, self.dtype)
        for product in self.products.values():
            pixels = product.draw(prediction, self.space, frame.seen)
            content = new.image(frame.header, pixels, product.encoding)
            yield self.prefix + product.topic, content
        if self.frames.rectify:
            yield self.prefix + SYNCED_IMAGE, new.image(frame.header, frame.image, 'rgb8')
        if frame.camera is not None:
            yield self.prefix + SYNCED_CAMERA_INFO, new.camera_info(frame.header, frame.camera)

    def _assemble(self, store: MapStore) -> None:
        """The old bag with the new messages, each at the time of its picture."""
        # In ROS 2 the file within is called as the folder.
        new = self.folder / 'bag' / self.out.name
        new.parent.mkdir()
        frames, count = self.frames, 0
        with open_bag(frames.path) as reader:
            kept = [one for one in reader.connections if one.topic not in self.exclude]
            read = [
                one for one in reader.connections if one in kept or one.topic == frames.image_topic
            ]
            with BagCopy(new, reader, kept, self.compression) as copy:
                for topic, kind in self.topics.items():
                    copy.add_topic(topic, kind)
                for connection, time, content in read_messages(reader, frames.path, read):
                    if connection.topic not in self.exclude:
                        copy.copy(connection, time, content)
                    if connection.topic != frames.image_topic:
                        continue
                    count += 1
                    if count % frames.every == 0:
                        for topic, message in store.messages(count // frames.every - 1):
                            copy.add(topic, time, message)
        new.replace(self.out)


def _state(path: Path) -> list:
    """By which a file, or the files of a folder, can be known again."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.is_file()]  # a model may be one of the hub
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]

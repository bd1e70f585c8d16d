"""Opening and writing bags of ROS 1 and ROS 2 by rosbags, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2h_mm.inference.robots.cameras import Camera
from m2h_mm.inference.robots.images import image_fields

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import Connection

INSTALL = 'Reading bags takes rosbags: pip install m2h_mm[bags] (or pip install rosbags).'
IMAGE, COMPRESSED, CAMERA_INFO = (
    f'sensor_msgs/msg/{name}' for name in ('Image', 'CompressedImage', 'CameraInfo')
)
COMPRESSIONS = {1: ('none', 'lz4', 'bz2'), 2: ('none', 'zstd')}
"""What each version of ROS knows."""
_REPAIR = {
    '.bag': 'If its recording was cut off, "rosbag reindex" can repair it.',
    '.mcap': 'If its recording was cut off, "mcap recover" can repair it.',
    '': 'If its recording was cut off, "ros2 bag reindex" can repair it.',
}


def ros_version(path: Path) -> int:
    """1 for a file ``.bag``, 2 for a folder, ``.db3`` or ``.mcap``.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is none of them.
    """
    if not path.exists():
        raise FileNotFoundError(f'There is no bag {path}.')
    if path.is_dir() or path.suffix in ('.db3', '.mcap'):
        return 2
    if path.suffix == '.bag':
        return 1
    raise ValueError(
        f'{path} is no bag: expected a file .bag of ROS 1, or of ROS 2 the folder of a recording, '
        'or its file .db3 or .mcap.'
    )


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """A bag of any version.

    Raises:
        ImportError: rosbags is not there.
        FileNotFoundError, ValueError: see :func:`ros_version`; it is damaged, with what may repair
            it.
    """
    version = ros_version(path)
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise ImportError(INSTALL) from error
    # Recordings of ROS 2 did not hold the definitions of their messages before Iron.
    store = get_typestore(Stores.ROS2_HUMBLE) if version == 2 else None
    reader = None
    try:
        reader = AnyReader([path], default_typestore=store)
        reader.open()
    except Exception as error:  # damaged files make rosbags raise anything
        raise _damaged(path, error) from error
    try:
        yield reader
    finally:
        reader.close()


def read_messages(
    reader: AnyReader, path: Path, connections: Collection[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    """Connection, time of arrival (ns), and content of each message, in the order of arrival.

    Raises:
        ValueError: the file is damaged.
    """
    messages = reader.messages(connections=connections) if connections else iter(())
    announced = sum(connection.msgcount for connection in connections)
    there = 0
    while True:
        try:
            message = next(messages, None)
        except Exception as error:
            raise _damaged(path, error) from error
        if message is None:
            break
        there += 1
        yield message
    if there != announced:
        raise _damaged(path, f'it announces {announced} messages, and holds {there}')


def _damaged(path: Path, error: Exception | str) -> ValueError:
    reason = (str(error) or type(error).__name__).rstrip('.') + '.'
    repair = _REPAIR.get(path.suffix, _REPAIR['']) if not path.is_dir() else _REPAIR['']
    return ValueError(f'Bag {path} is damaged or not complete: {reason} {repair}')


class NewMessages:
    """Makes messages and serialises them as a version of ROS does.

    Args:
        version: of ROS, 1 or 2.
    """

    def __init__(self, version: int) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.version = version
        self.store = get_typestore(Stores.ROS2_HUMBLE if version == 2 else Stores.ROS1_NOETIC)

    def image(self, header: Any, pixels: np.ndarray, encoding: str) -> bytes:
        """A ``sensor_msgs/Image``; see :func:`~m2h_mm.inference.robots.images.image_fields`."""
        message = self._type(IMAGE)(header=self._header(header), **image_fields(pixels, encoding))
        return self._serialise(message, IMAGE)

    def camera_info(self, header: Any, camera: Camera) -> bytes:
        """A ``sensor_msgs/CameraInfo``."""
        region = self._type('sensor_msgs/msg/RegionOfInterest')(0, 0, 0, 0, False)
        message = self._type(CAMERA_INFO)(
            header=self._header(header),
            binning_x=0,
            binning_y=0,
            roi=region,
            **camera.fields(self.version == 2),
        )
        return self._serialise(message, CAMERA_INFO)

    def _type(self, name: str) -> Any:
        return self.store.types[name]

    def _header(self, header: Any) -> Any:
        """Stamp and frame of another header, by the types of this version."""
        stamp = self._type('builtin_interfaces/msg/Time')(header.stamp.sec, header.stamp.nanosec)
        sequence = dict(seq=header.seq) if self.version == 1 else {}
        return self._type('std_msgs/msg/Header')(stamp=stamp, frame_id=header.frame_id, **sequence)

    def _serialise(self, message: Any, name: str) -> bytes:
        serialise = self.store.serialize_cdr if self.version == 2 else self.store.serialize_ros1
        return bytes(serialise(message, name))


class BagCopy:
    """A new bag of the kind of another, to which topics of that are copied and new ones added. A
    context manager; it is complete when it is left without an error.

    Args:
        path: of the new bag, which is not there yet.
        reader: the other one, open.
        connections: those that are copied, with all that the bag says of them.
        compression: one of :data:`COMPRESSIONS`.

    Raises:
        ValueError: nothing is known of the messages of a connection.
    """

    def __init__(
        self,
        path: Path,
        reader: AnyReader,
        connections: Collection[Connection],
        compression: str = 'none',
    ) -> None:
        self.version = 2 if reader.is2 else 1
        self._reader = reader
        self._new = NewMessages(self.version)
        self._writer = (
            _writer_of_ros2(path, reader, compression)
            if reader.is2
            else _writer_of_ros1(path, compression)
        )
        self._sources = connections
        self._copies: dict[tuple, Connection] = {}
        self._added: dict[str, Connection] = {}

    def __enter__(self) -> BagCopy:
        self._writer.__enter__()
        try:
            self._add_copies()
        except BaseException as error:
            self._writer.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)

    def add_topic(self, topic: str, kind: str) -> None:
        """Announce a new topic of images or cameras."""
        self._added[topic] = self._writer.add_connection(topic, kind, typestore=self._new.store)

    def copy(self, connection: Connection, time: int, content: bytes) -> None:
        self._writer.write(self._copies[_key(connection)], time, content)

    def add(self, topic: str, time: int, content: bytes) -> None:
        self._writer.write(self._added[topic], time, content)

    def _add_copies(self) -> None:
        same: dict[tuple, Connection] = {}
        for connection in self._sources:
            about = (connection.topic, connection.msgtype, connection.digest, str(connection.ext))
            # A node that was started twice has announced the same thing twice.
            if about not in same:
                same[about] = self._writer.add_connection(
                    connection.topic, connection.msgtype, **self._details(connection)
                )
            self._copies[_key(connection)] = same[about]

    def _details(self, connection: Connection) -> dict[str, Any]:
        name, definition, digest = connection.msgtype, connection.msgdef.data, connection.digest
        if self.version == 1:
            return dict(
                msgdef=definition,
                md5sum=digest,
                callerid=connection.ext.callerid,
                latching=connection.ext.latching,
            )
        details = dict(
            serialization_format=connection.ext.serialization_format,
            offered_qos_profiles=connection.ext.offered_qos_profiles,
        )
        known = self._reader.typestore if name in self._reader.typestore.fielddefs else None
        if known is None and not (definition and digest):
            raise ValueError(
                f'Topic {connection.topic}: the bag does not say what its messages, {name}, are '
                'made of, and without that they cannot be copied. Leave it out: --exclude-topics '
                f'{connection.topic}'
            )
        if not definition:
            return dict(typestore=known, **details)
        return dict(msgdef=definition, rihs01=digest or known.hash_rihs01(name), **details)


def _key(connection: Connection) -> tuple:
    return connection.id, id(connection.owner)


def _writer_of_ros1(path: Path, compression: str) -> Any:
    from rosbags.rosbag1 import Writer

    writer = Writer(path)
    if compression != 'none':
        writer.set_compression(Writer.CompressionFormat[compression.upper()])
    if compression == 'lz4':
        writer.compressor = _lz4_of_ros1
    return writer


def _lz4_of_ros1(chunk: bytes) -> bytes:
    """ROS reads no other frames than these; those of rosbags are malformed to it."""
    from lz4.frame import compress

    return compress(chunk, block_linked=False, content_checksum=True, store_size=False)


def _writer_of_ros2(path: Path, reader: AnyReader, compression: str) -> Any:
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    (source,) = reader.paths
    is_mcap = source.suffix == '.mcap' or (source.is_dir() and any(source.glob('*.mcap*')))
    storage = StoragePlugin.MCAP if is_mcap else StoragePlugin.SQLITE3
    # Version 8 is read by ROS 2 from Humble on; 9 is not.
    writer = Writer(path, version=8, storage_plugin=storage)
    if compression != 'none':
        mode = CompressionMode.STORAGE if is_mcap else CompressionMode.MESSAGE
        writer.set_compression(mode, CompressionFormat[compression.upper()])
    return writer

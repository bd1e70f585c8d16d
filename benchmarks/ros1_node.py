"""Run the live node under a real ROS 1 master: pictures in, maps out, latency.

    python benchmarks/ros1_node.py --seconds 30 --rate 15 --size 480x640

Starts a master, ``m2h-mm node`` in a process of its own, and in this one a camera, which publishes
a walk through a rendered room with its CameraInfo and poses (TF), and a listener to every topic.
Prints for each topic how many messages came, whether each has the stamp of a picture, and the time
from the publication of the picture to the arrival of the map; then what the node says of itself.

Needs rospy and rosmaster: on Debian 12 ``apt-get install --no-install-recommends python3-rospy
python3-rosmaster python3-sensor-msgs python3-tf2-ros``, 10 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

PACKAGES = '/usr/lib/python3/dist-packages'
FRAME = 'camera_color_optical_frame'
EVERYTHING = ('label_ids', 'color_semantic', 'depth_mm', 'overlay', 'normals', 'edges')


def have_ros1() -> bool:
    """Whether a master and rospy are there."""
    return shutil.which('rosmaster') is not None and Path(PACKAGES, 'rospy').is_dir()


@contextlib.contextmanager
def master() -> Iterator[None]:
    """A master of this machine alone, at a free port; the environment points to it."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    before = dict(os.environ)
    os.environ.update(ROS_MASTER_URI=f'http://127.0.0.1:{port}', ROS_IP='127.0.0.1')
    command = ['/usr/bin/python3', shutil.which('rosmaster'), '--core', '-p', str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port), 1):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
        os.environ.clear()
        os.environ.update(before)


class Listener:
    """What arrives on the topics of maps.

    Attributes:
        arrived: topic to the time of arrival of each message, by its stamp.
        last: topic to its last message.
    """

    def __init__(self, topics: dict[str, type]) -> None:
        import rospy

        self.arrived: dict[str, dict[int, float]] = defaultdict(dict)
        self.last: dict[str, object] = {}
        for topic, kind in topics.items():
            rospy.Subscriber(topic, kind, self._take, topic, queue_size=100, buff_size=2**24)

    def _take(self, message, topic: str) -> None:
        self.arrived[topic][message.header.stamp.to_nsec()] = time.monotonic()
        self.last[topic] = message


class RoomCamera:
    """Publishes a walk through a room, over and over.

    Args:
        size: (H, W) of the pictures.
        frames: of the walk; it is rendered at 240x320 and enlarged.
    """

    def __init__(self, size: tuple[int, int], frames: int = 6) -> None:
        import rospy
        import tf2_ros
        from sensor_msgs.msg import CameraInfo, Image

        from m2h_mm.rooms import Walk, WalkOptions

        walk = Walk(0, 3, options=WalkOptions(num_frames=frames))
        pictures = [cv2.resize(frame.image, size[::-1]) for frame in walk]
        there_and_back = [*range(frames), *range(frames - 2, 0, -1)]
        self.pictures = [pictures[number] for number in there_and_back]
        self.poses = [walk.cam2world(number) for number in there_and_back]
        scale = size[1] / 320
        self.matrix = np.diag((scale, scale, 1.0)) @ walk.cam2img
        self.sent: dict[int, float] = {}
        self.image = rospy.Publisher('/camera/color/image_raw', Image, queue_size=1)
        self.info = rospy.Publisher(
            '/camera/color/camera_info', CameraInfo, queue_size=1, latch=True
        )
        self.tf = tf2_ros.TransformBroadcaster()

    def send(self, number: int) -> None:
        import rospy
        from geometry_msgs.msg import TransformStamped
        from sensor_msgs.msg import CameraInfo, Image

        picture = self.pictures[number % len(self.pictures)]
        pose = self.poses[number % len(self.poses)]
        message = Image(height=picture.shape[0], width=picture.shape[1], encoding='rgb8')
        message.step, message.data = picture.shape[1] * 3, picture.tobytes()
        info = CameraInfo(height=picture.shape[0], width=picture.shape[1])
        info.distortion_model, info.D = 'plumb_bob', [0.0] * 5
        info.K, info.R = self.matrix.reshape(-1).tolist(), np.eye(3).reshape(-1).tolist()
        info.P = np.column_stack((self.matrix, np.zeros(3))).reshape(-1).tolist()
        moved = TransformStamped(child_frame_id=FRAME)
        moved.transform.translation.x, moved.transform.translation.y = pose[:2, 3]
        moved.transform.translation.z = pose[2, 3]
        rotation = moved.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = quaternion_of(pose)
        stamp = rospy.Time.now()
        for one in (message, info, moved):
            one.header.stamp = stamp
        message.header.frame_id = info.header.frame_id = FRAME
        moved.header.frame_id = 'odom'
        self.sent[stamp.to_nsec()] = time.monotonic()
        self.tf.sendTransform(moved)
        self.info.publish(info)
        self.image.publish(message)


def quaternion_of(pose: np.ndarray) -> np.ndarray:
    """(x, y, z, w) of the rotation of a ``(4, 4)`` pose."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(pose[:3, :3]).as_quat()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--rate', type=float, default=15.0, help='pictures a second')
    parser.add_argument('--size', default='480x640')
    parser.add_argument('--checkpoint', default='')
    parser.add_argument('--stabilise', default='none')
    parser.add_argument('--depth-and-labels-alone', action='store_true')
    parser.add_argument('--picture', help='write the last maps as a PNG')
    args = parser.parse_args()
    if not have_ros1():
        sys.exit('There is no rospy or no rosmaster here: see the head of this file.')
    sys.path.append(PACKAGES)
    size = tuple(int(side) for side in args.size.split('x'))
    with master(), start_node(args) as node:
        measure(args, size, node)


@contextlib.contextmanager
def start_node(args: argparse.Namespace) -> Iterator[subprocess.Popen]:
    wanted = () if args.depth_and_labels_alone else (*EVERYTHING, 'point_cloud', 'synced_inputs')
    settings = dict(skip_frequency=1, stabilise=args.stabilise, report_every_s=1000)
    settings.update({f'publish_{name}': True for name in wanted})
    if args.checkpoint:
        settings['checkpoint_path'] = args.checkpoint
    command = [sys.executable, '-m', 'm2h_mm', 'node', '--ros', '1', '--packages', PACKAGES]
    command += [f'_{name}:={value}' for name, value in settings.items()]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield node
    finally:
        node.send_signal(signal.SIGINT)
        print(node.communicate(timeout=120)[0].strip())
        print(f'The node ended with {node.returncode}')


def measure(args: argparse.Namespace, size: tuple[int, int], node: subprocess.Popen) -> None:
    import rospy
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2

    from m2h_mm.inference.robots.parameters import NodeParameters

    rospy.init_node('camera', argv=['camera'], disable_signals=True)
    known = NodeParameters()
    topics = {known.image_depth_topic: Image, known.label_ids_topic: Image}
    if not args.depth_and_labels_alone:
        names = ('image_semantic', 'depth_mm', 'overlay', 'normals', 'edges', 'synced_rgb')
        topics.update({getattr(known, f'{name}_topic'): Image for name in names})
        topics[known.point_cloud_topic] = PointCloud2
        topics[known.synced_camera_info_topic] = CameraInfo
    listener, camera = Listener(topics), RoomCamera(size)
    print(f'{size[1]}x{size[0]} pixels, {args.rate:g} pictures/s for {args.seconds:g} s')
    while camera.image.get_num_connections() == 0:
        if node.poll() is not None:
            return
        time.sleep(0.1)
    start, number = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < args.seconds:
        camera.send(number)
        number += 1
        time.sleep(max(0.0, number / args.rate - elapsed))
    time.sleep(2)
    print(f'{number} pictures sent')
    for topic in topics:
        arrived = listener.arrived[topic]
        known_stamps = set(arrived) <= set(camera.sent)
        took = [1000 * (at - camera.sent[stamp]) for stamp, at in arrived.items()]
        shares = np.percentile(took, (50, 90, 99)) if took else [np.nan] * 3
        print(
            f'{topic:45} {len(arrived):5}  stamps of pictures: {known_stamps}  '
            + 'median {:.0f} ms, 90 % {:.0f} ms, 99 % {:.0f} ms'.format(*shares)
        )
    if args.picture:
        cv2.imwrite(args.picture, draw(listener.last, known))
    rospy.signal_shutdown('done')


def draw(last: dict[str, object], known) -> np.ndarray:
    """Depth, colours, normals and edges, read from the messages."""
    depth = pixels(last[known.image_depth_topic], np.float32)
    grey = cv2.convertScaleAbs(depth, alpha=255 / np.nanmax(depth))
    panels = [
        cv2.cvtColor(pixels(last[known.synced_rgb_topic], np.uint8), cv2.COLOR_RGB2BGR),
        cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS),
        pixels(last[known.image_semantic_topic], np.uint8),
        pixels(last[known.overlay_topic], np.uint8),
        np.uint8((pixels(last[known.normals_topic], np.float32)[..., ::-1] + 1) * 127.5),
        cv2.cvtColor(pixels(last[known.edges_topic], np.uint8), cv2.COLOR_GRAY2BGR),
    ]
    return np.vstack([np.hstack(panels[:3]), np.hstack(panels[3:])])


def pixels(message, kind: type) -> np.ndarray:
    return np.frombuffer(message.data, kind).reshape(message.height, message.width, -1).squeeze()


if __name__ == '__main__':
    main()

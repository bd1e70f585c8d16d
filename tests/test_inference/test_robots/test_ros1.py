"""The node under a real master of ROS 1, where its packages are."""

import multiprocessing
import os
import sys
import threading
import time

import numpy as np
import pytest
from quick_inferencer import maps_of
from ros1_node import PACKAGES, have_ros1, master

from m2h_mm.inference.robots.node import PerceptionNode
from m2h_mm.inference.robots.parameters import NodeParameters

pytestmark = pytest.mark.skipif(not have_ros1(), reason='there is no rospy or no rosmaster')
PICTURE = np.random.default_rng(0).integers(0, 256, (28, 42, 3), np.uint8)


def camera_node_and_listener(inferencer, pipe) -> None:
    """All three in one process, which is forked: rospy can be started once in a process."""
    sys.path.append(PACKAGES)
    import rospy
    from sensor_msgs.msg import Image, PointCloud2

    from m2h_mm.inference.robots.ros1 import Ros1

    ros = Ros1(['_skip_frequency:=1', '_publish_normals:=true', '_dataset:=itc', '__name:=maps'])
    node = PerceptionNode(ros, NodeParameters.read(ros), inferencer)
    got = {}

    def take(message, topic) -> None:
        got[topic] = message
        if len(got) == len(node.topics):
            rospy.signal_shutdown('all have come')

    for topic in node.topics:
        kind = PointCloud2 if 'points' in topic else Image
        rospy.Subscriber(topic, kind, take, topic)
    camera = rospy.Publisher('/camera/color/image_raw', Image, queue_size=1)

    def film() -> None:
        message = Image(height=28, width=42, encoding='rgb8', step=126, data=PICTURE.tobytes())
        message.header.frame_id = 'optical'
        end = time.monotonic() + 50
        while not rospy.is_shutdown() and time.monotonic() < end:
            message.header.stamp = rospy.Time(5, 250)
            camera.publish(message)
            time.sleep(0.02)
        rospy.signal_shutdown('too late')

    threading.Thread(target=film, daemon=True).start()
    node.run()
    pipe.send(
        {
            topic: (
                message.encoding,
                bytes(message.data),
                message.header.stamp.to_nsec(),
                message.header.frame_id,
            )
            for topic, message in got.items()
        }
    )
    pipe.send((rospy.get_name(), node.done, str(node.queue.latencies)))
    pipe.close()
    os._exit(0)


def test_pictures_in_maps_out(quick):
    ours, theirs = multiprocessing.Pipe()
    with master():
        context = multiprocessing.get_context('fork')
        process = context.Process(target=camera_node_and_listener, args=(quick, theirs))
        process.start()
        try:
            assert ours.poll(60), 'nothing came'
            got, (name, done, latencies) = ours.recv(), ours.recv()
        finally:
            process.kill()
            process.join()
    assert name == '/maps' and done >= 1 and latencies.startswith('median ')
    assert {topic: encoding for topic, (encoding, *_) in got.items()} == {
        '/camera/depth_cam/image_raw': '32FC1',
        '/camera/seg_cam/labels_argmax': 'mono8',
        '/camera/normals_cam/image_raw': '32FC3',
    }
    for _, data, stamp, frame in got.values():
        assert stamp == 5 * 10**9 + 250 and frame == 'optical' and data
    depth = np.frombuffer(got['/camera/depth_cam/image_raw'][1], '<f4').reshape(28, 42)
    assert np.array_equal(depth, maps_of(PICTURE)['depth'])

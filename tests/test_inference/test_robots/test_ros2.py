"""The front end for ROS 2 against a stand-in of rclpy: ROS 2 itself is not there to be tested."""

from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from quick_inferencer import maps_of
from ros_stand_in import camera_info, header, picture, rclpy_stand_in

from m2h_mm.inference.robots.node import PerceptionNode
from m2h_mm.inference.robots.parameters import NodeParameters
from m2h_mm.inference.robots.ros2 import Ros2

PICTURE = np.random.default_rng(0).integers(0, 256, (28, 42, 3), np.uint8)


def test_a_node_from_end_to_end(quick, monkeypatch):
    state = rclpy_stand_in(monkeypatch)
    given = ('skip_frequency:=1', 'publish_synced_inputs:=true', 'dataset:=itc', 'depth_scale:=2')
    ros = Ros2(['--ros-args', *(word for text in given for word in ('-p', text))])
    node = PerceptionNode(ros, NodeParameters.read(ros), quick)
    assert state.node.name == 'mono_hydra_perception'
    assert state.node.said == [('warning', 'Parameter dataset is not known and has no effect.')]
    kind, on_image, quality = state.node.subscriptions['/camera/color/image_raw']
    assert (kind, quality.reliability, quality.depth) == ('Image', 'best effort', 256)
    kind, on_info, quality = state.node.subscriptions['/camera/color/camera_info']
    assert (kind, quality.reliability, quality.depth) == ('CameraInfo', 'reliable', 1)

    on_info(camera_info((28, 42)))
    on_image(picture(PICTURE))
    node.queue.close()
    node.run()
    depth, labels, image, info = (
        state.node.publishers[topic][0]
        for topic in (
            '/camera/depth_cam/image_raw',
            '/camera/seg_cam/labels_argmax',
            '/mono_hydra_perception/synced/image_raw',
            '/mono_hydra_perception/synced/camera_info',
        )
    )
    maps = maps_of(PICTURE)
    assert type(depth.data) is array and depth.data.typecode == 'B'
    assert np.array_equal(np.frombuffer(depth.data, '<f4').reshape(28, 42), 2 * maps['depth'])
    assert np.array_equal(np.frombuffer(labels.data, np.uint8).reshape(28, 42), maps['semseg'])
    assert depth.header is labels.header is image.header and info.k[0] == 40.0
    assert len(info.k) == 9 and isinstance(info.d, list)
    assert state.shutdown == [node.queue.stop]
    ros.close()
    assert state.stopped


def test_poses_times_and_words(monkeypatch):
    turned = SimpleNamespace(
        rotation=SimpleNamespace(x=0, y=0, z=2, w=2),  # not of length 1
        translation=SimpleNamespace(x=1.0, y=2.0, z=3.0),
    )
    state = rclpy_stand_in(monkeypatch, turned)
    ros = Ros2()
    ros.listen_to_poses()
    pose = ros.pose('/odom', 'camera', header(7.0).stamp, 0.05)
    assert np.allclose(pose, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    assert state.asked == ('odom', 'camera', 7)
    assert ros.now() == pytest.approx(3.5) and ros.simulated is False
    for level in ('info', 'warn', 'warn', 'error'):
        ros.log(level, 'the same')
    assert state.node.said == [(level, 'the same') for level in ('info', 'warning', 'error')]
    state = rclpy_stand_in(monkeypatch)
    ros = Ros2()
    ros.listen_to_poses()
    assert ros.pose('odom', 'camera', header().stamp, 0.05) is None
    ros.spin()
    while not state.spun:
        pass
    assert state.spun == [state.node]

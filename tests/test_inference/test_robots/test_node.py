"""The live node between a front end that records and a model that looks at each pixel alone."""

import numpy as np
import pytest
from quick_inferencer import maps_of
from ros_stand_in import RecordingRos, camera_info, picture

from m2h_mm.inference.robots.node import PerceptionNode
from m2h_mm.inference.robots.parameters import NodeParameters
from m2h_mm.inference.robots.point_clouds import POINT

IMAGES, INFOS = '/camera/color/image_raw', '/camera/color/camera_info'
SIZE = (28, 42)
PICTURE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
EVERYTHING = {
    f'publish_{name}': True
    for name in (
        'color_semantic',
        'depth_mm',
        'overlay',
        'normals',
        'edges',
        'point_cloud',
        'synced_inputs',
    )
}


@pytest.fixture
def node(quick):
    """``node(pictures, infos=(), ros=None, **parameters)``: a node that was given these and has
    ended.
    """

    def run(pictures, infos=(), ros=None, **given) -> PerceptionNode:
        ros = ros or RecordingRos()
        ros.given = {'skip_frequency': 1, 'queue_size': 99, **given}
        node = PerceptionNode(ros, NodeParameters.read(ros), quick)
        for message in infos:
            ros.callbacks[INFOS](message)
        for message in pictures:
            ros.callbacks[IMAGES](message)
        node.queue.close()
        node.run()
        return node

    return run


def pixels(message) -> np.ndarray:
    kind = {'32': '<f4', '16': '<u2'}.get(message.encoding[:2], np.uint8)
    return message.data.view(kind).reshape(message.height, message.width, -1).squeeze()


def test_depth_and_ids_are_published_where_mono_hydra_looks_for_them(node):
    done = node([picture(PICTURE)])
    maps = maps_of(PICTURE)
    published = done.ros.published
    assert set(published) == {'/camera/depth_cam/image_raw', '/camera/seg_cam/labels_argmax'}
    (depth,) = published['/camera/depth_cam/image_raw']
    (labels,) = published['/camera/seg_cam/labels_argmax']
    assert (depth.encoding, labels.encoding) == ('32FC1', 'mono8')
    assert np.array_equal(pixels(depth), maps['depth'])
    assert np.array_equal(pixels(labels), maps['semseg'])
    for message in (depth, labels):
        assert message.header.frame_id == 'optical'
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 5 * 10**8)
    assert (done.received, done.done, done.failed) == (1, 1, 0)
    assert ('info', f'The end. {done.summary()}') in done.ros.said
    assert '1 pictures came, 1 have maps, 0 were dropped' in done.summary()


def test_everything_that_can_be_published(node, tmp_path):
    space = tmp_path / 'space.yaml'
    space.write_text('others: 5')
    info = camera_info(SIZE)
    given = dict(label_mapping_yaml=str(space), depth_scale=2, point_cloud_step=1)
    done = node([picture(PICTURE)], [info], **EVERYTHING, **given)
    maps = maps_of(PICTURE)
    published = {topic: messages[0] for topic, messages in done.ros.published.items()}
    assert set(published) == set(done.topics) and len(published) == 10
    assert (pixels(published['/camera/seg_cam/labels_argmax']) == 5).all()
    millimetres = pixels(published['/camera/depth_cam/image_mm'])
    assert np.abs(millimetres - maps['depth'] * 2000).max() <= 0.5
    normals = pixels(published['/camera/normals_cam/image_raw'])
    assert np.allclose(normals, maps['normals'] * [1, -1, -1])
    assert published['/mono_hydra_perception/synced/image_raw'].encoding == 'rgb8'
    synced = published['/mono_hydra_perception/synced/camera_info']
    assert np.array_equal(synced.k, info.k) and synced.header.stamp.sec == 12

    cloud = published['/camera/depth_cam/points']
    assert [field.name for field in cloud.fields] == list(POINT.names)
    points = cloud.data.view(POINT)
    assert len(points) == cloud.width == np.sum(maps['edge'] <= 0.5) > 0
    columns = np.rint(points['x'] / points['z'] * 40 + 20.5).astype(int)
    rows = np.rint(points['y'] / points['z'] * 40 + 13.5).astype(int)
    assert np.allclose(points['z'], 2 * maps['depth'][rows, columns])
    colour = np.stack([points['rgb'] >> shift & 255 for shift in (16, 8, 0)], -1)
    assert np.array_equal(colour, PICTURE[rows, columns]) and (points['label'] == 5).all()


def test_every_third_picture_as_mono_hydra_counts(node):
    done = node([picture(PICTURE, number) for number in range(1, 8)], skip_frequency=3)
    stamps = [message.header.stamp.sec for message in done.ros.published[done.topics[0]]]
    assert stamps == [3, 6] and done.received == 7


def test_a_slow_network_gets_the_latest_picture(node):
    done = node([picture(PICTURE, number) for number in range(1, 6)], queue_size=1)
    stamps = [message.header.stamp.sec for message in done.ros.published[done.topics[0]]]
    assert stamps == [5] and done.queue.dropped == 4


@pytest.mark.parametrize(
    ('simulated', 'limit', 'published', 'said'),
    [
        (True, 0.0, 3, 'Pictures are 6.0 s late.'),
        (True, 7.0, 2, 'Pictures are 10.0 s late and are dropped.'),
        (False, 7.0, 3, None),
    ],
)
def test_late_pictures_in_simulated_time(node, simulated, limit, published, said):
    ros = RecordingRos(simulated, now=12.0)
    pictures = [picture(PICTURE, seconds) for seconds in (2, 6, 20)]
    done = node(pictures, ros=ros, max_output_lag_s=limit, warn_output_lag_s=5.0)
    assert len(ros.published[done.topics[0]]) == published
    warnings = [text for level, text in ros.said if level == 'warn']
    assert said in warnings if said else not warnings


def test_a_picture_that_cannot_be_read_is_lost_alone(node):
    broken = picture(PICTURE)
    broken.data = broken.data[:100]
    done = node([broken, picture(PICTURE)])
    assert (done.done, done.failed) == (1, 1)
    (said,) = [text for level, text in done.ros.said if level == 'error']
    assert said.startswith('A picture has no maps: ValueError: An image rgb8')


def test_a_lens_is_taken_out(node):
    info = camera_info(SIZE, d=(0.9, 0, 0, 0, 0))
    done = node([picture(PICTURE)], [info], rectify=True, publish_synced_inputs=True)
    depth = pixels(done.ros.published['/camera/depth_cam/image_raw'][0])
    assert 0.05 < np.isnan(depth).mean() < 0.5
    synced = done.ros.published['/mono_hydra_perception/synced/camera_info'][0]
    assert not np.any(synced.d)
    done = node([picture(PICTURE)], rectify=True)
    assert done.failed == 1 and any('no CameraInfo came yet' in text for _, text in done.ros.said)


def test_depth_is_that_of_the_lens(node, quick):
    quick.pipeline.canonical_focal = 20.0
    done = node([picture(PICTURE)], [camera_info(SIZE, 40.0)])
    depth = pixels(done.ros.published['/camera/depth_cam/image_raw'][0])
    assert np.allclose(depth, 2 * maps_of(PICTURE)['depth'])


def test_poses_steady_depth_and_ids(node, quick, monkeypatch):
    """A camera that does not move sees noise: the filter's mean is steadier."""
    noise = np.random.default_rng(1).uniform(0.97, 1.03, (4, *SIZE)).astype(np.float32)
    frames = iter(noise)
    real = quick.stream

    def noisy(*arguments):
        for prediction in real(*arguments):
            prediction.maps['depth'] = next(frames) * 3
            yield prediction

    monkeypatch.setattr(quick, 'stream', noisy)
    ros = RecordingRos()
    ros.poses = {seconds: np.eye(4) for seconds in (1.0, 1.1, 1.2)}
    pictures = [picture(PICTURE, seconds) for seconds in (1.0, 1.1, 1.2, 1.3)]
    infos = [camera_info(SIZE)]
    done = node(pictures, infos, ros, stabilise='pose_warp', dynamic_labels='3, 4')
    depths = [pixels(one) for one in ros.published['/camera/depth_cam/image_raw']]
    assert np.array_equal(depths[0], noise[0] * 3) and np.array_equal(depths[3], noise[3] * 3)
    assert np.std(depths[2]) < 0.75 * np.std(depths[0])
    assert done.failed == 0
    assert [text for level, text in ros.said if level == 'warn'] == [
        'No pose of optical in odom at the time of the picture: it is published as it is.'
    ]
    assert '/external_odometry' not in ros.callbacks


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (dict(skip_frequency=0), 'skip_frequency: expected 1 or more, got 0'),
        (dict(skip_frequency='x'), "skip_frequency: expected a int, got 'x'"),
        (dict(half=1), 'half: expected a bool, got 1'),
        (dict(depth_scale=-1), 'depth_scale: expected above 0'),
        (dict(stabilise='pose'), 'stabilise: expected one of none'),
        (dict(image_width=640), 'set both or none, got 640 and 0'),
        (dict(stabilise='pose_warp', dynamic_labels='a'), 'dynamic_labels: expected ids'),
        (dict(label_mapping_yaml='nowhere.yaml'), 'There is no label space nowhere.yaml'),
    ],
)
def test_parameters_that_cannot_be(node, given, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        node([], **given)


def test_parameters_of_mono_hydra_that_have_no_effect_are_said(node):
    done = node([], dataset='itc', skip_frequncy=3)
    assert [text for level, text in done.ros.said if level == 'warn'] == [
        'Parameter dataset is not known and has no effect.',
        "Parameter skip_frequncy is not known and has no effect. Did you mean 'skip_frequency'?",
    ]


def test_the_command(run, tiny, monkeypatch):
    ros = RecordingRos(checkpoint_path=str(tiny[1]), device='cpu')
    ros.spin = lambda: ros.stop()
    asked = []
    monkeypatch.setattr('m2h_mm.cli.node.connect', lambda *how: asked.append(how) or ros)
    run('node', '--ros', 2, '--ros-args', '-p', 'device:=cpu')
    assert asked == [('2', ['--ros-args', '-p', 'device:=cpu'])] and ros.ended
    assert ros.said[0][1].startswith('Maps of /camera/color/image_raw on ')


def test_the_command_without_ros(run, monkeypatch):
    monkeypatch.setattr('m2h_mm.cli.node.find_spec', lambda name: None)
    monkeypatch.delenv('ROS_VERSION', raising=False)
    assert 'Which ROS? neither rospy nor rclpy is there' in run('node', status=1)
    monkeypatch.setitem(__import__('sys').modules, 'rclpy', None)
    said = run('node', '--ros', 2, status=1)
    assert 'The node needs rclpy' in said and 'Traceback' not in said

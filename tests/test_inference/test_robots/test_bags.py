"""Bags of ROS 1 and both kinds of ROS 2: what is in them is still there, and maps are beside it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from quick_inferencer import maps_of
from small_bags import CAMERA, IMAGES, INFOS, KINDS, SIZE, SmallBag, name_of, read_all

from m2h_mm.inference.robots.products import PRODUCTS, SYNCED_CAMERA_INFO, SYNCED_IMAGE
from m2h_mm.tasks.semseg.colours import class_colours

pytest.importorskip('rosbags')
SECOND = 10**9
PICTURES = np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), np.uint8)


def walk(folder: Path, kind: str, pictures=PICTURES) -> Path:
    """Pictures, their camera, and talk in between that nobody knows anything of."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    path = folder / name_of(kind, 'walk')
    forever = QosTime(9223372036, 854775807)
    qos = Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        *(forever, forever),
        QosLiveliness.AUTOMATIC,
        *(forever, False),
    )
    latched = (
        dict(callerid='/talker', latching=1) if kind == 'ros1' else dict(offered_qos_profiles=[qos])
    )
    with SmallBag(path, kind) as small:
        for number, picture in enumerate(pictures):
            time = SECOND + number * SECOND // 10
            small.image(time, picture)
            small.info(time)
            small.text(time + 3, f'picture {number}', details=latched)
    return path


def about(connection) -> tuple:
    """All that a bag says of a topic, but its number."""
    return (*connection[1:5], connection.ext)


@pytest.mark.parametrize('kind', KINDS)
def test_all_is_copied_and_maps_are_beside_their_picture(bag, tmp_path, kind):
    path = walk(tmp_path, kind)
    out = tmp_path / name_of(kind, 'maps')
    space = tmp_path / 'space.yaml'
    space.write_text('sofa: 7\nothers: 9')
    options = ('--label-space', space, '--depth-scale', 0.5, '--maps', *PRODUCTS)
    said = bag(path, out, '--image-topic', IMAGES, *options)
    assert 'maps of 3 pictures of /cam/image_raw' in said
    before, after = read_all(path), read_all(out)
    old = {connection.topic for connection, *_ in before}
    kept = [message for message in after if message[0].topic in old]
    assert [(about(one), *rest[:2]) for one, *rest in kept] == [
        (about(one), *rest[:2]) for one, *rest in before
    ]

    for number, picture in enumerate(PICTURES):
        maps = maps_of(picture)
        stamp = SECOND + number * SECOND // 10
        new = {
            connection.topic: message
            for connection, time, _, message in after
            if connection.topic not in old and time == stamp + 5
        }
        assert set(new) == {product.topic for product in PRODUCTS.values()} | {SYNCED_CAMERA_INFO}
        for message in new.values():
            header = message.header
            assert header.stamp.sec * SECOND + header.stamp.nanosec == stamp
            assert header.frame_id == 'cam_optical'
        got = {name: pixels_of(new[product.topic]) for name, product in PRODUCTS.items()}
        assert {name: new[product.topic].encoding for name, product in PRODUCTS.items()} == dict(
            depth='32FC1',
            depth_mm='16UC1',
            labels='mono8',
            colour='bgr8',
            overlay='bgr8',
            normals='32FC3',
            edges='mono8',
        )
        assert np.array_equal(got['depth'], maps['depth'] / 2)
        assert np.array_equal(got['depth_mm'], np.rint(maps['depth'].astype(float) * 500))
        ids = np.where(maps['semseg'] == 2, 7, 9)
        assert np.array_equal(got['labels'], ids)
        assert np.array_equal(got['colour'], class_colours()[ids][..., ::-1])
        assert np.array_equal(got['normals'], maps['normals'] * np.float32([1, -1, -1]))
        assert np.array_equal(got['edges'], np.rint(maps['edge'] * 255))
        blend = (picture[..., ::-1].astype(int) + got['colour']) // 2
        assert np.array_equal(got['overlay'], blend)
        info = new[SYNCED_CAMERA_INFO]
        assert (info.height, info.width) == SIZE
        assert np.allclose(info.k if hasattr(info, 'k') else info.K, CAMERA)
    assert sorted(tmp_path.iterdir()) == sorted([path, out, space])


def pixels_of(message) -> np.ndarray:
    kind = {'32': '<f4', '16': '<u2'}.get(message.encoding[:2], np.uint8)
    pixels = message.data.view(kind).reshape(message.height, message.width, -1)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


@pytest.mark.parametrize('kind', KINDS)
def test_a_lens_is_taken_out_first(bag, tmp_path, kind):
    """A camera that sees all around the middle half of the rectified picture, compressed."""
    path, out = (tmp_path / name_of(kind, name) for name in ('in', 'out'))
    written = cv2.imencode('.png', PICTURES[0][..., ::-1])[1].tobytes()
    with SmallBag(path, kind) as small:
        small.compressed(SECOND, written, 'rgb8; png compressed bgr8', IMAGES + '/compressed')
        small.info(SECOND + 50, D=(0.9, 0, 0, 0, 0))  # comes later
    bag(path, out, '--rectify', '--prefix', '/m2h')
    new = {connection.topic: message for connection, _, _, message in read_all(out)}
    camera = np.array([[40.0, 0, 20.5], [0, 40, 13.5], [0, 0, 1]])
    straight = cv2.undistort(PICTURES[0], camera, np.array([0.9, 0, 0, 0, 0]))
    image = new['/m2h' + SYNCED_IMAGE]
    assert image.encoding == 'rgb8'
    got = image.data.reshape(*SIZE, 3).astype(int)
    difference = np.abs(got - straight)
    assert difference.max() < 9 and difference.mean() < 1  # OpenCV rounds places to 1/32 pixel
    depth = pixels_of(new['/m2h' + PRODUCTS['depth'].topic])
    seen = np.isfinite(depth)
    assert 0.5 < seen.mean() < 0.95 and seen[10:18, 15:27].all() and not seen[0, 0]
    assert np.array_equal(pixels_of(new['/m2h' + PRODUCTS['depth_mm'].topic]) > 0, seen)
    assert not pixels_of(new['/m2h' + PRODUCTS['edges'].topic])[~seen].any()
    info = new['/m2h' + SYNCED_CAMERA_INFO]
    assert not (info.d if hasattr(info, 'd') else info.D).any()


def test_depth_is_that_of_the_bag_s_lens(bag, quick, tmp_path):
    quick.pipeline.canonical_focal = 20.0
    path = walk(tmp_path, 'ros1', PICTURES[:1])
    for stated, focal in ((None, CAMERA[0]), ((60, 60, 20.5, 13.5), 60)):
        quick.camera, out = stated, tmp_path / f'{focal}.bag'
        bag(path, out, '--maps', 'depth')
        new = {connection.topic: message for connection, _, _, message in read_all(out)}
        depth = pixels_of(new[PRODUCTS['depth'].topic])
        assert np.allclose(depth, maps_of(PICTURES[0])['depth'] * focal / 20)
        assert quick.camera == stated


def test_maps_of_every_other_picture_and_without_some_topics(bag, tmp_path):
    path, out = walk(tmp_path, 'ros1'), tmp_path / 'out.bag'
    options = ('--skip-frequency', 2, '--exclude-topics', IMAGES, '/chatter', '--maps', 'depth')
    said = bag(path, out, *options, '--compression', 'lz4')
    assert 'maps of 1 pictures' in said
    import lz4.frame

    frame = out.read_bytes()
    about = lz4.frame.get_frame_info(frame[frame.index(b'\x04\x22\x4d\x18') :])
    # The only kind that ROS itself reads.
    assert not about['block_linked'] and about['content_checksum'] and not about['content_size']
    messages = read_all(out)
    assert [(one.topic, time) for one, time, *_ in messages] == [
        (INFOS, SECOND + 6),
        (PRODUCTS['depth'].topic, SECOND + SECOND // 10 + 5),
        (SYNCED_CAMERA_INFO, SECOND + SECOND // 10 + 5),
        (INFOS, SECOND + SECOND // 10 + 6),
        (INFOS, SECOND + 2 * SECOND // 10 + 6),
    ]


def test_damaged_pictures_are_named_and_passed_over(bag, tmp_path):
    path, out = tmp_path / 'in.bag', tmp_path / 'out.bag'
    whole = cv2.imencode('.png', PICTURES[0])[1].tobytes()
    with SmallBag(path) as small:
        for number, data in enumerate((b'nothing', whole, whole[:60])):
            small.compressed(SECOND + number, data, 'png', '/c/compressed')
    said = bag(path, out, '--maps', 'depth', status=1)
    assert 'Picture 0 of /c/compressed has no maps: A compressed image' in said
    assert 'no camera_info is added' in said and 'maps of 1 pictures' in said
    depths = [time for one, time, *_ in read_all(out) if one.topic == PRODUCTS['depth'].topic]
    assert depths == [SECOND + 1 + 5]


def test_bags_that_do_not_say_what_is_in_them(bag, tmp_path, monkeypatch):
    """Recordings of ROS 2 before Iron have no definitions."""
    from rosbags.rosbag2 import storage_sqlite3

    path, out = tmp_path / 'old', tmp_path / 'out'
    monkeypatch.setattr(storage_sqlite3.Sqlite3Writer, 'add_msgtype', lambda *_: None)
    with SmallBag(path, 'sqlite3') as small:
        small.image(SECOND, PICTURES[0])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    bag(path, out, '--maps', 'depth')
    assert [one.topic for one, *_ in read_all(out)] == [IMAGES, PRODUCTS['depth'].topic]

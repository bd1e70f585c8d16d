"""A CameraInfo as a camera: distortion, sizes, and pictures rectified by it."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from m2h_mm.inference.robots.cameras import Camera

K = [50.0, 0, 31.5, 0, 50, 23.5, 0, 0, 1]
P = [40.0, 0, 31.5, 0, 0, 40, 23.5, 0, 0, 0, 1, 0]
SIZE = (48, 64)


def info(model='plumb_bob', D=(), K=K, R=(1, 0, 0, 0, 1, 0, 0, 0, 1), P=P, ros2=False, **fields):
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    roi.__dict__.update(fields.pop('roi', {}))
    matrices = {'K': K, 'D': D, 'R': R, 'P': P}
    return SimpleNamespace(
        **{name.lower() if ros2 else name: list(value) for name, value in matrices.items()},
        **{
            **dict(height=48, width=64, distortion_model=model, binning_x=0, binning_y=0, roi=roi),
            **fields,
        },
    )


def distorted(model, D, K, R, P):
    """A picture of columns and rows as a lens with distortion sees them: each pixel of the scene is
    seen where the model says that its ray falls, computed point by point.
    """
    rows, columns = np.mgrid[:48, :64].astype(float)
    rays = np.stack(((columns - P[2]) / P[0], (rows - P[6]) / P[5], np.ones_like(rows)), -1)
    rays = rays.reshape(-1, 1, 3)
    R, K, D = np.reshape(R, (3, 3)).astype(float), np.reshape(K, (3, 3)), np.asarray(D, float)
    turn = cv2.Rodrigues(np.linalg.inv(R))[0]
    if model == 'equidistant':
        x, y, z = (rays @ np.linalg.inv(R).T)[:, 0].T
        reach = np.hypot(x, y)
        angle = np.arctan2(reach, z)
        bent = angle * (1 + sum(d * angle ** (2 * n + 2) for n, d in enumerate(D)))
        at = np.stack((x, y), -1) / reach.clip(1e-12)[:, None] * bent[:, None]
        return (at * (K[0, 0], K[1, 1]) + (K[0, 2], K[1, 2])).reshape(48, 64, 2)
    return cv2.projectPoints(rays, turn, np.zeros(3), K, D)[0].reshape(48, 64, 2)


@pytest.mark.parametrize('ros2', [False, True])
@pytest.mark.parametrize(
    ('model', 'D'),
    [
        ('plumb_bob', (-0.2, 0.05, 0.001, -0.002, 0)),
        ('rational_polynomial', (-0.2, 0.05, 0.001, -0.002, 0, 0.01, 0.02, 0.01)),
        ('equidistant', (-0.05, 0.01, 0.002, -0.001)),
    ],
)
def test_pixels_are_looked_up_where_the_lens_has_put_them(model, D, ros2):
    R = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0].reshape(-1)
    camera = Camera.from_message(info(model, D, R=R, ros2=ros2), SIZE)
    assert camera.needs_rectifying and camera.model == model
    expected = distorted(model, D, K, R, P)
    got = np.stack(camera._lookup, -1)
    assert np.abs(got - expected).max() < 1e-3
    picture = np.dstack([np.mgrid[:48, :64][1] * 3] * 3).astype(np.uint8)
    straight = camera.rectify(picture)[..., 0] / 3
    inner = camera.seen & (expected[..., 0] > 0) & (expected[..., 0] < 63)
    inner &= (expected[..., 1] > 0) & (expected[..., 1] < 47)
    assert np.abs(straight - expected[..., 0])[inner].max() < 0.4


def test_what_the_camera_has_not_seen_is_known():
    """The rectified camera sees wider than the real one."""
    camera = Camera.from_message(info(D=(0, 0, 0, 0, 0)), SIZE)
    assert camera.needs_rectifying and camera.distortion.size == 0
    seen = camera.seen
    assert 0.55 < seen.mean() < 0.75 and seen[24, 32] and not seen[0, 0]
    assert not camera.rectify(np.full((48, 64, 3), 200, np.uint8))[~seen].max(initial=0) > 100


def test_a_camera_without_distortion_stays_as_it_is():
    camera = Camera.from_message(info(P=[0.0] * 12, R=[0] * 9), SIZE)
    assert not camera.needs_rectifying and camera.seen.all()
    assert camera.pinhole == (50, 50, 31.5, 23.5)
    assert np.array_equal(camera.projection[:, :3], camera.matrix)


@pytest.mark.parametrize(
    ('size', 'fields'),
    [
        ((96, 128), {}),  # enlarged
        ((24, 32), {}),
        ((24, 32), dict(binning_x=2, binning_y=2)),
        ((20, 30), dict(roi=dict(x_offset=6, y_offset=4, width=30, height=20))),
        (
            (10, 15),
            dict(binning_x=2, binning_y=2, roi=dict(x_offset=6, y_offset=4, width=30, height=20)),
        ),
    ],
)
def test_an_image_of_another_size_sees_the_same_rays(size, fields):
    """The ray of a pixel's centre, where the whole sensor says that the pixel lies."""
    camera = Camera.from_message(info(P=[0.0] * 12, **fields), size)
    roi = fields.get('roi', dict(x_offset=0, y_offset=0, width=64, height=48))
    scale = roi['width'] / size[1]
    column, row = 7, 5
    whole = (
        (column + 0.5) * scale - 0.5 + roi['x_offset'],
        (row + 0.5) * scale - 0.5 + roi['y_offset'],
    )
    fx, fy, cx, cy = camera.pinhole
    assert (column - cx) / fx == pytest.approx((whole[0] - 31.5) / 50)
    assert (row - cy) / fy == pytest.approx((whole[1] - 23.5) / 50)


@pytest.mark.parametrize(
    ('message', 'said'),
    [
        (info(K=[0.0] * 9), 'all intrinsics are 0, which is how ROS says'),
        (info('omni', D=(1, 2)), "distortion_model 'omni' is not known; expected one of plumb_bob"),
        (info('equidistant', D=(1, 2)), 'equidistant has 4 coefficients, got 2'),
        (info(height=64), 'it is of images of 64x64 pixels, the image has 64x48'),
        (info(K=[0.5, 0, 0.5, 0, 0.5, 0.5, 0, 0, 1]), 'no camera is like this'),
    ],
)
def test_what_is_no_camera(message, said):
    with pytest.raises(ValueError, match=said):
        Camera.from_message(message, SIZE)


@pytest.mark.parametrize('ros2', [False, True])
def test_a_camera_says_what_it_is(ros2):
    camera = Camera.from_message(info('equidistant', (0.1, 0, 0, 0)), SIZE)
    for one in (camera, camera.rectified):
        fields = one.fields(ros2)
        message = info()
        message.__dict__.update(fields)
        again = Camera.from_message(message, SIZE) if not ros2 else None
        if again is not None:
            assert np.allclose(again.matrix, one.matrix) and again.model == one.model
            assert np.allclose(again.distortion, one.distortion)
        assert len(fields['d' if ros2 else 'D']) == (4 if one is camera else 5)
    assert not camera.rectified.needs_rectifying
    assert camera.rectified.pinhole == (40, 40, 31.5, 23.5)

"""Normals by plane fits to a depth map."""

import numpy as np
import pytest

from m2h_mm.geometry.plane_fit import MAX_ERROR, normals_from_planes
from m2h_mm.tasks import Normals

CAMERA = (100.0, 110.0, 31.5, 22.3)
SIZE = (48, 64)
KINECT = (518.8579, 519.4696, 325.5824, 253.7362)


def plane(normal, distance, size=SIZE, camera=CAMERA):
    """Unit normal, and the depth of the plane normal . P = -distance, float32."""
    normal = np.array(normal) / np.linalg.norm(normal)
    fx, fy, cx, cy = camera
    v, u = np.mgrid[: size[0], : size[1]]
    rays = np.stack([(u - cx) / fx, -(v - cy) / fy, -np.ones(size)], axis=-1)
    depth = -distance / (rays @ normal)
    assert (depth > 0).all()
    return normal, depth.astype(np.float32)


def slow(depth, camera, window, min_share):
    """The documented rule, pixel by pixel, window by window."""
    height, width = depth.shape
    radius = window // 2
    fx, fy, cx, cy = camera
    result = np.zeros((height, width, 3))

    def fit(row, column):
        inside = [
            (v, u)
            for v in range(row - radius, row + radius + 1)
            for u in range(column - radius, column + radius + 1)
            if 0 <= v < height and 0 <= u < width and depth[v, u] > 0
        ]
        if len(inside) < min_share * window**2:
            return None
        v, u = np.array(inside).T
        design = np.stack([u, v, np.ones(len(u))], axis=1).astype(float)
        inverse = 1 / depth[v, u].astype(float)
        solution = np.linalg.lstsq(design, inverse, rcond=None)[0]
        variance = ((design @ solution - inverse) ** 2).sum() / (len(u) - 3)
        return variance, solution, variance * np.linalg.inv(design.T @ design)

    fits = {(row, column): fit(row, column) for row in range(height) for column in range(width)}
    for row in range(height):
        for column in range(width):
            best, score = (
                fits[row, column],
                np.inf if fits[row, column] is None else fits[row, column][0] / 2,
            )
            for v in (row - radius, row, row + radius):
                for u in (column - radius, column, column + radius):
                    other = fits.get((v, u))
                    if depth[row, column] > 0 and other is not None and other[0] < score:
                        best, score = other, other[0]
            if best is None:
                continue
            _, (a, b, c), covariance = best
            normal = np.array(
                [-fx * a, fy * b, c + a * cx + b * cy]
            )  # the plane's, from its value at the centre
            error = np.sqrt(fx**2 * covariance[0, 0] + fy**2 * covariance[1, 1]) / np.linalg.norm(
                normal
            )
            if a * column + b * row + c > 0 and np.degrees(error) <= MAX_ERROR:
                result[row, column] = normal / np.linalg.norm(normal)
    return result


def degrees(a, b):
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1)))


@pytest.mark.parametrize('normal', [(0, 0, 1), (0, 1, 0.4), (0.4, -0.3, 0.9), (-0.6, 0.3, 0.7)])
def test_exact_on_a_plane_up_to_the_corners(normal):
    normal, depth = plane(normal, 2.0)
    normals = normals_from_planes(depth, CAMERA, window=9)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(normals, np.broadcast_to(normal, normals.shape), atol=1e-4)


@pytest.mark.parametrize('angle', [0, 20, 45, 110, 200, 300])
def test_exact_on_both_sides_of_a_step_in_any_direction(angle):
    near, near_depth = plane((0.2, 0.3, 0.9), 1.0)
    far, far_depth = plane((-0.4, 0.1, 0.9), 2.5)
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    is_near = (u - 31) * np.cos(np.radians(angle)) + (v - 22) * np.sin(np.radians(angle)) > 0
    normals = normals_from_planes(np.where(is_near, near_depth, far_depth), CAMERA, window=9)
    inner = (
        slice(4, -4),
    ) * 2  # at the border the frame may cut the only window that lies in one piece
    np.testing.assert_allclose(
        normals[inner], np.where(is_near[..., None], near, far)[inner], atol=1e-4
    )


def test_a_crease_stays_sharp():
    """Two walls and their corner: the depth has no step."""
    left, left_depth = plane((0.5, 0, 0.8), 2.0)
    right, right_depth = plane((-0.5, 0, 0.8), 2.0)
    depth = np.minimum(left_depth, right_depth)
    normals = normals_from_planes(depth, CAMERA, window=9)
    np.testing.assert_allclose(
        normals, np.where((left_depth < right_depth)[..., None], left, right), atol=1e-4
    )


@pytest.mark.parametrize(('window', 'min_share'), [(5, 0.5), (7, 0.6)])
def test_the_documented_rule_with_noise_steps_and_holes(window, min_share):
    rng = np.random.default_rng(1)
    _, near = plane((0.2, 0.3, 0.9), 1.0, (22, 26))
    _, far = plane((-0.4, 0.1, 0.9), 2.0, (22, 26))
    v, u = np.mgrid[:22, :26]
    depth = np.where(u + v > 22, near, far) * (1 + 0.01 * rng.normal(size=(22, 26)))
    depth[rng.random(depth.shape) < 0.2] = 0
    depth[3:9, 14:22] = 0
    expected = slow(depth, CAMERA, window, min_share)
    found = normals_from_planes(depth, CAMERA, window, min_share)
    assert 0.4 < expected.any(axis=2).mean() < 0.95
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_holes_are_bridged_if_small_and_left_if_large():
    normal, depth = plane((0.2, 0.3, 0.9), 1.0)
    depth[10, 10] = depth[10, 11] = np.nan
    depth[20:40, 20:40] = 0
    normals = normals_from_planes(depth, CAMERA, window=9)
    known = normals.any(axis=2)
    np.testing.assert_allclose(
        normals[known], np.broadcast_to(normal, normals[known].shape), atol=1e-4
    )
    assert known[10, 10] and known[depth > 0].all() and not known[24:36, 24:36].any()


def test_thin_things_and_noise_get_no_normals():
    _, depth = plane((0, 0, 1), 2.0)
    depth[:, 30:32] = 1.0
    normals = normals_from_planes(depth, CAMERA, window=9)
    assert not normals[:, 30:32].any() and (normals[:, :26, 2] > 0.999).all()
    noise = np.random.default_rng(0).uniform(0.5, 9.5, SIZE)
    assert normals_from_planes(noise, CAMERA, window=9).any(axis=2).mean() < 0.01
    assert not normals_from_planes(np.zeros(SIZE), CAMERA).any()


def test_the_real_frame(nyud_sample):
    """The released normals of this frame are 3.0 degrees off in the median, with windows of 21
    pixels.
    """
    depth = np.load(nyud_sample / 'depth' / '000433.npy')
    stored = Normals().read(nyud_sample / 'normals' / '000433.png').value
    normals = normals_from_planes(depth, KINECT)
    both = normals.any(axis=2) & stored.any(axis=2)
    assert np.median(degrees(normals, stored)[both]) < 4
    assert normals.any(axis=2)[depth > 0].mean() > 0.98


@pytest.mark.parametrize(
    'arguments', [dict(window=4), dict(window=1), dict(min_share=0.4), dict(min_share=1.1)]
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        normals_from_planes(np.ones(SIZE), CAMERA, **arguments)

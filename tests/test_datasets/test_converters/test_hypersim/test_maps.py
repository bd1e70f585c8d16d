"""Every map of Hypersim is what its definition says, for straight, shifted and tilted lenses."""

import json
import math

import numpy as np
import pytest
import torch
from label_fields import plain

from m2h_mm.datasets import HypersimDataset
from m2h_mm.datasets.converters.hypersim import convert_frame, list_frames
from m2h_mm.datasets.converters.hypersim_camera import (
    STANDARD_CAMERA,
    image_plane_rotation,
    intrinsics,
    pixel_rays,
)
from m2h_mm.geometry.pinhole import normals_from_depth
from m2h_mm.tasks.files import read_array

from .conftest import CAMERAS, FRAMES, ROWS, SHIFTED, SIZE, TILTED, H, W, noise

LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]


def plane(matrix: np.ndarray, normal: np.ndarray, distance: float = 3.0) -> dict[str, np.ndarray]:
    """All maps of a frame that shows a wall, ``normal . point = -distance``, with its back turned
    to the camera.
    """
    rays = pixel_rays(matrix, SIZE).astype(np.float64)
    ids = np.ones(SIZE, np.int16)
    return dict(
        noise(0),
        depth_meters=(-distance / (rays @ normal)).astype(np.float16),
        normal_cam=np.broadcast_to(-normal, (*SIZE, 3)).astype(np.float16),
        render_entity_id=ids,
        semantic=ids,
        semantic_instance=ids,
    )


# ---- the maps, computed once more, pixel by pixel
def expect_image(maps: dict) -> np.ndarray:
    colour = maps['color'].astype(np.float64)
    colour[np.isnan(colour)] = 0
    brightness = sorted(
        0.3 * colour[y, x, 0] + 0.59 * colour[y, x, 1] + 0.11 * colour[y, x, 2]
        for y in range(H)
        for x in range(W)
        if maps['render_entity_id'][y, x] != -1
    )
    place = 0.9 * (len(brightness) - 1)
    below, above = brightness[math.floor(place)], brightness[math.ceil(place)]
    percentile = below + (place - math.floor(place)) * (above - below)
    image = np.zeros((H, W, 3))
    for index, value in np.ndenumerate(colour):
        image[index] = min(max(0.8**2.2 / percentile * value, 0) ** (1 / 2.2), 1)
    return 255 * image


def expect_geometry(maps: dict, camera: list | None) -> tuple[np.ndarray, np.ndarray]:
    camera = camera or [
        [math.tan(math.pi / 6), 0, 0],
        [0, math.tan(math.pi / 6) * H / W, 0],
        [0, 0, -1],
    ]
    depth, normals = np.zeros(SIZE), np.zeros((H, W, 3))
    for y in range(H):
        for x in range(W):
            u, v = -1 + (x + 0.5) * 2 / W, 1 - (y + 0.5) * 2 / H
            ray = [row[0] * u + row[1] * v + row[2] for row in camera]
            ray = [value / math.dist(ray, (0, 0, 0)) for value in ray]
            if maps['render_entity_id'][y, x] == -1:
                continue
            distance = float(maps['depth_meters'][y, x])
            if math.isfinite(distance):
                depth[y, x] = distance * -ray[2]
            normal = [float(value) for value in maps['normal_cam'][y, x]]
            length = math.sqrt(sum(value * value for value in normal))
            if math.isfinite(length) and length > 0:
                sign = -1 if sum(a * b for a, b in zip(normal, ray, strict=True)) > 0 else 1
                normals[y, x] = [sign * value / length for value in normal]
    return depth, normals


@pytest.mark.parametrize('index', [0, 3, 5], ids=['standard', 'shifted', 'tilted'])
def test_what_the_loader_reads_is_what_the_download_says(make_hypersim, convert, index):
    out, _ = convert(make_hypersim())
    scene, camera, number, _, split = ROWS[index]
    maps = noise(index)
    dataset = HypersimDataset(out, split=split, pipeline=LOAD)
    frame = plain(dataset[FRAMES[split].index(f'{scene}_{camera}_{number:04d}')])

    assert np.abs(frame['img'] - expect_image(maps)).max() <= 0.501
    stored = maps['semantic']
    written = read_array(out / 'segmentation' / f'{frame["frame_id"]}.png')
    np.testing.assert_array_equal(written, np.where(stored == -1, 0, stored))
    np.testing.assert_array_equal(frame['gt_semseg'], np.where(stored == -1, 255, stored - 1))
    depth, normals = expect_geometry(maps, CAMERAS[scene])
    np.testing.assert_array_equal(frame['gt_depth'] > 0, depth > 0)
    assert not frame['gt_depth'][:3].any() and not frame['gt_normals'][:3].any()
    np.testing.assert_allclose(frame['gt_depth'], depth, rtol=2**-10)
    assert frame['gt_depth'].max() > 65.6  # more than millimetres in 16 bits can say
    np.testing.assert_array_equal(frame['gt_normals'].any(axis=2), normals.any(axis=2))
    np.testing.assert_allclose(frame['gt_normals'], normals, atol=0.01)

    edges = np.zeros(SIZE, np.uint8)
    edges[:, 9] = 1
    edges[13, 10:] = 1
    edges[13, 9] = 0  # thinning leaves the lines of a T connected by their corners
    difference = frame['gt_edge'] != edges
    assert not difference.any(), np.argwhere(difference)


def test_images_without_a_valid_pixel_and_dark_ones(make_hypersim):
    def maps(index: int, matrix: np.ndarray) -> dict:
        grey = np.full((*SIZE, 3), 0.25, np.float16)
        valid = np.full(SIZE, -1 if index == 0 else 5, np.int32)
        return dict(
            noise(index),
            color=grey if index == 0 else grey * np.float16(1e-4),
            render_entity_id=valid,
        )

    sources = [frame.source for frame in list_frames(make_hypersim(maps), splits=['train'])]
    nothing, dark = (convert_frame(source) for source in sources)
    assert (nothing['images'] == round(255 * 0.25 ** (1 / 2.2))).all() and not nothing[
        'depth'
    ].any()
    assert (dark['images'] == 0).all()


# ---- cameras
@pytest.mark.parametrize(
    'matrix',
    [STANDARD_CAMERA, np.array(SHIFTED), np.array(TILTED)],
    ids=['standard', 'shifted', 'tilted'],
)
@pytest.mark.parametrize('size', [SIZE, (768, 1024)])
def test_intrinsics_give_the_rays(matrix, size):
    rotation = image_plane_rotation(matrix)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    rays = pixel_rays(matrix, size) @ rotation.T
    fx, fy, cx, cy = intrinsics(rotation @ matrix, size)
    rows, columns = np.mgrid[: size[0], : size[1]]
    np.testing.assert_allclose(fx * rays[..., 0] / -rays[..., 2] + cx, columns, atol=2e-6 * size[1])
    np.testing.assert_allclose(fy * rays[..., 1] / rays[..., 2] + cy, rows, atol=2e-6 * size[1])
    assert np.allclose(rotation, np.eye(3)) == (matrix[2, 1] == 0)
    assert (intrinsics(matrix, size) is None) == (matrix[2, 1] != 0)


def test_the_standard_camera_has_the_known_focal_length():
    np.testing.assert_allclose(
        intrinsics(STANDARD_CAMERA, (768, 1024)), (886.81, 886.81, 511.5, 383.5), atol=1e-3
    )


@pytest.mark.parametrize(('row', 'column'), [(0, 1), (1, 0), (2, 0), (2, 1)])
def test_skewed_and_tilted_cameras_have_no_intrinsics(row, column):
    matrix = STANDARD_CAMERA.copy()
    matrix[row, column] = 1e-3
    assert intrinsics(matrix, SIZE) is None


def test_only_ordinary_cameras_are_listed_unless_untilted(make_hypersim, convert):
    out, _ = convert(make_hypersim())
    cameras = json.loads((out / 'cameras.json').read_text())
    assert sorted(cameras) == FRAMES['train'] + FRAMES['val']
    assert cameras[FRAMES['val'][0]] == pytest.approx(intrinsics(np.array(SHIFTED), SIZE))
    assert 'cam2img' not in HypersimDataset(out, split='test', pipeline=LOAD)[0]


def test_untilted_depth_normals_and_intrinsics_describe_one_wall(make_hypersim, convert):
    normal = np.array([0.3, -0.2, 0.9]) / np.linalg.norm([0.3, -0.2, 0.9])
    out, _ = convert(make_hypersim(lambda _, matrix: plane(matrix, normal)), '--untilt')
    for split, frames in FRAMES.items():
        for frame in map(plain, HypersimDataset(out, split=split, pipeline=LOAD)):
            assert frame['frame_id'] in frames
            depth, camera = (torch.from_numpy(frame[key])[None] for key in ('gt_depth', 'cam2img'))
            derived = normals_from_depth(depth[None], camera)[0].permute(1, 2, 0).numpy()
            angles = np.degrees(
                np.arccos(np.clip((derived * frame['gt_normals']).sum(axis=2), -1, 1))
            )
            assert np.median(angles) < 1  # what float16 leaves
            turned = np.degrees(np.arccos(frame['gt_normals'][0, 0] @ normal))
            assert (turned > 10) if split == 'test' else (turned < 1)

"""Hypersim: every map pixel for pixel against its definition, for straight, shifted and tilted
lenses.
"""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from label_fields import plain

from m2h_mm.datasets import HypersimDataset
from m2h_mm.datasets.converters.hypersim import CAMERA_CSV, SPLIT_CSV, convert_frame, list_frames
from m2h_mm.datasets.converters.hypersim_camera import (
    STANDARD_CAMERA,
    image_plane_rotation,
    intrinsics,
    pixel_rays,
)
from m2h_mm.geometry.pinhole import normals_from_depth
from m2h_mm.tasks.files import read_array

SIZE = H, W = 24, 32
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
SHIFTED = [[0.578, 0, -0.035], [0, 0.4335, 0.058], [0, 0, -1.0015]]
TILTED = [[0.603, 0, -0.02], [0, 0.433, 0.1], [0, -0.13, -1.044]]
CAMERAS = {
    'ai_001_001': None,
    'ai_001_002': SHIFTED,
    'ai_002_001': TILTED,
}  # None: the table has no row
ROWS = [
    ('ai_001_001', 'cam_00', 0, 'True', 'train'),
    ('ai_001_001', 'cam_00', 12, 'False', 'train'),
    ('ai_001_001', 'cam_01', 3, 'True', 'train'),
    ('ai_001_002', 'cam_00', 7, 'True', 'val'),
    ('ai_001_002', 'cam_00', 8, 'True', 'val'),
    ('ai_002_001', 'cam_00', 1, 'True', 'test'),
]
FRAMES = {
    'train': ['ai_001_001_cam_00_0000', 'ai_001_001_cam_01_0003'],
    'val': ['ai_001_002_cam_00_0007', 'ai_001_002_cam_00_0008'],
    'test': ['ai_002_001_cam_00_0001'],
}


def file_of(root: Path, row: tuple, kind: str) -> Path:
    scene, camera, number = row[:3]
    kind_of_pass = 'final' if kind == 'color' else 'geometry'
    return (
        root
        / scene
        / 'images'
        / f'scene_{camera}_{kind_of_pass}_hdf5'
        / f'frame.{number:04d}.{kind}.hdf5'
    )


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        file.create_dataset('dataset', data=array, compression='gzip')


def noise(seed: int) -> dict[str, np.ndarray]:
    """All maps of a frame, with everything in them that the real ones have."""
    rng = np.random.default_rng(seed)
    entity = rng.integers(1, 90, SIZE).astype(np.int32)
    entity[:3] = -1
    distance = rng.uniform(0.4, 90, SIZE)
    normals = rng.normal(size=(*SIZE, 3)) * rng.uniform(0.2, 2, (*SIZE, 1))
    normals[5, :4] = 0
    distance[:2] = normals[:2] = np.nan  # row 2 has numbers, and is invalid all the same
    normals[6, 0], distance[6, 1] = np.nan, np.inf
    semantic = rng.integers(1, 41, SIZE)
    semantic[:4] = -1
    instance = np.full(SIZE, -1)
    instance[:, 10:] = 17
    instance[14:, 10:] = 3
    colour = rng.gamma(0.5, 3, (*SIZE, 3))
    colour[0, 0] = (np.nan, np.inf, -2)
    colour[8, 8] = -0.5
    return dict(
        color=colour.astype(np.float16),
        depth_meters=distance.astype(np.float16),
        normal_cam=normals.astype(np.float16),
        render_entity_id=entity,
        semantic=semantic.astype(np.int16),
        semantic_instance=instance.astype(np.int16),
    )


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


@pytest.fixture
def make_hypersim(tmp_path: Path) -> Callable[..., Path]:
    """Writes the frames of ROWS in the official layout; ``maps(row index, camera)`` makes those of
    one.
    """

    def make(maps: Callable[[int, np.ndarray], dict] = lambda index, _: noise(index)) -> Path:
        root = tmp_path / 'scenes'
        root.mkdir()
        with open(root / SPLIT_CSV, 'w', newline='') as file:
            table = csv.writer(file)
            table.writerow(
                [
                    'scene_name',
                    'camera_name',
                    'frame_id',
                    'included_in_public_release',
                    'exclude_reason',
                    'split_partition_name',
                ]
            )
            table.writerows(
                (*row[:4], '' if row[3] == 'True' else 'CONTENT FLAGGED FOR REMOVAL', row[4])
                for row in ROWS
            )
        with open(root / CAMERA_CSV, 'w', newline='') as file:
            table = csv.writer(file)
            table.writerow(
                [
                    'scene_name',
                    'settings_output_img_height',
                    'settings_output_img_width',
                    *(f'M_cam_from_uv_{i}{j}' for i in range(3) for j in range(3)),
                    'M_proj_00',
                ]
            )
            table.writerows(
                [name, *SIZE, *np.ravel(matrix), 1.73] for name, matrix in CAMERAS.items() if matrix
            )
        for index, row in enumerate(ROWS):
            if row[3] == 'True':
                matrix = np.array(CAMERAS[row[0]] or STANDARD_CAMERA)
                for kind, array in maps(index, matrix).items():
                    save(file_of(root, row, kind), array)
        return root

    return make


@pytest.fixture
def convert(run, tmp_path):
    """``convert(root, *options)``: the folder that is written, and what was printed."""

    def convert(root: Path, *options: str, status: int = 0) -> tuple[Path, str]:
        arguments = ('--out-dir', tmp_path / 'out', '--num-workers', 0, *options)
        return tmp_path / 'out', run('convert-data', 'hypersim', root, *arguments, status=status)

    return convert


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


# ---- files
def test_lists_follow_the_official_split_and_the_options(make_hypersim, convert):
    root = make_hypersim()
    out, _ = convert(root)
    assert {path.stem: path.read_text().split() for path in (out / 'gt_sets').iterdir()} == FRAMES
    assert [
        frame.frame_id
        for frame in list_frames(root, splits=['val', 'test'], scenes=['ai_002_*', 'ai_001_001'])
    ] == FRAMES['test']
    with pytest.raises(ValueError, match=r"the splits \['val'\] and the scenes \['ai_002_001'\]"):
        list_frames(root, splits=['val'], scenes=['ai_002_001'])


def test_a_second_run_does_nothing_and_other_settings_are_refused(make_hypersim, convert):
    root = make_hypersim()
    out, said = convert(root)
    assert '5 frames, 5 of them converted now' in said
    before = {
        path: path.stat().st_mtime_ns
        for folder in ('images', 'depth', 'normals', 'edge', 'segmentation')
        for path in (out / folder).iterdir()
    }
    _, said = convert(root)
    assert '5 frames, 0 of them converted now' in said
    assert before == {path: path.stat().st_mtime_ns for path in before} and len(before) == 25
    _, said = convert(root, '--untilt', status=1)
    assert 'untilt = False, now True' in said


@pytest.mark.parametrize(
    'kind',
    ['color', 'depth_meters', 'normal_cam', 'render_entity_id', 'semantic', 'semantic_instance'],
)
@pytest.mark.parametrize('damage', ['missing', 'empty', 'cut', 'inside', 'shape', 'name'])
def test_a_damaged_file_is_named_and_the_other_frames_are_kept(
    make_hypersim, convert, kind, damage
):
    root = make_hypersim()
    path = file_of(root, ROWS[4], kind)
    content = bytearray(path.read_bytes())
    if damage == 'missing':
        path.unlink()
    elif damage == 'shape':
        save(path, np.ones((3, 4)))
    elif damage == 'name':
        with h5py.File(path, 'a') as file:
            file.move('dataset', 'other')
    else:
        with h5py.File(path) as file:
            offset = file['dataset'].id.get_chunk_info(0).byte_offset
        content[offset + 4 : offset + 12] = b'\xff' * 8
        path.write_bytes(
            {'empty': b'', 'cut': content[: len(content) // 2], 'inside': content}[damage]
        )
    out, said = convert(root, status=1)
    said = said.replace('\n', '')
    assert str(path) in said and 'other 4 of 5 frames' in said and 'Traceback' not in said
    assert not (out / 'gt_sets').exists()
    out, _ = convert(root, '--allow-missing')
    assert (out / 'gt_sets' / 'train.txt').read_text().split() == FRAMES['train']
    save(path, noise(4)[kind])
    _, said = convert(root)
    assert '5 frames, 1 of them converted now' in said


@pytest.mark.parametrize('label', [0, 41, -2])
def test_unknown_classes_are_refused(make_hypersim, label):
    root = make_hypersim()
    stored = noise(3)['semantic']
    stored[4, 5] = label
    save(file_of(root, ROWS[3], 'semantic'), stored)
    with pytest.raises(
        ValueError,
        match=rf'semantic\.hdf5 holds the ids \[{label}\]; expected -1 '
        r'and 1\.\.40',
    ):
        convert_frame(list_frames(root, splits=['val'])[0].source)


@pytest.mark.parametrize('name', [SPLIT_CSV, CAMERA_CSV])
def test_tables_that_are_missing_or_wrong_are_named(make_hypersim, convert, name):
    root = make_hypersim()
    text = (root / name).read_text()
    (root / name).write_text('scene_name,nothing\n')
    with pytest.raises(ValueError, match=name):
        list_frames(root)
    (root / name).unlink()
    with pytest.raises(
        FileNotFoundError,
        match=rf'(?s)no table .*{name}.*Expected '
        r'layout.*ai_VVV_NNN',
    ):
        list_frames(root)
    (root.parent / 'table.csv').write_text(text)
    option = '--split-csv' if name == SPLIT_CSV else '--camera-csv'
    convert(root, option, str(root.parent / 'table.csv'))


@pytest.mark.parametrize(
    ('old', 'new'), [('0.578', ''), ('0.578', 'x'), ('0.578', '-0.578'), ('-1.0015', '1.0015')]
)
def test_cameras_that_are_none_are_named(make_hypersim, old, new):
    root = make_hypersim()
    table = root / CAMERA_CSV
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf'{CAMERA_CSV}: scene ai_001_002 has no usable camera'):
        list_frames(root)


def test_scenes_that_are_not_there_are_told(make_hypersim, tmp_path):
    root = make_hypersim()
    with pytest.raises(
        FileNotFoundError,
        match=r'(?s)ai_001_001, is in .*elsewhere.*Expected '
        r'layout',
    ):
        list_frames(tmp_path / 'elsewhere', root / SPLIT_CSV, root / CAMERA_CSV)

"""Every label of PASCAL-Context is what a slow computation finds."""

import numpy as np
import pytest
from PIL import Image

from m2h_mm.datasets.converters.pascal_context import (
    NYU_CLASSES,
    convert_pascal_context,
    label_map_edges,
)
from m2h_mm.datasets.nyud import NYU40_CLASSES
from m2h_mm.tasks.edge.thinning import thin

from .conftest import OBJECTS, SIZE, TRAIN, VAL, load

EXPECTED_PARTS = dict(
    background=0, hair=1, mouth=1, neck=2, torso=2, ruarm=3, lhand=4, luleg=5, rlleg=6, lfoot=6
)


def slow_parts(objects: list) -> np.ndarray:
    expected = np.full(SIZE, 255)
    persons = [parts for _, number, _, parts in objects if number == 15 and parts]
    for row in range(SIZE[0]) if persons else ():
        for column in range(SIZE[1]):
            names = [
                'background',
                *(name for parts in persons for name, mask in parts if mask[row, column]),
            ]
            expected[row, column] = EXPECTED_PARTS[names[-1]]
    return expected


def slow_laplacian(ids: np.ndarray) -> np.ndarray:
    (height, width), ids = ids.shape, ids.astype(int)
    marked = np.zeros(ids.shape, bool)
    for row in range(height):
        for column in range(width):
            around = [
                (abs(row - 1), column),
                (min(row + 1, 2 * height - 3 - row), column),
                (row, abs(column - 1)),
                (row, min(column + 1, 2 * width - 3 - column)),
            ]
            marked[row, column] = sum(ids[place] for place in around) != 4 * ids[row, column]
    return marked


@pytest.mark.parametrize('num_workers', [0, 2])
def test_every_label_is_what_a_slow_computation_finds(release, tmp_path, num_workers):
    root, stored = release
    out = tmp_path / 'out'
    convert_pascal_context(root, out, num_workers=num_workers)
    frames = {**load(out), **load(out, 'val')}
    assert list(frames) == TRAIN + VAL
    masked = 0
    for frame_id, frame in frames.items():
        arrays = stored[frame_id]
        copied, original = (
            folder / f'{frame_id}.jpg' for folder in (out / 'images', root / 'JPEGImages')
        )
        assert copied.read_bytes() == original.read_bytes()
        np.testing.assert_array_equal(frame['gt_semseg'], arrays['semseg'])
        np.testing.assert_array_equal(frame['gt_human_parts'], slow_parts(OBJECTS[frame_id]))
        np.testing.assert_array_equal(frame['gt_saliency'], arrays['saliency'] > 127)
        np.testing.assert_array_equal(frame['gt_edge'], thin(slow_laplacian(arrays['label_map'])))
        for place in np.ndindex(*SIZE):
            vector = arrays['normals'][place] * (2 / 255) - 1
            length = np.linalg.norm(vector)
            known = (
                arrays['label_map'][place] in (158, 440, 284, 9) and arrays['normals'][place].any()
            )
            masked += not known
            expected = vector / length if known and length > 0.5 else np.zeros(3)
            np.testing.assert_allclose(frame['gt_normals'][place], expected, atol=1e-5)
        assert 'cam2img' not in frame
    assert 0.2 < masked / (5 * SIZE[0] * SIZE[1]) < 0.8
    assert (frames[TRAIN[1]]['gt_human_parts'] == 255).all() and (
        frames[TRAIN[2]]['gt_human_parts'] == 255
    ).all()
    assert set(np.unique(frames[TRAIN[0]]['gt_human_parts'])) == set(range(7))


def test_classes_shared_with_nyu_and_one_that_is_called_otherwise():
    assert set(NYU_CLASSES) - set(NYU40_CLASSES) == {'tvmonitor'}
    assert len(set(NYU_CLASSES.values())) == 25 and sorted(NYU_CLASSES) == sorted(
        NYU_CLASSES, key=NYU_CLASSES.get
    )


def test_normals_of_every_class_and_in_another_convention(release, tmp_path):
    root, stored = release
    convert_pascal_context(root, tmp_path / 'out', 'geonet', every_class=True, num_workers=0)
    for frame_id, frame in load(tmp_path / 'out').items():
        vectors = stored[frame_id]['normals'] * (2 / 255) - 1
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        expected = vectors / lengths * (1, -1, -1)  # y down, z forward
        expected[(lengths[..., 0] < 0.5) | ~stored[frame_id]['normals'].any(axis=2)] = 0
        np.testing.assert_allclose(frame['gt_normals'], expected, atol=1e-5)


def test_a_laplacian_of_zero_is_no_edge_though_classes_meet():
    ramp = np.repeat(np.array([[1, 2, 3, 4, 4]]), 5, axis=0)
    np.testing.assert_array_equal(label_map_edges(ramp) > 0, thin(slow_laplacian(ramp)))
    assert not label_map_edges(ramp)[:, 1:3].any() and label_map_edges(ramp).any()
    assert set(np.unique(label_map_edges(ramp))) == {0, 255}


def test_segmentation_of_voc_goes_first(release, tmp_path):
    root, _ = release
    other = np.full(SIZE, 7, np.uint8)
    Image.fromarray(other).save(root / 'semseg' / 'pascal-context' / f'{TRAIN[0]}.png')
    Image.fromarray(other).save(root / 'semseg' / 'VOC12' / f'{TRAIN[1]}.png')
    convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    frames = load(tmp_path / 'out')
    assert (frames[TRAIN[1]]['gt_semseg'] == 7).all() and not (
        frames[TRAIN[0]]['gt_semseg'] == 7
    ).all()

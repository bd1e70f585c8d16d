import cv2
import numpy as np
import pytest
import scipy.io
import torch

from m2h_mm.tasks import Depth, Edge, Normals, Semseg, build_tasks
from m2h_mm.tasks.files import write_array

RNG = np.random.default_rng(0)


def random_normals(height=6, width=9):
    normals = RNG.normal(size=(height, width, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    normals[0, 0] = 0
    return normals


LABELS = {
    'semseg': RNG.integers(0, 40, (6, 9)).astype(np.uint8),
    'depth': RNG.uniform(0.5, 9, (6, 9)).astype(np.float32),
    'normals': random_normals(),
    'edge': RNG.integers(0, 2, (6, 9)).astype(np.uint8),
}


@pytest.mark.parametrize('name', LABELS)
def test_flip_twice_is_identity(name):
    task = build_tasks([name])[name]
    flipped = task.flip(LABELS[name])
    assert not np.array_equal(flipped, LABELS[name])
    np.testing.assert_array_equal(task.flip(flipped), LABELS[name])


def test_flip_negates_normal_x_only():
    normals = LABELS['normals']
    np.testing.assert_array_equal(Normals().flip(normals)[:, ::-1] * (-1, 1, 1), normals)


def test_zoom_divides_only_depth():
    depth = LABELS['depth']
    np.testing.assert_allclose(Depth().zoom(depth, 2.0, depth.shape), depth / 2)
    np.testing.assert_array_equal(Depth().resize(depth, depth.shape), depth)
    for name in ('semseg', 'edge', 'normals'):
        np.testing.assert_array_equal(
            build_tasks([name])[name].zoom(LABELS[name], 2.0, (6, 9)), LABELS[name]
        )


def test_resizing_never_mixes_values():
    depth = LABELS['depth'].copy()
    depth[::2] = 0
    for size in ((13, 20), (4, 5)):
        assert set(np.unique(Depth().resize(depth, size))) <= set(np.unique(depth))
        lengths = np.linalg.norm(Normals().resize(LABELS['normals'], size), axis=2)
        assert np.all((lengths == 0) | (np.abs(lengths - 1) < 1e-6))


def test_files_are_read_in_the_tasks_units(tmp_path):
    depth = np.array([[0, 1500], [2500, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / 'd.png'), depth)
    np.testing.assert_allclose(Depth().read(tmp_path / 'd.png'), depth / 1000, rtol=1e-6)
    np.save(tmp_path / 'd.npy', np.array([[np.nan, 1.5], [-1, np.inf]]))
    np.testing.assert_array_equal(Depth().read(tmp_path / 'd.npy'), [[0, 1.5], [0, 0]])

    normals = LABELS['normals']
    stored = np.rint((normals + 1) / 2 * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'n.png'), stored[..., ::-1])
    read = Normals().read(tmp_path / 'n.png')
    np.testing.assert_allclose(read, normals, atol=0.01)
    assert not read[0, 0].any()

    stored[0, 1] = 0  # black, the missing pixels of other releases
    cv2.imwrite(str(tmp_path / 'n.png'), stored[..., ::-1])
    assert not Normals().read(tmp_path / 'n.png')[0, :2].any()
    np.save(tmp_path / 'n.npy', [[[np.nan, 0, 1], [np.inf, 0, 1]], [[0, 0, 2], [0.1, 0, 0]]])
    np.testing.assert_array_equal(
        Normals().read(tmp_path / 'n.npy'), [[[0, 0, 0]] * 2, [[0, 0, 1], [0, 0, 0]]]
    )

    cv2.imwrite(str(tmp_path / 'e.png'), LABELS['edge'] * 255)
    np.save(tmp_path / 'e.npy', LABELS['edge'].astype(np.float32))
    for file in ('e.png', 'e.npy'):
        np.testing.assert_array_equal(Edge().read(tmp_path / file), LABELS['edge'])


@pytest.mark.parametrize('content', [b'', b'\x89PNG\r\n\x1a\nbroken'])
@pytest.mark.parametrize('name', ['x.png', 'x.npy'])
def test_a_broken_label_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        Depth().read(tmp_path / name)


def test_a_label_of_another_task_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'x.png'), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r'semseg.*expected \(H, W\)'):
        Semseg().read(tmp_path / 'x.png')


def test_valid_is_a_mask_of_labels():
    assert Semseg().valid(torch.tensor([[[[0, 255]]]])).tolist() == [[[[True, False]]]]
    assert Depth().valid(torch.tensor([[[[0.0, 2.0]]]])).tolist() == [[[[False, True]]]]
    assert Edge().valid(torch.tensor([[[[1, 255]]]])).tolist() == [[[[True, False]]]]
    normals = torch.zeros(1, 3, 1, 5)
    normals[0, 2] = torch.tensor([0, 1, 0.49, 0.51, float('nan')])
    assert Normals().valid(normals).tolist() == [[[[False, True, False, True, False]]]]


def test_semseg_refuses_a_label_outside_its_classes():
    with pytest.raises(ValueError, match=r'class 7.*num_classes is 5'):
        Semseg(5).target(torch.tensor([[[[0, 7]]]]))


def test_unknown_channel_is_trained_around_and_never_predicted():
    task = Semseg(3, unknown_channel=True)
    assert task.channels == 4
    target, valid = task.target(torch.tensor([[[[0, 2, 255]]]]))
    assert target.tolist() == [[[[1, 3, 255]]]] and valid.tolist() == [[[[True, True, False]]]]
    logits = torch.tensor([9.0, 0.0, 1.0, 0.5]).view(1, 4, 1, 1)
    assert task.decode(logits).item() == 1


def test_decoded_outputs_are_in_range():
    output = torch.randn(2, 3, 5, 7) * 50
    assert torch.allclose(Normals().decode(output).norm(dim=1), torch.ones(2, 5, 7))
    depth = Depth(0.1, 5.0).decode(output[:, :1])
    assert depth.min() >= 0.1 and depth.max() <= 5.0
    edge = Edge().decode(output[:, :1])
    assert edge.min() >= 0 and edge.max() <= 1
    resized = Normals().resize_output(torch.nn.functional.normalize(output, dim=1), (20, 20))
    assert torch.allclose(resized.norm(dim=1), torch.ones(2, 20, 20), atol=1e-5)


def test_constant_predictions():
    semseg = Semseg(5)
    statistics = sum(
        semseg.label_statistics(torch.tensor([[label]])) for label in ([1, 1, 4], [4, 4, 255])
    )
    assert semseg.constant_prediction(statistics).item() == 4
    depth = Depth()
    statistics = sum(
        depth.label_statistics(torch.tensor([[label]])) for label in ([1.0, 0.0], [3.0, 5.0])
    )
    assert depth.constant_prediction(statistics).item() == 3
    normals = Normals()
    statistics = normals.label_statistics(
        torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).T.reshape(3, 1, 2)
    )
    assert torch.allclose(
        normals.constant_prediction(statistics).flatten(), torch.tensor([0.5, 0.5, 0]).sqrt()
    )


def test_unknown_task_is_named_with_a_suggestion():
    with pytest.raises(ValueError, match="'detph'.*Did you mean 'depth'"):
        build_tasks(['semseg', 'detph'])
    with pytest.raises(ValueError, match='at least one task'):
        build_tasks([])


def random_prediction(name):
    if name == 'edge':
        return RNG.uniform(size=(6, 9)).astype(np.float32)
    return (
        np.where(LABELS[name] == 0, 1, LABELS[name]).astype(LABELS[name].dtype)
        if name == 'depth'
        else LABELS[name]
    )


@pytest.mark.parametrize('name', LABELS)
@pytest.mark.parametrize('suffix', ['.npy', '.png'])
def test_a_written_prediction_is_read_back(name, suffix, tmp_path):
    task, prediction = build_tasks([name])[name], random_prediction(name)
    path = tmp_path / 'new folder' / f'frame{suffix}'
    task.write_prediction(prediction, path)
    rounding = (
        0
        if suffix == '.npy'
        else dict(semseg=0, depth=5.1e-4, normals=0.01, edge=0.5 / 255 + 1e-6)[name]
    )
    read = task.read_prediction(path)
    assert read.shape == prediction.shape
    if name == 'normals':
        read, prediction = (
            read[1:],
            prediction[1:],
        )  # row 0 has a missing vector, which 8 bits cannot hold
    np.testing.assert_allclose(read, prediction, atol=rounding + 1e-6 * (name == 'normals'))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_depth_of_a_mat_file_is_read(tmp_path):
    scipy.io.savemat(tmp_path / 'd.mat', {'depth': LABELS['depth']})
    np.testing.assert_array_equal(Depth().read_prediction(tmp_path / 'd.mat'), LABELS['depth'])
    scipy.io.savemat(tmp_path / 'two.mat', {'depth': LABELS['depth'], 'other': 1})
    with pytest.raises(ValueError, match=r'two.mat.*one variable.*depth.*other'):
        Depth().read_prediction(tmp_path / 'two.mat')
    (tmp_path / 'empty.mat').touch()
    with pytest.raises(ValueError, match='empty.mat'):
        Depth().read_prediction(tmp_path / 'empty.mat')
    (tmp_path / 'cut.mat').write_bytes((tmp_path / 'd.mat').read_bytes()[:200])
    with pytest.raises(ValueError, match='cut.mat'):
        Depth().read_prediction(tmp_path / 'cut.mat')


def test_predictions_out_of_range_are_refused(tmp_path):
    np.save(tmp_path / 'logits.npy', np.array([[-3.0, 2.0]]))
    with pytest.raises(ValueError, match='sigmoid'):
        Edge().read_prediction(tmp_path / 'logits.npy')
    np.save(tmp_path / 'ids.npy', np.array([[40]]))
    with pytest.raises(ValueError, match=r'0\.\.39'):
        Semseg(40).read_prediction(tmp_path / 'ids.npy')


def test_a_predicted_depth_is_finite(tmp_path):
    np.save(tmp_path / 'd.npy', np.array([[1.0, np.nan], [2.0, 3.0]]))
    with pytest.raises(ValueError, match=r'd\.npy.*NaN'):
        Depth().read_prediction(tmp_path / 'd.npy')


def test_a_float_map_is_no_png(tmp_path):
    with pytest.raises(ValueError, match='uint8'):
        write_array(np.zeros((2, 2)), tmp_path / 'x.png')
    assert not list(tmp_path.iterdir())


def test_error_is_in_the_tasks_unit_and_nan_without_a_label():
    depth = np.array([[1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(Depth().error(depth + 0.5, depth), [[0.5, np.nan]])
    np.testing.assert_array_equal(
        Semseg(3).error(np.array([[1, 1, 1]]), np.array([[1, 2, 255]])), [[0, 1, np.nan]]
    )
    up, left = np.array([0, 1, 0], np.float32), np.array([-1, 0, 0], np.float32)
    label = np.stack([up, up, up, np.zeros(3, np.float32)])[None]
    np.testing.assert_allclose(
        Normals().error(np.stack([up, 2 * left, 0 * up, up])[None], label),
        [[0, 90, 90, np.nan]],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        Edge().error(np.array([[0.2, 0.2, 0.2]]), np.array([[0, 1, 255]])),
        [[0.2, 0.8, np.nan]],
        atol=1e-6,
    )

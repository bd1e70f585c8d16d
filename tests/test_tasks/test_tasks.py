import cv2
import numpy as np
import pytest
import scipy.io
import torch
from label_fields import label_of

from m2h_mm.registry import METRICS, TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks import Depth, Edge, Normals, Semseg, Task, build_tasks
from m2h_mm.tasks.files import write_array
from m2h_mm.tasks.semseg import class_table

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
UNKNOWN = dict(semseg=None, depth=None, normals=0, edge=None)


def label(name):
    return label_of(LABELS[name], UNKNOWN[name])


def same(one, other):
    np.testing.assert_array_equal(one.value, other.value)
    np.testing.assert_array_equal(one.valid, other.valid)


@pytest.mark.parametrize('name', LABELS)
def test_flip_twice_is_identity(name):
    task = build_tasks([name])[name]
    flipped = task.flip(label(name))
    assert not np.array_equal(flipped.value, LABELS[name])
    same(task.flip(flipped), label(name))
    np.testing.assert_array_equal(flipped.valid, label(name).valid[:, ::-1])


def test_flip_negates_normal_x_only():
    flipped = Normals().flip(label('normals')).value
    np.testing.assert_array_equal(flipped[:, ::-1] * (-1, 1, 1), LABELS['normals'])


def test_zoom_divides_only_depth():
    zoomed = Depth().zoom(label('depth'), 2.0, (6, 9))
    np.testing.assert_allclose(zoomed.value, LABELS['depth'] / 2)
    same(label('depth').resize((6, 9)), label('depth'))
    for name in ('semseg', 'edge', 'normals'):
        same(build_tasks([name])[name].zoom(label(name), 2.0, (6, 9)), label(name))


def test_files_are_read_in_the_tasks_units(tmp_path):
    depth = np.array([[0, 1500], [2500, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / 'd.png'), depth)
    read = Depth().read(tmp_path / 'd.png')
    np.testing.assert_allclose(read.value, depth / 1000, rtol=1e-6)
    np.testing.assert_array_equal(read.valid, depth > 0)
    np.save(tmp_path / 'd.npy', np.array([[np.nan, 1.5], [-1, np.inf]]))
    same(Depth().read(tmp_path / 'd.npy'), label_of([[0, 1.5], [0, 0]], 0))

    normals = LABELS['normals']
    stored = np.rint((normals + 1) / 2 * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'n.png'), stored[..., ::-1])
    read = Normals().read(tmp_path / 'n.png')
    np.testing.assert_allclose(read.value, normals, atol=0.01)
    np.testing.assert_array_equal(read.valid, normals.any(axis=2))

    stored[0, 1] = 0  # black, the missing pixels of other releases
    cv2.imwrite(str(tmp_path / 'n.png'), stored[..., ::-1])
    assert not Normals().read(tmp_path / 'n.png').valid[0, :2].any()
    np.save(tmp_path / 'n.npy', [[[np.nan, 0, 1], [np.inf, 0, 1]], [[0, 0, 2], [0.1, 0, 0]]])
    expected = label_of([[[0, 0, 0]] * 2, [[0, 0, 1], [0, 0, 0]]], 0)
    same(Normals().read(tmp_path / 'n.npy'), expected)

    cv2.imwrite(str(tmp_path / 'e.png'), LABELS['edge'] * 255)
    np.save(tmp_path / 'e.npy', LABELS['edge'].astype(np.float32))
    for file in ('e.png', 'e.npy'):
        same(Edge().read(tmp_path / file), label('edge'))


def test_class_ids_are_checked_and_mapped_when_a_label_is_read(tmp_path):
    stored = np.array([[0, 1, 3], [2, 255, 3]], np.uint8)
    cv2.imwrite(str(tmp_path / 's.png'), stored)
    same(Semseg(4).read(tmp_path / 's.png'), label_of(stored, 255))
    with pytest.raises(ValueError, match=r's\.png holds the values \[3\]; expected 0\.\.2'):
        Semseg(3).read(tmp_path / 's.png')

    from_one = Semseg(3).with_format(first=1)
    same(from_one.read(tmp_path / 's.png'), label_of([[-1, 0, 2], [1, -1, 2]], -1))
    with pytest.raises(ValueError, match=r'values \[3\]; expected 1\.\.2.*0 and 255 for void'):
        Semseg(2).with_format(first=1).read(tmp_path / 's.png')

    # Class 0 of the file is called b there, class 2 is called a; class 1 has no counterpart.
    table = class_table({'x': 'b', 2: 'a'}, ['x', 'y', 'z'], ['a', 'b'])
    mapped = Semseg(3).with_format(first=1).with_class_table(table)
    same(mapped.read(tmp_path / 's.png'), label_of([[-1, 1, 0], [-1, -1, 0]], -1))
    assert mapped.class_names(dict(classes=('a', 'b'))) == ['a', 'b']
    assert Semseg(3).class_names(dict(classes=('a', 'b'))) == ['0', '1', '2']


@pytest.mark.parametrize('content', [b'', b'\x89PNG\r\n\x1a\nbroken'])
@pytest.mark.parametrize('name', ['x.png', 'x.npy'])
def test_a_broken_label_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        Depth().read(tmp_path / name)


def test_a_label_of_another_task_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'x.png'), np.eye(3, dtype=np.uint8)[None])
    with pytest.raises(ValueError, match='semseg.*colours'):
        Semseg().read(tmp_path / 'x.png')


def test_unknown_channel_is_trained_around_and_never_predicted():
    task = Semseg(3, unknown_channel=True)
    assert task.channels == 4
    target = task.target(label_of(torch.tensor([[[[0, 2, 255]]]]), 255))
    assert target.value[target.valid].tolist() == [1, 3]
    assert target.valid.tolist() == [[[[True, True, False]]]]
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


def constant(task, labels, unknown):
    """The constant prediction of some labels."""
    tensors = [torch.tensor([label]) for label in labels]
    statistics = sum(task.label_statistics(label_of(tensor, unknown)) for tensor in tensors)
    return task.constant_prediction(statistics)


def test_constant_predictions():
    assert constant(Semseg(5), ([[1, 1, 4]], [[4, 4, 255]]), 255).item() == 4
    assert constant(Depth(), ([[1.0, 0.0]], [[3.0, 5.0]]), 0).item() == 3
    normals = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).T.reshape(3, 1, 2)
    predicted = Normals().constant_prediction(Normals().label_statistics(label_of(normals, 0)))
    assert torch.allclose(predicted.flatten(), torch.tensor([0.5, 0.5, 0]).sqrt())


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
    error = Depth().error(depth + 0.5, label_of(depth, 0))
    np.testing.assert_array_equal(error, [[0.5, np.nan]])
    assert error.dtype == np.float32
    np.testing.assert_array_equal(
        Semseg(3).error(np.array([[1, 1, 1]]), label_of([[1, 2, 255]], 255)), [[0, 1, np.nan]]
    )
    up, left = np.array([0, 1, 0], np.float32), np.array([-1, 0, 0], np.float32)
    label = np.stack([up, up, up, np.zeros(3, np.float32)])[None]
    np.testing.assert_allclose(
        Normals().error(np.stack([up, 2 * left, 0 * up, up])[None], label_of(label, 0)),
        [[0, 90, 90, np.nan]],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        Edge().error(np.array([[0.2, 0.2, 0.2]]), label_of([[0, 1, 255]], 255)),
        [[0.2, 0.8, np.nan]],
        atol=1e-6,
    )


class Colour(Task):
    """A task of three channels that says no more than it must."""

    channels = label_channels = 3

    def read(self, path):
        return label_of(np.load(path))


def test_three_channels_have_one_error_their_mean():
    prediction = np.array([[[0.5, 0.5, 0.2], [1, 1, 1], [1, 1, 1]]], np.float32)
    label = Label(np.zeros((1, 3, 3), np.float32), np.array([[True, True, False]]))
    error = Colour().error(prediction, label)  # black is a label like any other
    assert error.shape == (1, 3) and error.dtype == np.float32
    np.testing.assert_allclose(error, [[0.4, 1, np.nan]], rtol=1e-6)


def test_names_follow_from_the_key_in_the_config():
    tasks = build_tasks(dict(depth=None, far=dict(type='depth', max_depth=80.0), semseg=None))
    assert [task.kind for task in tasks.values()] == ['depth', 'depth', 'semseg']
    far = tasks['far']
    assert (far.name, far.gt_field, far.pred_field, far.folder) == (
        'far',
        'gt_far',
        'pred_far',
        'far',
    )
    assert (tasks['semseg'].folder, Semseg().name) == ('segmentation', 'semseg')


def test_a_derived_task_has_its_own_kind_and_finds_the_parts_of_its_parent(monkeypatch):
    class Coarse(Depth):
        pass

    monkeypatch.setitem(TASKS.module_dict, 'coarse', Coarse)
    assert build_tasks(['coarse'])['coarse'].kind == 'coarse'
    assert Coarse().find_in(METRICS, None) is METRICS.get('depth')
    assert Colour().find_in(METRICS, 'none') == 'none'


@pytest.mark.parametrize('name', ['../depth', 'a/b', '/depth', '..', '', 'depth\n'])
def test_a_name_of_a_task_leads_to_no_other_folder(name):
    with pytest.raises(ValueError, match='cannot be the name of a task'):
        build_tasks({name: dict(type='depth')})

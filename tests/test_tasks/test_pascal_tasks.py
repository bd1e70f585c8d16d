"""Saliency and human parts."""

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from label_fields import label_field, label_of

from m2h_mm.models.labels import stack_labels
from m2h_mm.models.losses import BalancedBCELoss, BalancedCrossEntropyLoss, CrossEntropyLoss
from m2h_mm.registry import TASKS
from m2h_mm.structures import Label, MultiTaskDataSample
from m2h_mm.tasks import HumanParts, Saliency, Semseg, build_tasks

RNG = np.random.default_rng(0)
SALIENT = RNG.integers(0, 2, (6, 9)).astype(np.uint8)
PARTS = RNG.integers(0, 7, (6, 9)).astype(np.uint8)


def target(task, batch):
    """What a loss compares with, and where."""
    made = task.target(label_of(batch, 255))
    return made.value, made.valid


def logits_of(target, channels):
    """Outputs that are right, each by its own margin."""
    return torch.nn.functional.one_hot(target[:, 0], channels).permute(0, 3, 1, 2) * (
        5 + torch.rand(target.shape)
    )


@pytest.mark.parametrize(
    ('name', 'cls', 'label'), [('saliency', Saliency, SALIENT), ('human_parts', HumanParts, PARTS)]
)
def test_contract(name, cls, label):
    assert TASKS.get(name) is cls
    task = build_tasks([name])[name]
    assert (task.name, task.folder, task.label_channels) == (name, name, 1)
    assert task.higher_is_better and task.gt_field != task.pred_field
    np.testing.assert_array_equal(task.flip(label_of(label)).value[:, ::-1], label)
    np.testing.assert_array_equal(task.zoom(label_of(label), 2.0, label.shape).value, label)


def test_fields_differ_from_those_of_semseg():
    tasks = build_tasks(dict(semseg=dict(num_classes=21), human_parts={}, saliency={}, edge={}))
    assert (
        len(
            {task.gt_field for task in tasks.values()}
            | {task.pred_field for task in tasks.values()}
        )
        == 8
    )
    assert [task.channels for task in tasks.values()] == [21, 7, 2, 1]


# ---- saliency
def test_saliency_labels_are_thresholded(tmp_path):
    grey = np.array([[0, 126, 127], [128, 129, 255]], np.uint8)
    cv2.imwrite(str(tmp_path / 'l.png'), grey)
    read = Saliency().read(tmp_path / 'l.png')
    np.testing.assert_array_equal(read.value, [[0, 0, 0], [1, 1, 1]])
    assert read.value.dtype == np.uint8 and read.valid.all()
    cv2.imwrite(str(tmp_path / 'deep.png'), grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(Saliency().read(tmp_path / 'deep.png').value, read.value)


@pytest.mark.parametrize('dtype', [bool, np.uint8, np.int64, np.float32])
def test_saliency_labels_of_zeros_and_ones(tmp_path, dtype):
    np.save(tmp_path / 'l.npy', SALIENT.astype(dtype))
    np.testing.assert_array_equal(Saliency().read(tmp_path / 'l.npy').value, SALIENT)


@pytest.mark.parametrize('value', [255, -1, np.nan])
def test_saliency_labels_out_of_range_are_refused(tmp_path, value):
    np.save(tmp_path / 'l.npy', np.array([[0.0, value]]))
    with pytest.raises(ValueError, match=r"l\.npy of task 'saliency'.*(saliency\.yes|void)"):
        Saliency().read(tmp_path / 'l.npy')


def test_saliency_of_another_task_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'x.png'), np.eye(3, dtype=np.uint8)[None])
    for read in (Saliency().read, Saliency().read_prediction):
        with pytest.raises(ValueError, match='saliency.*colours'):
            read(tmp_path / 'x.png')


@pytest.mark.parametrize(('suffix', 'tolerance'), [('.npy', 0), ('.png', 0.5 / 255 + 1e-7)])
def test_written_saliency_is_read_back(tmp_path, suffix, tolerance):
    prediction = RNG.uniform(size=(6, 9)).astype(np.float32)
    Saliency().write_prediction(prediction, tmp_path / f'frame{suffix}')
    read = Saliency().read_prediction(tmp_path / f'frame{suffix}')
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, prediction, atol=tolerance, rtol=0)


def test_saliency_predictions_of_other_programs(tmp_path):
    scipy.io.savemat(tmp_path / 'p.mat', {'sal': np.array([[0.25, 1.0]])})
    np.testing.assert_array_equal(Saliency().read_prediction(tmp_path / 'p.mat'), [[0.25, 1]])
    np.save(tmp_path / 'logits.npy', np.array([[-3.0, 2.0]]))
    with pytest.raises(ValueError, match='sigmoid'):
        Saliency().read_prediction(tmp_path / 'logits.npy')


def test_saliency_is_the_softmax_of_the_second_channel():
    output = torch.randn(2, 2, 5, 7) * 8
    torch.testing.assert_close(Saliency().decode(output), output.softmax(dim=1)[:, 1:])
    torch.testing.assert_close(
        Saliency().decode(output.half()), output.half().float().softmax(dim=1)[:, 1:]
    )
    one = output[:, :1]
    torch.testing.assert_close(Saliency(channels=1).decode(one), one.sigmoid())
    assert Saliency().decode(output).shape == Saliency(channels=1).decode(one).shape == (2, 1, 5, 7)


@pytest.mark.parametrize(
    ('channels', 'loss'),
    [(1, BalancedBCELoss()), (2, BalancedCrossEntropyLoss()), (2, CrossEntropyLoss())],
)
def test_a_loss_and_the_prediction_mean_the_same_pixels(channels, loss):
    task = Saliency(channels)
    label = torch.from_numpy(SALIENT)[None, None].clone()
    label[0, 0, 0] = 255
    wanted, valid = target(task, label)
    output = torch.zeros(1, channels, 6, 9, requires_grad=True)
    loss(output, wanted, valid).backward()
    improved = task.decode(output.detach() - 100 * output.grad)
    assert torch.equal((improved > 0.5)[valid], label[valid] == 1)
    assert torch.equal(improved[~valid], torch.full((9,), 0.5))


@pytest.mark.parametrize('channels', [0, 3, '2'])
def test_number_of_saliency_channels_is_checked(channels):
    with pytest.raises(ValueError, match=r'tasks\.saliency\.channels: expected 2'):
        build_tasks(dict(saliency=dict(channels=channels)))


def test_saliency_error_and_constant_prediction():
    task = Saliency()
    np.testing.assert_allclose(
        task.error(np.array([[0.2, 0.2, 0.2]]), label_of([[0, 1, 255]], 255)),
        [[0.2, 0.8, np.nan]],
        atol=1e-6,
    )
    statistics = sum(
        task.label_statistics(label_of(torch.tensor([[label]]), 255))
        for label in ([1, 255, 0], [0, 0, 255])
    )
    assert task.constant_prediction(statistics).item() == 0.25


# ---- human parts
SOMEBODY = torch.tensor([[[0, 3], [255, 0]]])
NOBODY = {
    'void': torch.full((1, 2, 2), 255),
    'background': torch.zeros(1, 2, 2, dtype=torch.long),
    'both': torch.tensor([[[0, 255], [0, 0]]]),
}
nobody = pytest.mark.parametrize('label', NOBODY.values(), ids=NOBODY)


@nobody
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64, torch.float32])
def test_a_frame_without_people_does_not_count(label, dtype):
    batch = label_of(torch.stack([label, SOMEBODY, label]).to(dtype), 255)
    expected = torch.zeros(3, 1, 2, 2, dtype=torch.bool)
    expected[1, 0] = torch.tensor([[True, True], [False, True]])
    assert torch.equal(HumanParts().truth(batch).valid, expected)
    assert torch.equal(HumanParts().target(batch).valid, expected)
    for frame, counted in zip(batch.value, expected, strict=True):
        tensors = HumanParts().truth(Label(frame, batch.valid[1]))
        arrays = HumanParts().truth(Label(frame[0].numpy(), batch.valid[1, 0].numpy()))
        assert torch.equal(tensors.valid, counted)
        np.testing.assert_array_equal(arrays.valid, counted[0])


@nobody
def test_a_frame_without_people_has_no_loss_and_no_gradient(label):
    task, loss = HumanParts(), CrossEntropyLoss()
    output = torch.randn(2, 7, 2, 2, requires_grad=True)
    with_nobody = loss(output, *target(task, torch.stack([SOMEBODY, label])))
    with_nobody.backward()
    torch.testing.assert_close(with_nobody, loss(output[:1], *target(task, SOMEBODY[None])))
    assert output.grad[0].any() and not output.grad[1].any()
    alone = loss(output[1:], *target(task, label[None]))
    assert alone == 0 and alone.requires_grad


def test_a_batch_of_frames_with_without_and_unlabelled():
    samples = [MultiTaskDataSample() for _ in range(3)]
    for sample, label in zip(samples, (SOMEBODY, NOBODY['background']), strict=False):
        sample.set_field(label_field(label, 255), 'gt_human_parts')
    labels = stack_labels(HumanParts(), samples, (2, 2), torch.device('cpu'))
    assert HumanParts().target(labels).valid.flatten(1).sum(dim=1).tolist() == [3, 0, 0]


def test_an_empty_label_does_not_count():
    nothing = label_of(torch.zeros(1, 1, 0, 0))
    assert HumanParts().truth(nothing).valid.shape == (1, 1, 0, 0)


def test_human_parts_is_a_segmentation(tmp_path):
    task, semseg = HumanParts(), Semseg(7)
    output = torch.randn(2, 7, 4, 5)
    assert torch.equal(task.decode(output), semseg.decode(output))
    ids, valid = target(task, SOMEBODY[None])
    assert ids.dtype == torch.int64 and torch.equal(ids, target(semseg, SOMEBODY[None])[0])
    assert torch.equal(task.decode(logits_of(ids, 7))[valid], ids[valid])
    for suffix in ('.png', '.npy'):
        task.write_prediction(PARTS, tmp_path / f'p{suffix}')
        np.testing.assert_array_equal(task.read_prediction(tmp_path / f'p{suffix}'), PARTS)
        np.testing.assert_array_equal(task.read(tmp_path / f'p{suffix}').value, PARTS)


def test_a_prediction_without_people_is_a_prediction(tmp_path):
    HumanParts().write_prediction(np.zeros((2, 3), np.int64), tmp_path / 'p.png')
    np.testing.assert_array_equal(
        HumanParts().read_prediction(tmp_path / 'p.png'), np.zeros((2, 3))
    )


def test_human_parts_error_is_nan_where_nothing_counts():
    prediction = np.array([[0, 2], [1, 1]])
    np.testing.assert_array_equal(
        HumanParts().error(prediction, label_of(SOMEBODY[0].numpy(), 255)), [[0, 1], [np.nan, 1]]
    )
    nobody = label_of(NOBODY['background'][0].numpy(), 255)
    assert np.isnan(HumanParts().error(prediction, nobody)).all()


def test_wrong_parts_are_named(tmp_path):
    np.save(tmp_path / 'label.npy', np.array([[0, 7]]))
    with pytest.raises(ValueError, match=r'label\.npy holds the values \[7\]; expected 0\.\.6'):
        HumanParts().read(tmp_path / 'label.npy')
    with pytest.raises(ValueError, match='num_classes'):
        build_tasks(dict(human_parts=dict(num_classes=1)))
    np.save(tmp_path / 'ids.npy', np.array([[7]]))
    with pytest.raises(ValueError, match=r"'human_parts'.*0\.\.6"):
        HumanParts().read_prediction(tmp_path / 'ids.npy')
    cv2.imwrite(str(tmp_path / 'x.png'), np.eye(3, dtype=np.uint8)[None])
    with pytest.raises(ValueError, match="'human_parts'.*colours"):
        HumanParts().read(tmp_path / 'x.png')


def test_constant_human_part_is_that_of_the_frames_that_count():
    task = HumanParts()
    labels = [torch.tensor([[[2, 2, 0]]]), torch.zeros(1, 1, 30, dtype=torch.long)]
    statistics = sum(task.label_statistics(label_of(label)) for label in labels)
    assert task.constant_prediction(statistics).item() == 2


def test_every_part_has_a_name():
    task = HumanParts()
    assert task.classes == (
        'background',
        'head',
        'torso',
        'upper arms',
        'lower arms',
        'upper legs',
        'lower legs',
    )
    assert HumanParts(5).classes == ()

"""What the model computes in each of its modes."""

import pytest
import torch
from label_fields import label_field
from torch import nn

from m2h_mm.models import multitask_model
from m2h_mm.models.data_preprocessor import MultiTaskDataPreprocessor
from m2h_mm.models.pipeline import centre_padding, crop_padding
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

from .toy_parts import batch, config, sample


def test_preprocessor_centres_and_normalises():
    preprocess = MultiTaskDataPreprocessor(mean=(10, 20, 30), std=(2, 2, 2))
    data = batch((13, 30), (14, 27))
    original = [image.clone() for image in data['inputs']]
    out = preprocess(data)
    assert out['inputs'].shape == (2, 3, 14, 42)
    for image, padded, label in zip(original, out['inputs'], out['data_samples'], strict=True):
        expected = (image.float() - torch.tensor([10.0, 20, 30]).view(3, 1, 1)) / 2
        torch.testing.assert_close(crop_padding(padded, label.framing.padding), expected)
        assert padded.abs().sum() == pytest.approx(float(expected.abs().sum()), rel=1e-5)
    assert centre_padding((60, 75), (70, 84)) == (4, 5, 5, 5)


def test_modes_give_what_they_promise():
    model = MODELS.build(config())
    data = model.data_preprocessor(batch((21, 35), (28, 30)))
    outputs = model(**data, mode='tensor')
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {
        'semseg': (2, 5, 4, 6),
        'depth': (2, 1, 4, 6),
        'normals': (2, 3, 4, 6),
        'edge': (2, 1, 4, 6),
    }
    losses = model(**data, mode='loss')
    assert {key for key in losses if 'loss' in key} == {
        'loss_semseg',
        'loss_depth',
        'loss_normals',
        'loss_edge',
    }
    assert all(
        losses[f'w_{name}'] == 1 and losses[f'raw_{name}'] == losses[f'loss_{name}']
        for name in outputs
    )
    predicted = model(**data, mode='predict')
    assert [tuple(p.pred_semseg.data.shape) for p in predicted] == [(1, 21, 35), (1, 28, 30)]
    assert predicted[0].pred_normals.data.norm(dim=0).sub(1).abs().max() < 1e-5
    with pytest.raises(ValueError, match='mode'):
        model(**data, mode='train')


def test_predictions_stay_aligned_with_the_image():
    """Padding is cropped, not squeezed: what stands at a pixel is predicted at that pixel, for any
    image size.
    """
    model = MODELS.build(config())
    model.backbone.forward = lambda image: Features(maps=(image,))
    head = model.heads['depth'].conv
    nn.init.constant_(head.weight, 0)
    nn.init.constant_(head.bias, 1)
    head.weight.data[0, 0] = 1.0
    image = torch.zeros(3, 25, 45)
    image[0, 3, 40] = 255
    data = dict(inputs=[image], data_samples=[sample(25, 45)])
    model.data_preprocessor = MultiTaskDataPreprocessor(mean=(0, 0, 0), std=(255, 255, 255))
    with torch.no_grad():
        predicted = model.test_step(data)[0].pred_depth.data[0]
    assert predicted.shape == (25, 45) and predicted.argmax() == 3 * 45 + 40


def test_padding_does_not_change_the_loss():
    """A label belongs to its image wherever that lies in the batch."""
    model = MODELS.build(config())
    image, label = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8), sample(28, 28)
    model.backbone.forward = lambda x: Features(maps=(x,))
    alone = model(
        **model.data_preprocessor(dict(inputs=[image], data_samples=[label])), mode='loss'
    )
    model.pipeline.size_divisor = 56
    padded = model(
        **model.data_preprocessor(dict(inputs=[image], data_samples=[label])), mode='loss'
    )
    for name in ('semseg', 'depth', 'normals', 'edge'):
        torch.testing.assert_close(alone[f'loss_{name}'], padded[f'loss_{name}'])


def test_the_preprocessor_pads_to_what_a_sample_asks_for():
    preprocess = MultiTaskDataPreprocessor()
    data = batch((21, 35), (28, 30))
    data['data_samples'][0].set_metainfo(dict(pad_to=(42, 40)))
    out = preprocess(data)
    assert out['inputs'].shape == (2, 3, 42, 42)
    assert [sample.framing.padding for sample in out['data_samples']] == [
        (3, 4, 10, 11),
        (6, 6, 7, 7),
    ]


def test_pixels_that_are_not_valid_do_not_matter():
    """Whatever stands in a label there, the losses and their gradients are the same."""
    model = MODELS.build(config())
    data = model.data_preprocessor(batch((28, 28)))
    (label,) = data['data_samples']
    found = []
    for filler in (0, 1, 3):
        for field in ('gt_semseg', 'gt_depth', 'gt_normals', 'gt_edge'):
            made = label.get(field)
            made.valid[:, 5:9] = False
            made.data[:, 5:9] = filler
        losses = model(**data, mode='loss')
        total = sum(value for key, value in losses.items() if 'loss' in key)
        found.append([total, *torch.autograd.grad(total, list(model.heads.parameters()))])
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            assert torch.equal(one, same)


def test_missing_labels_give_zero_loss_and_zero_finite_gradients():
    model = MODELS.build(config())
    data = model.data_preprocessor(batch((28, 28), without=('gt_normals', 'gt_semseg')))
    losses = model(**data, mode='loss')
    assert losses['loss_normals'] == 0 and losses['loss_semseg'] == 0 and losses['loss_depth'] > 0
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert model.heads['normals'].conv.weight.grad.abs().sum() == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize('uses_camera', [True, False])
def test_frames_without_a_camera_count_only_where_none_is_needed(uses_camera):
    name = 'DepthNormalConsistency' if uses_camera else 'EdgeSemanticConsistency'
    model = MODELS.build(config(consistency=[dict(type=name)])).eval()
    data = model.data_preprocessor(batch((28, 28), (28, 28)))
    key, images, samples = f'loss_{name}', data['inputs'], data['data_samples']
    first, second = (model.loss(images[i : i + 1], samples[i : i + 1])[key] for i in range(2))
    assert first != second
    samples[1].set_metainfo(dict(cam2img=None))
    both = model.loss(images, samples)[key]
    torch.testing.assert_close(both, first if uses_camera else (first + second) / 2)
    alone = model.loss(images[1:], samples[1:])
    sum(value for key, value in alone.items() if 'loss' in key).backward()
    assert (alone[key] == 0) == uses_camera
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_auxiliary_predictions_are_supervised():
    data = batch((28, 28))
    torch.manual_seed(0)
    plain = MODELS.build(config())
    torch.manual_seed(0)
    model = MODELS.build(config(decoder=dict(type='SameForAll', aux=True), aux_weight=0.5))
    data = plain.data_preprocessor(data)
    once, both = plain(**data, mode='loss'), model(**data, mode='loss')
    output = plain.backbone(data['inputs']).maps[0][:, :1]
    target = data['data_samples'][0].gt_depth.data[None]
    aux = (model.tasks['depth'].resize_output(output, (28, 28)) - target).abs().mean()
    torch.testing.assert_close(both['loss_depth'], once['loss_depth'] + 0.5 * aux)
    torch.testing.assert_close(both['loss_edge'], once['loss_edge'])


def test_only_the_tasks_asked_for_are_computed():
    model = MODELS.build(config())
    data = model.data_preprocessor(batch((28, 28)))
    assert list(model(data['inputs'], tasks=['depth'])) == ['depth']
    assert [head.calls for head in model.heads.values()] == [0, 1, 0, 0]
    with pytest.raises(ValueError, match=r"unknown task\(s\) \['parts'\]"):
        model(data['inputs'], tasks=['parts'])


def test_a_label_of_another_size_is_refused():
    model = MODELS.build(config())
    data = batch((28, 28))
    data['data_samples'][0].set_field(label_field(torch.ones(1, 14, 14)), 'gt_depth')
    with pytest.raises(ValueError, match=r'a.png: the label gt_depth is \(1, 14, 14\)'):
        model(**model.data_preprocessor(data), mode='loss')


def test_labels_and_cameras_are_taken_before_the_network_runs(monkeypatch):
    """A GPU would otherwise have to finish the forward pass before the losses can be queued behind
    it.
    """
    model = MODELS.build(config(consistency=[dict(type='DepthNormalConsistency')]))
    done = []

    def note(owner, name, what):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: (done.append(what), original(*args))[1])

    note(model, 'run_network', 'network')
    note(multitask_model, 'stack_cameras', 'cameras')
    for task in model.tasks.values():
        note(task, 'target', 'labels')
    model(**model.data_preprocessor(batch((28, 28))), mode='loss')
    assert sorted(done[:-1]) == ['cameras'] + 4 * ['labels'] and done[-1] == 'network'


def test_a_frame_in_a_test_batch_of_several_sizes_is_predicted_as_if_alone():
    """Two of one padded size make a batch, though one of them is smaller."""
    torch.manual_seed(0)
    model = MODELS.build(config()).eval()
    pool = model.backbone.forward
    # As attention does, each place sees all of the input, its padding too.
    model.backbone.forward = lambda image: Features(
        maps=(pool(image).maps[0] + image.mean(dim=(2, 3), keepdim=True),)
    )
    frames = batch((28, 28), (56, 28), (27, 25), (56, 42))
    frames['data_samples'][3].set_metainfo(dict(pad_to=(56, 70)))
    parts = model.data_preprocessor.split(frames)
    assert [indices for indices, _ in parts] == [[0, 2], [1], [3]]
    with torch.no_grad():
        together = model.test_step(frames)
        for index, sample in enumerate(together):
            alone = dict(
                inputs=frames['inputs'][index : index + 1],
                data_samples=frames['data_samples'][index : index + 1],
            )
            (expected,) = model.val_step(alone)
            for task in model.tasks.values():
                found, wanted = (each.get(task.pred_field).data for each in (sample, expected))
                torch.testing.assert_close(found, wanted)

import numpy as np
import pytest
import torch
from label_fields import label_field
from torch import nn

from m2h_mm.models import multitask_model
from m2h_mm.models.data_preprocessor import MultiTaskDataPreprocessor
from m2h_mm.models.pipeline import centre_padding, crop_padding
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, MultiTaskDataSample, TaskFeatures

STRIDE = 7


@MODELS.register_module(force=True)
class BlockMeans(nn.Module):
    """A backbone whose only map is the image at a lower resolution."""

    out_channels = (3,)
    strides = (STRIDE,)

    def forward(self, image):
        return Features(maps=(nn.functional.avg_pool2d(image, STRIDE),))


@MODELS.register_module(force=True)
class SameForAll(nn.Module):
    """A decoder that hands each task the first map."""

    def __init__(self, in_channels, tasks, aux=False):
        super().__init__()
        self.tasks = tasks
        self.aux = aux
        self.out_channels = dict.fromkeys(tasks, in_channels[0])

    def forward(self, features, tasks=None):
        maps = dict.fromkeys(tasks or self.tasks, features.maps[0])
        return TaskFeatures(maps, [{'depth': features.maps[0][:, :1]}] if self.aux else [])


@MODELS.register_module(force=True)
class Linear1x1(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        self.calls = 0

    def forward(self, map):
        self.calls += 1
        return self.conv(map)


def config(**changes):
    return dict(
        dict(
            type='MultiTaskModel',
            tasks=dict(semseg=dict(num_classes=5), depth=dict(), normals=dict(), edge=dict()),
            backbone=dict(type='BlockMeans'),
            decoder=dict(type='SameForAll'),
            heads=dict.fromkeys(('semseg', 'depth', 'normals', 'edge'), dict(type='Linear1x1')),
            losses=dict(
                semseg=dict(type='CrossEntropyLoss'),
                depth=dict(type='L1Loss'),
                normals=dict(type='CosineLoss'),
                edge=dict(type='BalancedBCELoss', pos_weight=0.95),
            ),
        ),
        **changes,
    )


def sample(height, width, without=(), seed=0):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(3, height, width))
    labels = {
        'gt_semseg': torch.from_numpy(rng.integers(0, 5, (1, height, width))),
        'gt_depth': torch.from_numpy(rng.uniform(1, 5, (1, height, width))).float(),
        'gt_normals': torch.from_numpy(normals / np.linalg.norm(normals, axis=0)).float(),
        'gt_edge': torch.from_numpy(rng.integers(0, 2, (1, height, width)).astype(np.uint8)),
    }
    camera = np.array([[50.0, 0, width / 2], [0, 50, height / 2], [0, 0, 1]])
    result = MultiTaskDataSample(
        metainfo=dict(
            ori_shape=(height, width), img_shape=(height, width), img_path='a.png', cam2img=camera
        )
    )
    for field, data in labels.items():
        if field not in without:
            result.set_field(label_field(data), field)
    return result


def batch(*sizes, without=()):
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    return dict(
        inputs=images,
        data_samples=[
            sample(*size, without=without, seed=index) for index, size in enumerate(sizes)
        ],
    )


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


@MODELS.register_module(force=True)
class KnowsTasks(nn.Module):
    """A backbone that is given the tasks, finds a map for each and supervises a prediction."""

    out_channels, strides = (3,), (STRIDE,)

    def __init__(self, tasks, task_channels):
        super().__init__()
        self.convs = nn.ModuleDict(
            {task: nn.Conv2d(3, channels, 1) for task, channels in task_channels.items()}
        )
        self.task_map_channels = {task: task_channels[task] for task in tasks}

    def forward(self, image):
        map = nn.functional.avg_pool2d(image, STRIDE)
        maps = {task: conv(map) for task, conv in self.convs.items()}
        return Features((map,), task_maps=maps, aux=[dict(depth=maps['depth'])])


@MODELS.register_module(force=True)
class Halving(nn.Module):
    """A neck that looks at the maps alone."""

    def __init__(self, in_channels, in_strides):
        super().__init__()
        self.out_channels, self.strides = in_channels, [2 * stride for stride in in_strides]

    def forward(self, features):
        return Features(tuple(nn.functional.avg_pool2d(map, 2) for map in features.maps))


def tasks_in_the_backbone(**changes):
    return config(backbone=dict(type='KnowsTasks'), decoder=dict(type='TaskMapsDecoder'), **changes)


@pytest.mark.parametrize('neck', [None, dict(type='Halving')])
def test_a_backbone_may_know_the_tasks_and_supervise_predictions(neck):
    model = MODELS.build(tasks_in_the_backbone(neck=neck, aux_weight=0.5))
    data = model.data_preprocessor(batch((28, 28)))
    assert {name: output.shape[1] for name, output in model(**data).items()} == {
        name: task.channels for name, task in model.tasks.items()
    }
    found = model.backbone(data['inputs'])
    losses = model(**data, mode='loss')
    depth = model.tasks['depth']
    label = data['data_samples'][0].get(depth.gt_field).data[None]
    expected = sum(
        weight * (depth.resize_output(output, (28, 28)) - label).abs().mean()
        for weight, output in (
            (1, model.heads['depth'](found.task_maps['depth'])),
            (0.5, found.aux[0]['depth']),
        )
    )
    torch.testing.assert_close(losses['loss_depth'], expected)
    features = model.extract_features(data['inputs'])
    assert (features.source is None) == (neck is None)


def test_predictions_of_a_frozen_backbone_are_not_supervised():
    torch.manual_seed(0)
    free = MODELS.build(tasks_in_the_backbone(aux_weight=0.0))
    torch.manual_seed(0)
    frozen = MODELS.build(tasks_in_the_backbone(freeze_backbone=True))
    data = free.data_preprocessor(batch((28, 28)))
    key = 'loss_depth'
    torch.testing.assert_close(frozen(**data, mode='loss')[key], free(**data, mode='loss')[key])


def test_a_loss_between_tasks_sees_labels_features_and_cameras():
    seen = []

    @MODELS.register_module(force=True)
    class Watches(nn.Module):
        tasks, needs_camera, name = ('depth',), False, 'watched'

        def forward(self, context):
            seen.append(context)
            return context.outputs['depth'].mean() * 0 + 2

    model = MODELS.build(
        config(neck=dict(type='Halving'), consistency=[dict(type='Watches'), dict(type='Watches')])
    )
    data = model.data_preprocessor(batch((28, 28), (28, 21), without=('gt_normals',)))
    losses = model(**data, mode='loss')
    assert losses['loss_watched'] == losses['loss_watched_2'] == 2
    context = seen[0]
    assert context.outputs['depth'].shape == (2, 1, 28, 28)
    assert list(context.labels) == list(model.tasks)
    assert context.features.maps[0].shape == (2, 3, 2, 2)
    assert context.features.source.maps[0].shape == (2, 3, 4, 4)
    assert context.inside[0].all() and context.inside[1].float().mean() == 0.75
    assert context.camera_known.all() and context.intrinsics.shape == (2, 3, 3)
    # Nothing is kept where no loss will look at it.
    assert model.eval().run_network(data['inputs']).features is None


def test_only_the_tasks_asked_for_are_computed():
    model = MODELS.build(config())
    data = model.data_preprocessor(batch((28, 28)))
    assert list(model(data['inputs'], tasks=['depth'])) == ['depth']
    assert [head.calls for head in model.heads.values()] == [0, 1, 0, 0]
    with pytest.raises(ValueError, match=r"unknown task\(s\) \['parts'\]"):
        model(data['inputs'], tasks=['parts'])


def test_mmseg_backbones_are_described_by_running_them():
    model = MODELS.build(
        config(
            backbone=dict(
                type='mmseg.ResNetV1c',
                depth=18,
                num_stages=4,
                out_indices=(0, 1, 2, 3),
                base_channels=8,
                norm_cfg=dict(type='BN'),
            ),
            data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=32),
        )
    )
    assert model.decoder.out_channels['depth'] == 8
    data = model.data_preprocessor(batch((40, 64)))
    assert data['inputs'].shape[-2:] == (64, 64)
    assert set(model(**data)) == {'semseg', 'depth', 'normals', 'edge'}


@MODELS.register_module(force=True)
class MadeForVGG(nn.Module):
    in_strides, out_channels, strides = (8,), (3,), (8,)


@MODELS.register_module(force=True)
class MadeForHalf(SameForAll):
    in_strides = (STRIDE,)


@MODELS.register_module(force=True)
class Nameless(nn.Module):
    out_channels = (3,)


@MODELS.register_module(force=True)
class OneTaskOnly(nn.Module):
    out_channels = dict(depth=3)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(heads=dict(semseg=dict(type='Linear1x1'))),
            r"model.heads: nothing for task\(s\) \['depth', 'normals', 'edge'\]",
        ),
        (
            dict(losses=dict(config()['losses'], albedo=dict(type='L1Loss'))),
            r"model.losses: unknown task\(s\) \['albedo'\]",
        ),
        (
            dict(heads=dict(config()['heads'], depth=dict(type='Linear1x1', in_channels=7))),
            r'model.heads.depth.in_channels is 7, but model.decoder \(SameForAll\) yields 3',
        ),
        (
            dict(decoder=dict(type='SameForAll', in_channels=[64])),
            r'model.decoder.in_channels is \(64,\), but model.backbone \(BlockMeans\) yields '
            r'\(3,\)',
        ),
        (
            dict(decoder=dict(type='SameForNone')),
            "model.decoder.type: 'SameForNone' is not registered",
        ),
        (
            dict(decoder=dict(type='SameForAll', window_size=7)),
            r'model.decoder: SameForAll has no '
            r'.*window_size.*_delete_',
        ),
        (
            dict(neck=dict(type='MadeForVGG')),
            r'model.neck \(MadeForVGG\) is made for in_strides=\(8,\), but model.backbone '
            r'\(BlockMeans\) yields \(7,\)',
        ),
        (
            dict(decoder=dict(type='MadeForHalf'), neck=dict(type='Halving')),
            r'model.decoder \(MadeForHalf\) is made for in_strides=\(7,\), but model.neck '
            r'\(Halving\) yields \(14,\)',
        ),
        (dict(neck=dict(type='Nameless')), r"model.neck: Nameless has no .*'strides'.*a Neck must"),
        (
            dict(decoder=dict(type='OneTaskOnly')),
            r"model.decoder \(OneTaskOnly\).out_channels: nothing for task\(s\) \['semseg'",
        ),
        (
            dict(backbone=dict(type='BlockMeans', depth=18)),
            r"model.backbone: BlockMeans has no argument\(s\) \['depth'\]",
        ),
        (
            dict(backbone=dict(type='mmseg.HRNet', depths=3)),
            r"model.backbone: mmseg.HRNet has no argument\(s\) \['depths'\]",
        ),
        (
            dict(decoder=dict(type='TaskMapsDecoder')),
            r"model.decoder: TaskMapsDecoder needs \['task_map_channels'\], which model.backbone",
        ),
        (
            dict(losses=dict(config()['losses'], depth=[dict(type='L1Loss', weight=2.0)])),
            r"model.losses.depth\[0\]: L1Loss has no argument\(s\) \['weight'\]",
        ),
        (
            dict(consistency=[dict(type='L1Loss')]),
            r"model.consistency\[0\]: L1Loss has no attribute\(s\) \['tasks'\]",
        ),
        (dict(weighting='equal'), "model.weighting: expected a dict with a 'type'"),
        (
            dict(tasks=dict(config()['tasks'], nromals=dict())),
            "unknown task 'nromals'.*Did you mean 'normals'",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config(**changes))


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

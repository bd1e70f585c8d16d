"""What the parts of a model hand to each other, and which ones are refused."""

import pytest
import torch
from torch import nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

from .toy_parts import STRIDE, SameForAll, batch, config


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

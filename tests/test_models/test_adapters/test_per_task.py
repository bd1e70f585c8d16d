"""Adapters of each task: a backbone run for several tasks is as many runs."""

import copy

import pytest
import torch
from small_adapted import LAYERS, build, filled
from torch import nn

from m2h_mm.models.adapters import merge_adapters
from m2h_mm.models.optimize import optimize

TASKS = dict(semseg=dict(num_classes=3), depth=dict(), edge=dict())
DECODERS = dict(
    shared=dict(type='SharedDecoder', channels=8),
    m2h=dict(
        type='M2HDecoder',
        channels=8,
        interaction=dict(type='CrossStitch'),
        merger=dict(type='GGFM', tasks=('depth',)),
    ),
    m2h_shared_fusion=dict(
        type='M2HDecoder', channels=8, interaction=dict(type='NoInteraction'), shared_fusion=True
    ),
    pad_net=dict(type='PADNetDecoder', channels=8, main_tasks=('depth', 'edge')),
    mti_net=dict(type='MTINetDecoder'),
)
NECK = dict(type='TokenReassembly', out_channels=8, mid_channels=(8, 8, 8, 8))


def build_for_tasks(name='dinov2', decoder='shared', backbone=None, tasks=TASKS, **adapters):
    plain_maps = name != 'dinov2' or DECODERS[decoder]['type'] == 'SharedDecoder'
    return (
        build(
            name,
            backbone,
            tasks=tasks,
            neck=None if plain_maps else NECK,
            decoder=DECODERS[decoder],
            heads={task: dict(type='LinearHead') for task in tasks},
            losses={task: dict(type='L1Loss') for task in tasks},
            adapters=dict(LAYERS[name], dropout=0.0, per_task=True, **adapters),
        )
        .eval()
        .double()
    )


@pytest.fixture
def image():
    return torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture
def alone():
    """``alone(model, task)``: its backbone with the adapters of one task in the weights."""

    def merged(model, task):
        model = copy.deepcopy(model)
        for adapter in model.adapters.adapted.values():
            adapter.tasks = (task,)
            adapter.merge()
        model.adapters.batch.times = 1
        return model.backbone

    return merged


@pytest.mark.parametrize('name', ['dinov3', 'lite', 'swin'])
def test_each_task_sees_the_backbone_with_its_own_weights(name, image, alone):
    model = filled(build_for_tasks(name))
    features = model.extract_features(image)
    assert list(features.by_task) == list(TASKS) and features.maps == ()
    for task in TASKS:
        expected = alone(model, task)(image)
        maps = expected.maps if hasattr(expected, 'maps') else expected
        for found, wanted in zip(features.of_task(task).maps, maps, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(*(features.of_task(task).maps[-1] for task in ('depth', 'edge')))


@pytest.mark.parametrize('decoder', DECODERS)
def test_decoders_give_each_task_its_own_features(decoder, image):
    """Where all tasks have the same adapters, the outputs are those of shared ones."""
    image = image[:, :, :28, :56]
    model = filled(build_for_tasks(decoder=decoder))
    own = model.state_dict()
    for key in own:
        if key.startswith('adapters.'):
            own[key].copy_(own[key.replace('.semseg.', '.depth.').replace('.edge.', '.depth.')])
    found = model(image), optimize(model)(image)
    model.adapters.per_task = False
    for adapter in model.adapters.adapted.values():
        adapter.tasks = ('depth',)
    expected = model(image)
    model.adapters.per_task = True
    for task in TASKS:
        for outputs in found:
            torch.testing.assert_close(outputs[task], expected[task], rtol=1e-9, atol=1e-9)
    # Another adapter of one task changes what that task sees; what else changes, is exchange.
    for key in own:
        if key.startswith('adapters.') and '.edge.' in key:
            own[key].add_(0.1)
    changed = model(image)
    assert not torch.allclose(changed['edge'], expected['edge'], rtol=1e-2)
    if decoder in ('shared', 'm2h_shared_fusion'):
        torch.testing.assert_close(changed['depth'], expected['depth'], rtol=1e-9, atol=1e-9)
    subset = model(image, tasks=['edge'])
    assert list(subset) == ['edge']
    torch.testing.assert_close(subset['edge'], changed['edge'], rtol=1e-9, atol=1e-9)


def test_blocks_before_the_first_adapted_one_run_once(image):
    model = build_for_tasks(last_units=2)
    batches = []
    for block in model.backbone.blocks:
        block.register_forward_hook(lambda block, inputs, output: batches.append(len(output)))
    model(image)
    assert batches == [2, 2, 6, 6]
    batches.clear()
    model(image, tasks=['depth'])  # the others' are not needed
    assert batches == [2, 2, 2, 2]


class Remembers(nn.Module):
    """A backbone that puts down the size of the batch before its layers run."""

    out_channels, strides = (8,), (14,)

    def __init__(self, wrong=False):
        super().__init__()
        self.embed, self.wrong = nn.Conv2d(3, 8, 14, stride=14), wrong
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.GELU())])

    def forward(self, image):
        embedded = self.embed(image)
        tokens = self.blocks[0](embedded.flatten(2).transpose(1, 2))
        if self.wrong:
            return tokens.transpose(1, 2).mean(0, keepdim=True).unflatten(2, embedded.shape[2:])
        return tokens.transpose(1, 2).reshape(len(image), -1, *embedded.shape[2:])


def test_a_backbone_that_puts_down_the_batch_runs_as_a_whole_for_each_task(image):
    options = dict(
        tasks=TASKS,
        decoder=DECODERS['shared'],
        heads={task: dict(type='LinearHead') for task in TASKS},
        losses={task: dict(type='L1Loss') for task in TASKS},
        adapters=dict(type='LoRA', layers='blocks', rank=2, per_task=True),
    )
    model = filled(build(Remembers, **options)).double().eval()
    model.backbone.embed.register_forward_hook(lambda *call: batches.append(len(call[-1])))
    batches = []
    outputs = [model(images) for images in (image, image[1:])]
    assert batches == [6, 3]
    for task in TASKS:
        torch.testing.assert_close(outputs[0][task][1:], outputs[1][task])
    with pytest.raises(ValueError, match='for 3 tasks in one batch: where one image yields'):
        build(Remembers, dict(wrong=True), **options)


def test_merging_leaves_several_and_merges_one(image):
    model = filled(build_for_tasks())
    expected = model(image)['edge']
    assert merge_adapters(model).adapters is not None
    with pytest.raises(ValueError, match=r"per_task=True: the adapters of \['semseg'"):
        model.adapters.merge()
    torch.testing.assert_close(model(image)['edge'], expected, rtol=0, atol=0)
    single = build_for_tasks(tasks=dict(edge=dict()))
    assert not single.adapters.per_task and merge_adapters(single).adapters is None


def test_decoders_that_share_features_are_refused():
    with pytest.raises(ValueError, match='InvPTDecoder. starts from features that all tasks'):
        build(
            'dinov2',
            tasks=TASKS,
            decoder=dict(type='InvPTDecoder', channels=64, extra_channels=0),
            heads={task: dict(type='LinearHead') for task in TASKS},
            losses={task: dict(type='L1Loss') for task in TASKS},
            adapters=dict(type='LoRA', per_task=True),
        )

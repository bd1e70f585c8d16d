import copy

import pytest
import torch
from label_fields import label_field
from mmengine.registry import init_default_scope

from m2h_mm.engine.config import load_config, restrict_tasks
from m2h_mm.engine.config_check import check_config
from m2h_mm.registry import EVALUATOR, MODELS
from m2h_mm.structures import MultiTaskDataSample

TASKS = ['semseg', 'depth', 'normals', 'edge']
DECODERS = [
    'm2h/m2h',
    'm2h_mx/m2h_mx',
    'invpt/invpt',
    'mti_net/mti_net',
    'pad_net/pad_net',
    'baselines/mtl',
]


@pytest.fixture
def load(request):
    configs = request.config.rootpath / 'configs'
    return lambda name: load_config(configs / f'{name}_tiny_rooms.py')


def sample(task, size=(56, 84)):
    labels = dict(
        semseg=torch.randint(0, 40, (1, *size)),
        depth=torch.rand(1, *size) + 1,
        normals=torch.nn.functional.normalize(torch.randn(3, *size), dim=0),
        edge=(torch.rand(1, *size) > 0.9).float(),
    )
    return MultiTaskDataSample(
        metainfo=dict(ori_shape=size, cam2img=[[60.0, 0, 42], [0, 60.0, 28], [0, 0, 1]]),
        **{task.gt_field: label_field(labels[task.name])},
    )


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', DECODERS)
def test_every_decoder_is_checked_with_every_single_task(load, name, task):
    cfg = load(name)
    before = copy.deepcopy(cfg._cfg_dict)
    single = restrict_tasks(cfg, [task])
    check_config(single)
    assert cfg._cfg_dict == before, 'changed in place'
    assert (
        list(single.model.tasks) == list(single.model.heads) == list(single.model.losses) == [task]
    )
    assert not single.model.consistency
    for evaluator in (single.val_evaluator, single.test_evaluator):
        assert list(evaluator['tasks']) == [task] and set(evaluator['metrics']) <= {task}
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert list(single[key].dataset.tasks) == [task]
    (headline,) = EVALUATOR.build(single.test_evaluator).headlines
    assert single.default_hooks.checkpoint.save_best == headline


@pytest.mark.parametrize(
    ('name', 'task'),
    zip([*DECODERS, 'm2h/m2h'], [*TASKS, 'depth', 'semseg', 'normals'], strict=True),
)
def test_a_single_task_model_takes_a_step_and_is_evaluated(load, name, task):
    cfg = restrict_tasks(load(name), [task])
    init_default_scope('m2h_mm')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    data = dict(
        inputs=[torch.randint(0, 256, (3, 56, 84), dtype=torch.uint8)] * 2,
        data_samples=[sample(model.tasks[task]) for _ in range(2)],
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    assert {key for key in losses if key.startswith('loss')} == {f'loss_{task}'}
    losses[f'loss_{task}'].backward()
    assert all(parameter.grad is not None for parameter in model.heads.parameters())
    optimizer.step()

    model.eval()
    with torch.no_grad():
        predicted = model(**model.data_preprocessor(data), mode='predict')
    evaluator = EVALUATOR.build(cfg.test_evaluator)
    evaluator.process(predicted)
    metrics = evaluator.evaluate(2)
    assert {key.split('/')[0] for key in metrics} == {task}


def test_what_refers_to_a_task_that_is_gone_goes_with_it(load):
    cfg = load('m2h/m2h')
    both = restrict_tasks(cfg, ['normals', 'depth'])
    assert list(both.model.tasks) == ['depth', 'normals'], "the order is the config's"
    assert [part['type'] for part in both.model.consistency] == ['DepthNormalConsistency']
    assert both.model.weighting.base_weights == dict(depth=2.0, normals=4.0)
    assert both.model.decoder.merger.tasks == ('depth',)
    assert both.model.decoder.interaction.type == 'WMCA'
    assert both.default_hooks.checkpoint.save_best == 'depth/rmse'
    assert both.default_hooks.checkpoint.rule == 'less'
    alone = restrict_tasks(cfg, ['normals'])
    assert alone.model.decoder.merger is None
    assert alone.model.decoder.interaction == dict(type='NoInteraction')
    assert restrict_tasks(cfg, ['semseg']).default_hooks.checkpoint.get('rule') is None


def test_all_tasks_are_the_config_itself(load):
    cfg = load('m2h/m2h')
    same = restrict_tasks(cfg, TASKS)
    assert same.model.to_dict() == cfg.model.to_dict()
    assert same.val_evaluator == cfg.val_evaluator


def test_main_tasks_wrapped_data_sets_and_members_of_evaluators(load):
    cfg = load('mti_net/mti_net')
    cfg.model.decoder.main_tasks = ('semseg', 'depth')
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(
            type='ConcatDataset',
            datasets=[inner, dict(inner, tasks=dict(edge=dict(), depth=dict(max_depth=5.0)))],
        ),
    )
    metrics = dict(edge=dict(preset='mtl'), near=dict(type='depth', task='depth', max_depth=2.0))
    members = dict(rooms=dict(metrics=metrics), depths=dict(tasks=['depth']))
    cfg.val_evaluator = dict(type='MixedEvaluator', tasks=cfg.val_evaluator.tasks, datasets=members)
    assert restrict_tasks(cfg, ['depth', 'edge']).model.decoder.main_tasks == ('depth',)
    edge = restrict_tasks(cfg, ['edge'])
    assert 'main_tasks' not in edge.model.decoder
    assert EVALUATOR.build(edge.val_evaluator).headlines == {
        'rooms/edge/odsF': ('rooms/edge', True)
    }
    first, second = edge.train_dataloader.dataset.dataset.datasets
    assert first.tasks == second.tasks == dict(edge=dict())
    with torch.device('meta'):
        MODELS.build(edge.model)


@pytest.mark.parametrize(
    ('tasks', 'message'),
    [
        (['dpeth'], "Did you mean 'depth'"),
        (
            [],
            r'got '
            r'\[\]',
        ),
    ],
)
def test_unknown_tasks_and_none_are_refused(load, tasks, message):
    with pytest.raises(ValueError, match=message):
        restrict_tasks(load('m2h/m2h'), tasks)

"""The stages add up to the training that they are the stages of."""

import copy
import json
import sys
from types import SimpleNamespace

import pytest
import stages
import torch
from label_fields import label_field
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from speed_costs import count_bytes
from stages_training import BACKWARD, FORWARD, DividedTraining, StandIn

from m2h_mm.engine.config import load_config
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

TOY = str(stages.CONFIGS.parent / 'tests' / 'data' / 'toy_m2h.py')
CROPS = """
_base_ = {toy!r}
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=[
    dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels'),
    dict(type='RandomCrop', size=(28, 42)),
    dict(type='Pad', size=(28, 42)), dict(type='PackMultiTaskInputs')]))
"""
SKIPPED = {FORWARD, BACKWARD}
# Unlike Adam and clipping not blind to the scale of gradients.
OPTIMIZER = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-2))


def toy_model():
    init_default_scope('m2h_mm')
    torch.manual_seed(0)
    cfg = load_config(TOY)
    return cfg, MODELS.build(cfg.model).train()


def batch(model, size=(28, 42)):
    sample = MultiTaskDataSample(metainfo=dict(cam2img=[[40.0, 0, 20], [0, 40, 14], [0, 0, 1]]))
    for task in model.tasks.values():
        label = torch.rand(task.label_channels, *size) + 0.5
        sample.set_field(label_field(label), task.gt_field)
    return dict(inputs=torch.randint(0, 256, (1, 3, *size)).float(), data_samples=[sample])


def divide(cfg, model, **options):
    """A runner that the hook has a hold of, without mmengine's around it, and the hook."""
    wrapper = build_optim_wrapper(model, OPTIMIZER)
    loop = SimpleNamespace(
        iter=0, max_iters=9, run_iter=lambda data: model.train_step(data, wrapper)
    )
    runner = SimpleNamespace(
        model=model, optim_wrapper=wrapper, train_loop=loop, call_hook=lambda *_, **__: None
    )
    hook = DividedTraining(StandIn(cfg), **options)
    hook.before_train(runner)
    return runner, hook


def test_a_divided_training_is_the_undivided_one():
    cfg, model = toy_model()
    undivided = copy.deepcopy(model)
    start = copy.deepcopy(dict(model.named_parameters()))
    wrapper = build_optim_wrapper(undivided, OPTIMIZER)
    runner, hook = divide(cfg, model, skip_model=False)
    data = batch(model)
    for _ in range(2):
        undivided.train_step(copy.deepcopy(data), wrapper)
        runner.train_loop.run_iter(copy.deepcopy(data))
    trained = dict(undivided.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, trained[name], msg=name)
        if name.startswith(('neck', 'heads')) and name.endswith('conv.weight'):
            assert not torch.equal(parameter, start[name]), name
    assert len(hook.clock.rounds) == 3 and SKIPPED <= set(hook.clock.rounds[-1])


def test_a_stand_in_has_the_shapes_and_layout_of_the_network():
    cfg, _ = toy_model()
    cfg.model.channels_last = True
    inputs = torch.rand(2, 3, 28, 42)
    stand_in = StandIn(cfg)
    assert count_bytes(lambda: stand_in(inputs)) == 0
    stand_in, network = stand_in(inputs), MODELS.build(cfg.model).run_network(inputs)
    assert stand_in[1] == network[1] == []
    for name, output in network[0].items():
        assert stand_in[0][name].shape == output.shape, name
    assert stand_in[0]['semseg'].stride() == network[0]['semseg'].stride()


def test_bytes_of_all_but_the_network_are_counted_in_the_last_iteration():
    cfg, model = toy_model()
    counted = []
    for skip_model, host_only in ((True, False), (False, False), (True, True)):
        runner, hook = divide(cfg, copy.deepcopy(model), skip_model=skip_model, host_only=host_only)
        runner.train_loop.iter = 8
        runner.train_loop.run_iter(batch(model))
        assert len(hook.clock.rounds) == 1
        counted.append(hook.traffic)
    with_model_skipped, with_model, host_only = counted
    assert with_model_skipped == with_model > 0
    # Gradients and weights are read and written once at least.
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert with_model - host_only > 2 * 4 * weights


@pytest.fixture(scope='module')
def rooms_root(tmp_path_factory):
    return tmp_path_factory.mktemp('rooms')


@pytest.fixture
def run(monkeypatch, rooms_root):
    def run(*arguments):
        monkeypatch.setattr(
            sys,
            'argv',
            [
                'stages.py',
                '--data-root',
                str(rooms_root),
                '--frames',
                '2',
                '--size',
                '30',
                '44',
                *map(str, arguments),
            ],
        )
        stages.main()

    return run


def test_every_stage_is_reported(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stages, 'HOST_ITERATIONS', 2)
    config, out = tmp_path / 'crops.py', tmp_path / 'stages.json'
    config.write_text(CROPS.format(toy=TOY))
    run(
        '--config',
        config,
        '--num-workers',
        1,
        '--step-seconds',
        0.01,
        '--batches',
        1,
        '--iterations',
        1,
        '--eval-frames',
        1,
        '--out',
        out,
        '--skip-model',
    )
    said, report = capsys.readouterr().out, json.loads(out.read_text())
    assert not any(name in said for name in SKIPPED)
    assert (
        {'optimizer', 'losses, backward', 'hooks, logs'}
        <= set(report['host'])
        == set(report['training'])
    )
    assert {'loading', 'outputs to predictions', 'metric edge', 'metric edge, validation'} <= set(
        report['evaluation']
    )
    assert report['crop'] == [28, 42] and report['operations_of_network'] > 1e6
    host, wait = report['host'], report['loading']['waits']['0.01']
    extra = wait['wall'] + sum(
        found['processor_mean'] for name, found in host.items() if name not in SKIPPED
    )
    assert f'{extra / (extra + 10):.1%}' in said


def test_a_config_without_a_crop_is_refused(run):
    with pytest.raises(ValueError, match='expected RandomCrop'):
        run('--config', TOY, '--crop', 14, 14)

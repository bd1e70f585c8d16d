"""Every switch of docs/training.md: training goes on learning, and what must not change the numbers
does not.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from m2h_mm.engine import build_runner, refuse_replaced_switches
from m2h_mm.engine.checkpoints import load_weights, read_checkpoint
from m2h_mm.engine.config import load_config, restrict_tasks
from m2h_mm.models.optimize import REWRITES, optimize
from m2h_mm.registry import MODELS, OPTIM_WRAPPERS

CONFIGS = Path(__file__).parents[2] / 'configs'
CHECKPOINTED = [
    'backbone',
    'neck',
    'decoder.fusion',
    'decoder.interaction',
    'decoder.merger',
    'heads',
]
CHECKPOINTING = {
    'default_hooks.checkpointing': dict(type='ActivationCheckpointingHook', modules=CHECKPOINTED)
}
COMPILED = {'default_hooks.compile': dict(type='CompileHook', backend='aot_eager', fullgraph=True)}
WITH_BATCH_NORM = {'model.backbone.arch.stem_channels': (4,)}
FEW = {'train_cfg.max_iters': 4}  # a difference of numbers shows in the first of them
# Without batch normalisation, and with little to compile.
LIGHT = {
    'model.decoder.interaction': dict(_delete_=True, type='NoInteraction'),
    'model.decoder.merger': None,
    'model.heads': dict.fromkeys(
        ('semseg', 'depth', 'normals', 'edge'), dict(_delete_=True, type='LinearHead')
    ),
}
PLAIN_SGD = {
    'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=0.01),
    'optim_wrapper.clip_grad': None,
}


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_same(first, second, **tolerances):
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(
            value, second[key], msg=lambda message, key=key: f'{key}: {message}', **tolerances
        )


@pytest.mark.parametrize(
    'switch',
    [
        {},
        {'optim_wrapper.accumulative_counts': 2},
        {'optim_wrapper.clip_grad.max_norm': 0.1},
        {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'},
    ],
    ids=['plain', 'accumulation', 'clipping', 'bfloat16'],
)
def test_training_learns(train, switch):
    """The other switches are compared with a training without them, number by number."""
    losses = train(switch, **{'train_cfg.max_iters': 18}).losses
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_checkpointed_activations_change_no_number(train):
    options = {**WITH_BATCH_NORM, **FEW}
    plain, checkpointed = train(options), train({**options, **CHECKPOINTING})
    assert checkpointed.losses == plain.losses
    assert_same(state(plain.model), state(checkpointed.model), rtol=0, atol=0)


def test_checkpointing_keeps_less(train, toy_runner):
    """Bytes that the graph of a training step holds on to."""

    def kept(switch):
        runner = toy_runner(switch, **{'train_cfg.max_iters': 1})
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            runner.train()
        return sum(sizes.values())

    assert kept(CHECKPOINTING) < 0.6 * kept({})


def test_checkpointing_ends_with_the_training(train):
    model = train(CHECKPOINTING, **{'train_cfg.max_iters': 1}).model
    assert not any('forward' in vars(module) for module in model.modules())


def test_a_module_that_is_not_there_is_refused(train):
    with pytest.raises(ValueError, match=r"no \['decoder.interactions'\].*'decoder.interaction'"):
        train(
            {
                'default_hooks.checkpointing': dict(
                    type='ActivationCheckpointingHook', modules=['neck', 'decoder.interactions']
                )
            }
        )


def test_accumulated_gradients_are_those_of_a_larger_batch(train):
    """As far as a loss is a mean over pixels that are all valid, and there is no batch
    normalisation.
    """
    options = {
        **PLAIN_SGD,
        **LIGHT,
        'model.losses.depth.0.loss_weight': 0.0,
        'model.consistency': [],
        'model.weighting.weights': dict(semseg=0.0, depth=1.0, normals=0.0, edge=10.0),
    }
    large = train(options, **{'train_dataloader.batch_size': 4, 'train_cfg.max_iters': 5})
    small = train(options, **{'train_cfg.max_iters': 10, 'optim_wrapper.accumulative_counts': 2})
    means = [(first + second) / 2 for first, second in list(pairwise(small.losses))[::2]]
    assert means == pytest.approx(large.losses, rel=1e-4)
    assert_same(state(small.model), state(large.model), rtol=1e-4, atol=1e-5)


def test_clipping_bounds_the_step(train, toy_runner):
    runner = toy_runner(
        {
            'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=1.0),
            'optim_wrapper.clip_grad.max_norm': 0.1,
            'train_cfg.max_iters': 1,
        }
    )
    before = {
        name: parameter.detach().clone() for name, parameter in runner.model.named_parameters()
    }
    runner.model.init_weights = lambda: None
    runner.train()
    steps = [
        (parameter.detach() - before[name]).norm()
        for name, parameter in runner.model.named_parameters()
    ]
    assert torch.stack(steps).norm().item() == pytest.approx(0.1, rel=1e-3)


def test_channels_last_changes_the_layout_alone(train):
    options = {**PLAIN_SGD, **FEW}
    plain, last = train(options), train({**options, 'model.channels_last': True})
    assert last.losses == pytest.approx(plain.losses, rel=1e-4)
    assert_same(state(plain.model), state(last.model), rtol=1e-3, atol=1e-4)


def fast_modules(model):
    fast = {rewrite.fast for rewrite in REWRITES.values()}
    return [name for name, module in model.named_modules() if type(module) in fast]


def test_a_training_is_in_fast_forms_unless_told_otherwise(train):
    """Losses and parameters are those of the plain network."""
    options = {**PLAIN_SGD, **FEW}
    fast = train(options)
    plain = train({**options, 'default_hooks.optimize': dict(enabled=False)})
    assert len(fast_modules(fast.model)) > 10 and not fast_modules(plain.model)
    torch.testing.assert_close(fast.losses, plain.losses, rtol=1e-3, atol=0)
    assert_same(state(plain.model), state(fast.model), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    'name', ['m2h/m2h_tiny_rooms', 'mti_net/mti_net_tiny_rooms', 'baselines/mtl_tiny_rooms']
)
def test_no_convolution_has_to_convert_its_input(name):
    cfg = load_config(CONFIGS / f'{name}.py').model
    model = optimize(MODELS.build(cfg).eval())
    names = {module: name for name, module in model.named_modules() if type(module) is nn.Conv2d}
    seen = {}

    def look(module, inputs):
        if module in names:
            _, channels, height, width = inputs[0].shape
            if channels > 1 and height * width > 1:
                seen[names[module]] = inputs[0].stride(1) == 1

    # Of all modules: those with hooks of their own are left as they are by fast forms.
    handle = register_module_forward_pre_hook(look)
    try:
        with torch.no_grad():
            model(torch.randn(2, 3, 84, 112))
    finally:
        handle.remove()
    assert len(seen) > 5 and [name for name, is_last in seen.items() if not is_last] == []


def test_half_precision_has_a_choice_of_dtypes():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)

    def build(**options):
        return OPTIM_WRAPPERS.build(
            dict(type='AutocastOptimWrapper', optimizer=optimizer, **options)
        )

    for dtype in (None, 'bfloat16'):
        with build(dtype=dtype).optim_context(nn.Linear(1, 1)):
            assert torch.get_autocast_dtype('cpu') == torch.bfloat16 and torch.is_autocast_enabled(
                'cpu'
            )
    with pytest.raises(ValueError, match=r"'float16' is trained on a GPU only.*'bfloat16'"):
        build(dtype='float16')
    with pytest.raises(
        ValueError,
        match=r"expected one of \('float16', 'bfloat16'\) or None, got "
        r"'half'",
    ):
        build(dtype='half')


EMA = {
    'default_hooks.ema': dict(type='EMAHook', momentum=0.5),
    'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=3),
}


def test_the_averaged_weights_are_the_ones_that_are_tested(toy_runner, train, tmp_path):
    """By the validation, by a test with the hook in the config and by one without it."""
    validated = train(EMA, validate=True, **{'train_cfg.max_iters': 3, 'train_cfg.val_interval': 3})
    logged = validated.runner.message_hub.log_scalars['val/depth/rmse'].current()
    checkpoint = tmp_path / 'work' / 'iter_3.pth'
    for options in (EMA, {}):
        tester = toy_runner(options)
        load_weights(tester.model, checkpoint)
        assert tester.test()['depth/rmse'] == pytest.approx(logged, rel=1e-6)
    last = {
        key.removeprefix('module.'): value
        for key, value in read_checkpoint(checkpoint)['ema_state_dict'].items()
    }
    tester.model.load_state_dict(last, strict=False)
    assert tester.test()['depth/rmse'] != pytest.approx(logged, rel=1e-4)
    assert_same(
        state(validated.model), {key: last[key] for key in state(validated.model)}, rtol=0, atol=0
    )


def test_averages_go_on_where_they_were(train, tmp_path):
    whole = train(EMA, work_dir=str(tmp_path / 'whole'), **{'train_cfg.max_iters': 6})
    train(EMA, work_dir=str(tmp_path / 'parts'), **{'train_cfg.max_iters': 3})
    resumed = train(
        EMA, work_dir=str(tmp_path / 'parts'), resume=True, **{'train_cfg.max_iters': 6}
    )
    assert resumed.losses == whole.losses[3:]
    first, second = (read_checkpoint(tmp_path / name / 'iter_6.pth') for name in ('whole', 'parts'))
    for part in ('state_dict', 'ema_state_dict'):
        assert_same(first[part], second[part], rtol=0, atol=0)
    assert first['ema_state_dict']['steps'] == 6


def test_a_compiled_training_gives_the_same_numbers(train):
    """Running statistics of batch normalisation too, also with checkpointed activations."""
    checkpointed = {
        'default_hooks.checkpointing': dict(
            type='ActivationCheckpointingHook', modules=['backbone']
        )
    }
    options = {**PLAIN_SGD, **LIGHT, **WITH_BATCH_NORM, 'train_cfg.max_iters': 3}
    plain, compiled = train(options), train({**options, **COMPILED, **checkpointed})
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-4)
    assert_same(state(plain.model), state(compiled.model), rtol=1e-3, atol=1e-4)
    assert 'run_network' not in vars(compiled.model)


def test_weightings_that_look_at_gradients_are_not_compiled(train):
    with pytest.raises(ValueError, match=r'CompileHook: model.weighting \(GradNorm\) goes back'):
        train({**COMPILED, 'model.weighting': dict(_delete_=True, type='GradNorm')})


@pytest.mark.parametrize(
    'name',
    [
        'm2h/m2h_tiny_rooms',
        'm2h/m2h_small_vits_nyud',
        'mti_net/mti_net_tiny_rooms',
        'invpt/invpt_tiny_rooms',
    ],
)
def test_the_network_is_one_graph(name):
    cfg = load_config(CONFIGS / f'{name}.py')
    cfg.model.backbone.update(
        arch=dict(embed_dims=24, depth=4, num_heads=3), out_indices=(0, 1, 2, 3), init_cfg=None
    )
    model = MODELS.build(restrict_tasks(cfg, ['semseg', 'depth']).model).eval()
    images = torch.randn(1, 3, 56, 84)
    compiled = torch.compile(model.forward, backend='eager', fullgraph=True)
    for task, output in compiled(images, mode='tensor').items():
        torch.testing.assert_close(output, model(images)[task])


@pytest.mark.parametrize(
    ('key', 'value', 'way_out'),
    [
        ('activation_checkpointing', ['neck'], "type='ActivationCheckpointingHook'"),
        ('compile', True, "type='CompileHook'"),
    ],
)
def test_switches_of_mmengine_that_do_harm_are_refused(key, value, way_out):
    with pytest.raises(ValueError, match=f'^{key}: .*{re.escape(way_out)}'):
        refuse_replaced_switches(Config({key: value}))
    refuse_replaced_switches(Config({key: None}))


def test_a_hook_is_left_out_by_none(tmp_path):
    left_out = {'default_hooks.guard': None, 'default_hooks.timer': None}
    cfg = load_config('m2h_tiny_rooms', left_out, str(tmp_path))
    hooks = {type(hook).__name__ for hook in build_runner(cfg).hooks}
    assert {'CheckpointHook', 'RuntimeInfoHook'} <= hooks
    assert not {'NonFiniteGuardHook', 'IterTimerHook'} & hooks

import pytest
from mmengine.config import Config

from m2h_mm.engine.config import share_tasks
from m2h_mm.engine.config_check import check_config
from m2h_mm.engine.config_override import check_overrides, override
from m2h_mm.experiments.schedule import shorten_schedule
from m2h_mm.experiments.sweep import find_sweep, load_sweep

BASE = 'configs/m2h/m2h_tiny_rooms.py'


@pytest.fixture
def spec(tmp_path, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)

    def write(text: str) -> str:
        path = tmp_path / 'my_sweep.py'
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture(scope='module')
def base(request):
    return Config.fromfile(request.config.rootpath / BASE)


def test_a_spec_becomes_runs_that_differ_in_what_it_says_only(spec, tmp_path):
    sweep = load_sweep(
        spec(f"""
base = '{BASE}'
variants = dict(
    wmca=dict(),
    none=dict(model=dict(decoder=dict(interaction=dict(_delete_=True, type='NoInteraction')))),
    wide={{'model.decoder.interaction.num_heads': 4}},
    shared='configs/baselines/mtl_tiny_rooms.py')
single_task = 'wmca'
seeds = [3, 5]
options = {{'optim_wrapper.optimizer.lr': 0.5}}
"""),
        tmp_path / 'out',
    )
    assert [run.name for run in sweep.runs] == [
        f'{name}/seed{seed}'
        for seed in (3, 5)
        for name in (
            'wmca',
            'none',
            'wide',
            'shared',
            *(f'single_task/{task}' for task in ('semseg', 'depth', 'normals', 'edge')),
        )
    ]
    runs = {run.name: run for run in sweep.runs}
    assert runs['none/seed3'].folder == tmp_path / 'out' / 'none' / 'seed3'
    assert runs['none/seed3'].cfg.model.decoder.interaction == dict(type='NoInteraction')
    assert runs['wide/seed3'].cfg.model.decoder.interaction.num_heads == 4
    assert runs['shared/seed3'].cfg.model.decoder.type == 'SharedDecoder'
    assert list(runs['single_task/depth/seed5'].cfg.model.tasks) == ['depth']
    for run in sweep.runs:
        assert run.cfg.randomness.seed == run.seed
        assert run.cfg.optim_wrapper.optimizer.lr == 0.5
        assert 'max_iters' not in run.cfg, 'a variable of the config file, of no effect'
    runs['wmca/seed3'].cfg.model.decoder.interaction = dict(type='NoInteraction')
    runs['wmca/seed3'].cfg.randomness.seed = 5
    assert runs['wmca/seed3'].cfg.to_dict() == runs['none/seed5'].cfg.to_dict()


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            dict(model=dict(decoder=dict(interaction=dict(windw_size=3)))),
            r"model\.decoder\.interaction\.windw_size.*Did you mean 'window_size'",
        ),
        (
            dict(model=dict(decoder=dict(interactoin=dict(type='WMCA')))),
            "Did you mean 'interaction'",
        ),
        (dict(modle=dict()), "modle.*Did you mean 'model'"),
        (dict(max_iters=10), 'max_iters: this is a variable of the config file'),
        (
            dict(train_dataloader=dict(bach_size=3)),
            "train_dataloader.bach_size.*Did you mean 'batch_size'",
        ),
        (
            dict(train_dataloader=dict(dataset=dict(sed=3))),
            "RoomsDataset has no argument 'sed'. Did you mean 'seed'",
        ),
        (dict(tasks=dict(semseg=dict(num_clases=3))), "Did you mean 'num_classes'"),
        (
            dict(model=dict(heads=dict(dpeth=dict(init_depth=2)))),
            "model.heads.dpeth.*Did you mean 'depth'",
        ),
        (
            dict(val_evaluator=dict(metrics=dict(edge=dict(presets='bsds')))),
            "edge has no .*Did you mean 'preset'",
        ),
        (
            dict(optim_wrapper=dict(optimizer=dict(lrr=1))),
            "AdamW has no argument 'lrr'. Did you mean 'lr'",
        ),
        (dict(default_hooks=dict(chekpoint=dict(interval=3))), "Did you mean 'checkpoint'"),
        (dict(randomness=dict(sed=1)), "Did you mean 'seed'"),
        (
            dict(param_scheduler={'0': dict(ennd=3)}),
            "LinearLR has no argument 'ennd'. Did you mean 'end'",
        ),
        (dict(param_scheduler={'2': dict(end=3)}), r'a list of 2; expected a position 0\.\.1'),
    ],
)
def test_a_misspelt_key_is_named_with_the_right_one(base, overrides, message):
    with pytest.raises(ValueError, match=message):
        check_overrides(overrides, base._cfg_dict)


@pytest.mark.parametrize(
    'overrides',
    [
        dict(
            model=dict(decoder=dict(interaction=dict(shift_size=3)))
        ),  # an argument that the base leaves out
        dict(tasks=dict(semseg=dict(unknown_channel=True))),
        dict(
            model=dict(
                decoder=dict(interaction=dict(_delete_=True, type='CrossStitch', init_self=0.8))
            )
        ),
        dict(train_dataloader=dict(pin_memory=True, dataset=dict(indices=8))),
        dict(
            optim_wrapper=dict(
                paramwise_cfg=dict(custom_keys={'decoder.interaction': dict(lr_mult=100)})
            )
        ),
        dict(custom_hooks=[dict(type='EMAHook', momentum=0.1, priority='NORMAL')]),
        dict(default_hooks=dict(ema=dict(type='EMAHook'))),
        dict(randomness=dict(deterministic=True)),
        {'param_scheduler.0.end': 50},
        {'optim_wrapper.type': 'AutocastOptimWrapper'},
    ],
)
def test_arguments_that_the_base_leaves_out_are_welcome(base, overrides):
    merged = override(base, overrides)
    check_config(share_tasks(merged))
    assert '_delete_' not in merged.pretty_text
    assert merged.to_dict() != base.to_dict()


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            dict(model=dict(decoder=dict(interaction=dict(_delete_=True, type='CrossStich')))),
            'CrossStich.*not registered',
        ),
        (
            dict(model=dict(decoder=dict(interaction=dict(_delete_=True, type='NDDR', init=1)))),
            "NDDR has no argument 'init'.*Did you mean 'init_self'",
        ),
        (dict(tasks=dict(dpeth=dict())), "unknown task 'dpeth'.*Did you mean 'depth'"),
        (
            dict(custom_hooks=[dict(type='EMAHok')]),
            "custom_hooks.0.type: 'EMAHok' is not.*Did you mean 'EMAHook'",
        ),
        (
            dict(
                test_evaluator=dict(metrics=dict(edge=dict(_delete_=True, type='edge', maxdist=1)))
            ),
            "Did you mean 'max_dist'",
        ),
        (
            dict(test_evaluator=dict(metrics=dict(edge=dict(preset='bsd')))),
            'EdgeMetric.preset: expected one of',
        ),
        (
            dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='RandomFlip', prop=0.5)]))),
            "Did you mean 'prob'",
        ),
        (
            dict(train_dataloader=dict(sampler=dict(_delete_=True, type='SeededSampler'))),
            'SeededSampler.*not registered',
        ),
    ],
)
def test_what_is_new_is_checked_against_its_class(base, overrides, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_config(share_tasks(override(base, overrides)))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            f"base = '{BASE}'\nvarants = dict(a=dict())",
            "unknown key 'varants'.*Did you mean 'variants'",
        ),
        (f"base = '{BASE}'", 'variants: expected'),
        ('variants = dict(a=dict())', 'the spec names none'),
        (f"base = '{BASE}'\nvariants = {{'a/b': dict()}}", "'a/b' cannot be the name"),
        (
            f"base = '{BASE}'\nvariants = dict(single_task=dict())",
            "'single_task' cannot be the name",
        ),
        (f"base = '{BASE}'\nvariants = dict(a=3)", 'variants.a: expected a dict'),
        (
            f"base = '{BASE}'\nvariants = dict(a=dict())\nseeds = [0, 0]",
            'seeds: expected a list of different',
        ),
        (
            f"base = '{BASE}'\nvariants = dict(a=dict())\nsingle_task = 'b'",
            'single_task: expected one of',
        ),
        (
            f"base = '{BASE}'\nvariants = dict(a=dict())\nmax_iters = 0",
            'max_iters: expected a number',
        ),
        (f"base = '{BASE}'\nvariants = dict(a=dict())\noptions = [1]", 'options: expected a dict'),
        (
            f"base = '{BASE}'\nvariants = dict(fine=dict(), bad=dict(model=dict(nek=dict())))",
            "variant 'bad': model.nek.*Did you mean 'neck'",
        ),
        (
            f"base = '{BASE}'\nvariants = dict(fine=dict())\noptions = {{'model.nek': 1}}",
            "variant 'fine': model.nek",
        ),
    ],
)
def test_a_spec_that_cannot_be_is_refused(spec, text, message):
    with pytest.raises(ValueError, match=message):
        load_sweep(spec(text))


def test_files_that_are_not_there_are_named(spec, tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no spec'):
        load_sweep(tmp_path / 'none.py')
    with pytest.raises(FileNotFoundError, match='no config lost.py'):
        load_sweep(spec("variants = dict(a='lost.py')"))


def test_a_shorter_schedule_is_the_same_schedule(base):
    cfg = override(base, {})
    shorten_schedule(cfg, 1000)
    warmup, decay = cfg.param_scheduler
    assert (warmup['begin'], warmup['end'], decay['begin'], decay['end']) == (0, 25, 25, 1000)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (1000, 500)
    assert cfg.default_hooks.checkpoint.interval == 500
    assert base.train_cfg.max_iters == 4000
    shorten_schedule(cfg, 10)
    assert [scheduler['type'] for scheduler in cfg.param_scheduler] == ['CosineAnnealingLR'], (
        'no room for a warm-up'
    )
    assert cfg.param_scheduler[0]['end'] == 10 and cfg.train_cfg.val_interval == 5


def test_the_other_times_of_a_schedule_are_scaled_too(base):
    cfg = override(
        base,
        dict(
            param_scheduler=[dict(type='MultiStepLR', by_epoch=False, milestones=[1000, 3000])],
            train_cfg=dict(dynamic_intervals=[(3000, 100)]),
        ),
    )
    shorten_schedule(cfg, 400)
    assert cfg.param_scheduler[0]['milestones'] == [100, 300]
    assert cfg.train_cfg.dynamic_intervals == [(300, 10)]


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            {'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=3)},
            'Only trainings that count iter',
        ),
        (
            {'param_scheduler.1.by_epoch': True},
            r'param_scheduler\[1\] \(CosineAnnealingLR\) counts '
            r'epochs',
        ),
    ],
)
def test_epochs_cannot_be_shortened(base, overrides, message):
    with pytest.raises(ValueError, match=message):
        shorten_schedule(override(base, overrides), 100)


def test_variants_are_ablations_overrides_and_lists_of_both(spec, tmp_path):
    (tmp_path / 'mine.py').write_text('model = dict(decoder=dict(merger=None))\n')
    sweep = load_sweep(
        spec("""
base = 'm2h_tiny_rooms'
variants = dict(
    wmca=dict(),
    none='interaction_none',
    both=['window_5', {'model.decoder.interaction.shift_size': 2}, 'mine.py'],
    shared='mtl_tiny_rooms',
)
""")
    )
    decoders = {name: cfg.model.decoder for name, cfg in sweep.variants.items()}
    assert decoders['none'].interaction == dict(type='NoInteraction')
    both = decoders['both'].interaction
    assert (both.type, both.window_size, both.shift_size) == ('WMCA', 5, 2)
    assert decoders['both'].merger is None and decoders['wmca'].merger is not None
    assert decoders['shared'].type == 'SharedDecoder'


def test_an_ablation_that_does_not_fit_names_the_variant(spec):
    with pytest.raises(
        ValueError, match="variant 'none': --ablation interaction_none on .*mti_net"
    ):
        load_sweep(spec("base = 'mti_net_tiny_rooms'\nvariants = dict(none='interaction_none')"))


def test_specs_are_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_sweep('decoders_tiny_rooms')
    assert found == find_sweep('configs/sweeps/decoders_tiny_rooms.py') and found.is_file()


def test_the_specs_of_the_repository_can_be_run(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    for path in sorted((request.config.rootpath / 'configs' / 'sweeps').glob('*.py')):
        sweep = load_sweep(path)
        assert len(sweep.seeds) > 1

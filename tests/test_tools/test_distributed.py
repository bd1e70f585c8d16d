"""Two processes on the CPU, started by the scripts, do what one does."""

import json
import os
from pathlib import Path

import pytest
import torch

from m2h_mm.engine import build_runner
from m2h_mm.engine.checkpoints import load_weights
from m2h_mm.engine.config import load_config

from .conftest import REPOSITORY, run_script

ITERATIONS = 20
# Rooms are labelled throughout and every loss here is a mean over pixels, so that the mean over two
# processes is the loss of one with the frames of both. SILogLoss, a root of means, would not be.
TOY = """
_base_ = {bases}
custom_imports = dict(imports=['recording'])
rooms = dict(data_root='{data}', num_train=12, num_val=5, size=(30, 44), num_workers=0)
model = dict(
    backbone=dict(frozen_stages=2),
    losses=dict(depth=dict(_delete_=True, type='L1Loss')),
    consistency=[dict(type='EdgeSemanticConsistency')],
    weighting=dict(interval=3))
train_dataloader = dict(batch_size={batch_size}, dataset=rooms)
val_dataloader = dict(dataset=rooms)
test_dataloader = dict(dataset=rooms)
# Adam divides a gradient that is rounding alone by its own size, and would not mind a sum in place of a mean.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=4e-3, momentum=0.9))
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
train_cfg = dict(max_iters={iterations}, val_interval={iterations})
default_hooks = dict(checkpoint=dict(interval={iterations}), logger=dict(interval=1))
log_processor = dict(window_size=1)
custom_hooks = [dict(type='RecordHook', frozen_statistics=True, parameters={parameters})]
"""
BASE = str(REPOSITORY / 'tests' / 'data' / 'toy_m2h.py')
SHARDED = str(REPOSITORY / 'configs' / 'ablations' / 'fsdp.py')
# Stands in for Slurm: one task, which is told its place as Slurm does.
SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do [[ $1 == -p ]] && shift; echo "srun $1"; shift; done
SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=1 SLURM_JOB_ID=$$ SLURM_JOB_NODELIST='n[1-2]' exec "$@"
"""
SCONTROL = (
    "#!/usr/bin/env bash\n[[ $* == 'show hostnames n[1-2]' ]] && printf '127.0.0.1\\nn2\\n'\n"
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('distributed')


@pytest.fixture(scope='module')
def write_config(folder):
    def write_config(
        name: str,
        bases: tuple[str, ...] = (BASE,),
        batch_size: int = 2,
        iterations: int = ITERATIONS,
        parameters: bool = True,
    ) -> Path:
        path = folder / f'{name}.py'
        path.write_text(
            TOY.format(
                bases=list(bases),
                data=folder / 'rooms',
                batch_size=batch_size,
                iterations=iterations,
                parameters=parameters,
            )
        )
        return path

    return write_config


def records(work_dir: Path) -> list[dict]:
    """What each process saw."""
    return [torch.load(path, weights_only=True) for path in sorted(work_dir.glob('record_*.pt'))]


@pytest.fixture(scope='module')
def one(folder, write_config) -> list[dict]:
    """Trained by one process with a batch of four, under Slurm."""
    for name, content in (('srun', SRUN), ('scontrol', SCONTROL)):
        path = folder / name
        path.write_text(content)
        path.chmod(0o755)
    said = run_script(
        'slurm_train.sh',
        'partition',
        'job',
        write_config('one', batch_size=4),
        '--work-dir',
        folder / 'one',
        PATH=f'{folder}:{os.environ["PATH"]}',
        GPUS='1',
        GRES='',
    )
    assert 'srun --ntasks=1' in said and '--gres' not in said
    return records(folder / 'one')


@pytest.fixture(scope='module')
def two(folder, write_config) -> list[dict]:
    """Trained by two processes with batches of two."""
    run_script('dist_train.sh', write_config('two'), 2, '--work-dir', folder / 'two')
    return records(folder / 'two')


def mean_losses(processes: list[dict]) -> list[dict[str, float]]:
    """By iteration, the mean over the processes."""
    return [
        {key: sum(losses[key] for losses in at_once) / len(at_once) for key in at_once[0]}
        for at_once in zip(*(process['losses'] for process in processes), strict=True)
    ]


def assert_same_curve(
    curve: list[dict[str, float]], other: list[dict[str, float]], rel: float = 1e-4
) -> None:
    assert len(curve) == len(other) > 0
    for losses, others in zip(curve, other, strict=True):
        assert losses == pytest.approx(others, rel=rel)


def test_two_processes_have_the_loss_curve_of_one_with_twice_the_batch(one, two):
    assert len(one) == 1 and len(two) == 2
    curve = mean_losses(one)
    assert len(curve) == ITERATIONS and curve[-1]['loss'] < 0.9 * curve[0]['loss']
    assert len({losses['w_depth'] for losses in curve}) > 1
    assert_same_curve(mean_losses(two), curve)
    assert two[0]['losses'] != two[1]['losses']
    assert all(
        torch.equal(value, two[1]['parameters'][name])
        for name, value in two[0]['parameters'].items()
    )


def test_two_processes_measure_what_one_does_though_their_frames_are_uneven(
    folder, two, monkeypatch
):
    checkpoint, report = folder / 'two' / f'iter_{ITERATIONS}.pth', folder / 'report.json'
    run_script(
        'dist_test.sh',
        folder / 'two.py',
        checkpoint,
        2,
        '--work-dir',
        folder / 'two_test',
        '--out',
        report,
        '--compare-constant',
    )
    measured = json.loads(report.read_text())

    monkeypatch.syspath_prepend(Path(__file__).parent)
    cfg = load_config(str(folder / 'two.py'), dict(custom_hooks=[]), str(folder / 'one_test'))
    runner = build_runner(cfg)
    load_weights(runner.model, checkpoint)
    alone = runner.test()
    assert (
        measured['metrics'] == pytest.approx(alone, rel=1e-6, nan_ok=True)
        and measured['num_frames'] == 5
    )
    assert measured['constant_predictor'].keys() == alone.keys()
    # During training each process saw its own frames of the five too.
    assert two[0]['validations'] == two[1]['validations']
    assert two[0]['validations'][-1]['depth/rmse'] == pytest.approx(alone['depth/rmse'], rel=1e-6)


def test_sharded_processes_have_the_same_curve_also_across_an_interruption(
    folder, write_config, two
):
    settings = dict(bases=(BASE, SHARDED), parameters=False)
    config = write_config('sharded', iterations=ITERATIONS // 2, **settings)
    run_script('dist_train.sh', config, 2, '--work-dir', folder / 'sharded')
    curve = mean_losses(records(folder / 'sharded'))
    run_script(
        'dist_train.sh',
        write_config('sharded', **settings),
        2,
        '--work-dir',
        folder / 'sharded',
        '--resume',
    )
    resumed = mean_losses(records(folder / 'sharded'))
    expected = mean_losses(two)
    assert len(curve) == len(resumed) == ITERATIONS // 2
    assert_same_curve(curve, expected[: ITERATIONS // 2])
    # The weighting goes on with the sums of the process that wrote the checkpoint; the weights are
    # a little different.
    raw = [
        [{key: value for key, value in losses.items() if key.startswith('raw_')} for losses in half]
        for half in (resumed, expected[ITERATIONS // 2 :])
    ]
    assert_same_curve(*raw, rel=2e-3)

    last, expected = (
        torch.load(folder / name / f'iter_{ITERATIONS}.pth', weights_only=False)['state_dict']
        for name in ('sharded', 'two')
    )
    assert {name: value.shape for name, value in last.items()} == {
        name: value.shape for name, value in expected.items()
    }

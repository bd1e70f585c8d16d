"""Cost and curves, as a user asks for them."""

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.visualization import LocalVisBackend

from m2h_mm.experiments.benchmark_plot import fitted_exponent
from m2h_mm.models.multitask_model import MultiTaskModel

NONE = "model['decoder']['interaction'] = dict(_delete_=True, type='NoInteraction')\n"


@pytest.fixture
def configs(toy_config):
    return toy_config(), toy_config(NONE, 'toy_none')


def read(path: Path) -> dict:
    return json.loads(path.read_text())


# ---- flops
def test_complexity_of_two_configs(run, configs, tmp_path):
    said = run('flops', *configs, '--out', tmp_path / 'out.json')
    toy, none = read(tmp_path / 'out.json')['configs']
    assert toy['size'] == none['size'] == [42, 56]  # frames of 30x44, padded
    assert toy['by_part']['decoder'] > none['by_part']['decoder']
    assert [toy['by_part'][part] for part in ('backbone', 'neck', 'heads')] == [
        none['by_part'][part] for part in ('backbone', 'neck', 'heads')
    ]
    assert toy['parameters']['total'] > none['parameters']['total']
    for row in (toy, none):
        assert f'{row["flops"] / 1e9:.2f}' in said and f'{row["macs"] / 1e9:.2f}' in said
    assert 'toy_none' in said and '42x56' in said


def test_complexity_at_a_size_and_of_a_task(run, configs, tmp_path):
    run(
        'flops',
        configs[1],
        '--size',
        80,
        112,
        '--tasks',
        'depth',
        '--out',
        tmp_path / 'one.json',
    )
    run('flops', configs[1], '--size', 84, 112, '--out', tmp_path / 'all.json')
    one, every = (read(tmp_path / name)['configs'][0] for name in ('one.json', 'all.json'))
    assert one['size'] == every['size'] == [84, 112]
    assert one['tasks'] == ['depth'] and one['flops'] < every['flops']


def test_what_flops_refuses(run, configs, tmp_path):
    error = run('flops', configs[0], '--tasks', 'dept', status=1)
    assert 'Traceback' not in error
    assert '--tasks' in error and 'dept' in error and 'normals' in error
    assert 'nowhere.py' in run('flops', tmp_path / 'nowhere.py', status=1)
    assert '--size' in run('flops', configs[0], '--size', 0, 14, status=2)


# ---- benchmark
def test_benchmark(run, configs, tmp_path):
    said = run(
        'benchmark',
        *configs,
        '--sizes',
        '28x28',
        '50x56',
        '--batch-sizes',
        1,
        2,
        '--repeats',
        3,
        '--device',
        'cpu',
        '--out',
        tmp_path / 'out.json',
        '--plot',
        tmp_path / 'plots' / 'plot.png',
        '--warmup',
        0,
    )
    report = read(tmp_path / 'out.json')
    cells = {(cell['config'], *cell['size'], cell['batch_size']): cell for cell in report['cells']}
    assert set(cells) == {
        (config, *size, batch)
        for config in ('toy', 'toy_none')
        for size in ((28, 28), (56, 56))
        for batch in (1, 2)
    }
    for (config, *_, batch), cell in cells.items():
        assert 0 < cell['p10_s'] <= cell['median_s'] <= cell['p90_s']
        assert cell['images_per_s'] == pytest.approx(batch / cell['median_s'])
        assert cell['ratio'] == 1 if config == 'toy' else cell['ratio'] > 0
    memory = {key: cell['peak_memory_bytes'] for key, cell in cells.items()}
    assert memory['toy', 56, 56, 1] > memory['toy', 28, 28, 1]
    assert memory['toy', 56, 56, 2] > memory['toy', 56, 56, 1] > memory['toy_none', 56, 56, 1]
    assert report['mode'] == 'prediction' and report['dtype'] == 'fp32'
    assert 'toy: 50x56 rounded up to 56x56' in said
    assert cv2.imread(str(tmp_path / 'plots' / 'plot.png')).std() > 0


def test_benchmark_of_training_in_half_precision(run, configs, tmp_path):
    seen = []
    for flags in ([], ['--train', '--dtype', 'bf16']):
        run(
            'benchmark',
            configs[0],
            '--sizes',
            '42x56',
            '--repeats',
            1,
            '--warmup',
            0,
            '--device',
            'cpu',
            '--out',
            tmp_path / 'out.json',
            '--overwrite',
            *flags,
        )
        seen.append(read(tmp_path / 'out.json'))
    assert seen[1]['mode'] == 'training step'
    assert seen[1]['cells'][0]['peak_memory_bytes'] > seen[0]['cells'][0]['peak_memory_bytes']


def exhaust(monkeypatch, error: Exception, width: int) -> None:
    """Let every model fail on images of at least that width."""
    forward = MultiTaskModel.forward

    def failing(self, inputs, *args, **kwargs):
        if inputs.shape[-1] >= width:
            raise error
        return forward(self, inputs, *args, **kwargs)

    monkeypatch.setattr(MultiTaskModel, 'forward', failing)


def test_a_cell_without_memory_is_marked(run, configs, tmp_path, monkeypatch):
    exhaust(monkeypatch, torch.cuda.OutOfMemoryError('CUDA out of memory.'), width=56)
    said = run(
        'benchmark',
        *configs,
        '--sizes',
        '28x28',
        '28x56',
        '--repeats',
        1,
        '--warmup',
        0,
        '--device',
        'cpu',
        '--out',
        tmp_path / 'out.json',
        '--plot',
        tmp_path / 'plot.png',
    )
    cells = read(tmp_path / 'out.json')['cells']
    assert [cell['out_of_memory'] for cell in cells] == [False, False, True, True]
    assert 'median_s' in cells[0] and 'median_s' not in cells[2]
    assert said.count('out of memory') == 2


def test_another_error_is_not_hidden(run, configs, monkeypatch):
    exhaust(monkeypatch, RuntimeError('a bug'), width=1)
    with pytest.raises(RuntimeError, match='a bug'):
        run('benchmark', configs[0], '--repeats', 1, '--device', 'cpu')


def test_what_benchmark_refuses(run, configs):
    refused = partial(run, 'benchmark', configs[0], status=2)
    assert '448x576' in refused('--sizes', '224')
    assert '--tasks' in refused('--train', '--tasks', 'depth')
    assert 'twice' in refused(configs[0])
    assert '--repeats' in refused('--repeats', 0)


@pytest.mark.parametrize('power', [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law(power):
    areas = np.array([100.0, 400.0, 900.0])
    assert fitted_exponent(areas, 3 * areas**power) == pytest.approx(power)
    assert fitted_exponent([100.0, 100.0], [1.0, 2.0]) is None


# ---- logs
def log(run: Path, slope: float, begin: int = 0, stamp: str = '1') -> Path:
    """A log, written as mmengine writes it."""
    backend = LocalVisBackend(str(run / stamp / 'vis_data'))
    for step in range(begin + 10, begin + 41, 10):
        backend.add_scalars(
            dict(
                lr=1e-4,
                loss=9 - slope * step,
                raw_depth=4 - slope * step,
                w_depth=1.0,
                time=0.1,
                iter=step,
            ),
            step=step,
            file_path=f'{stamp}.json',
        )
        if step % 20 == 0:
            backend.add_scalars(
                {'depth/rmse': slope * step, 'semseg/mIoU': slope * step, 'time': 3.0}, step=step
            )
    return run


def test_curves_of_two_runs(run, tmp_path):
    fast, slow = log(tmp_path / 'fast', 0.05), log(tmp_path / 'slow', 0.01)
    log(fast, 0.05, begin=40, stamp='2')
    said = run('logs', fast, slow, '--out-dir', tmp_path / 'curves')
    drawn = sorted(path.name for path in (tmp_path / 'curves').iterdir())
    assert drawn == [
        'depth.png',
        'losses.png',
        'raw_losses.png',
        'schedule.png',
        'semseg.png',
        'weights.png',
    ]
    assert all(cv2.imread(str(tmp_path / 'curves' / name)).std() > 0 for name in drawn)
    lines = {
        line.split()[1]: line
        for line in said.splitlines()
        if line.startswith('│') and len(line.split()) > 3
    }
    assert 'to 80' in said and 'to 40' in said
    # Lower is better for the error, higher for the score; of both runs the last value is the
    # highest.
    assert (
        '4.0000; 1.0000 @ 20' in lines['depth/rmse']
        and '0.4000; 0.2000 @ 20' in lines['depth/rmse']
    )
    assert '4.0000; 4.0000 @ 80' in lines['semseg/mIoU']
    assert (
        '5.0000; 5.0000 @ 80' in lines['loss'] and '@' not in lines['w_depth'] and 'lr' not in lines
    )


def test_only_the_keys_asked_for(run, tmp_path):
    said = run(
        'logs',
        log(tmp_path / 'run', 0.1),
        '--keys',
        'loss',
        'depth/rmse',
        'lr',
        '--out-dir',
        tmp_path / 'curves',
    )
    assert sorted(path.name for path in (tmp_path / 'curves').iterdir()) == [
        'depth.png',
        'losses.png',
        'schedule.png',
    ]
    assert 'raw_depth' not in said and 'lr' in said


def test_what_logs_refuses(run, tmp_path):
    folder = log(tmp_path / 'run', 0.1)
    error = run('logs', folder, '--keys', 'depth/rms', status=1)
    assert "'depth/rmse'" in error and '--keys' in error
    (tmp_path / 'empty').mkdir()
    error = run('logs', folder, tmp_path / 'empty', status=1)
    assert str(tmp_path / 'empty') in error and 'vis_data' in error
    assert 'twice' in run('logs', folder, folder, status=1)

"""A sweep as its user lives through it: started, killed, gone on with, broken, changed.

All but the last test replace the training and the test, not the sweep, by a small program that
takes no time.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from m2h_mm.engine.config import load_config, restrict_tasks
from m2h_mm.experiments import sweep_runner
from m2h_mm.experiments.sweep import load_sweep

from .conftest import REPOSITORY, TOY

PROGRAM = """
import json, re, shutil, sys, time
from pathlib import Path
command, *arguments = sys.argv[1:]
if command == 'test':
    out = Path(sys.argv[sys.argv.index('--out') + 1])
    value = 40.0 + len(str(out)) % 7
    metrics = {'semseg/mIoU': value, 'depth/rmse': 1 / value}
    metrics.update({'normals/mean': value, 'edge/odsF': value})
    out.write_text(json.dumps(dict(metrics=metrics)))
    sys.exit()
work_dir = Path(sys.argv[sys.argv.index('--work-dir') + 1])
control = Path(__file__).parent
work_dir.mkdir(parents=True, exist_ok=True)
with open(work_dir / 'starts.txt', 'a') as file:
    file.write(' '.join(arguments) + '\\n')
if (control / 'fail').exists() and (control / 'fail').read_text() in str(work_dir):
    sys.exit('the loss is not finite')
while (control / 'hold').exists() and (control / 'hold').read_text() in str(work_dir):
    time.sleep(0.05)
last = re.search(r'max_iters=(\\d+)', Path(arguments[0]).read_text())[1]
shutil.copy(control / 'whole.pth', work_dir / f'iter_{last}.pth')
(work_dir / 'last_checkpoint').write_text(f'{work_dir}/iter_{last}.pth')
"""
SPEC = """
base = 'toy.py'
variants = dict(
    wmca=dict(),
    none=dict(model=dict(decoder=dict(interaction=dict(_delete_=True, type='NoInteraction')))))
single_task = 'wmca'
seeds = [0, 1]
max_iters = 4
"""
NUM_RUNS = 2 * (2 + 2)
BARE_PYTHON = (sys.executable, '-I', '-S')  # what the program needs, and started in no time


# The command in a process of its own, to be killed.
KILLABLE = """
import sys
from m2h_mm.experiments import sweep_runner
sweep_runner.PROGRAM = (sys.executable, '-I', '-S', sys.argv[1])
from m2h_mm.cli.ablate import main
raise SystemExit(main(sys.argv[2:]))
"""


class Bench:
    """A folder for a sweep, and a program that stands in for a training and a test.

    Attributes:
        control: beside the program: ``hold`` and ``fail`` hold the part of a run's path that is to
            wait or to fail.
    """

    def __init__(self, folder: Path, run: Callable[..., str]) -> None:
        self.folder, self.control = folder, folder / 'control'
        self.control.mkdir(exist_ok=True)
        self.program = self.control / 'program.py'
        self.program.write_text(PROGRAM)
        hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
        content = dict(meta=dict(iter=6, epoch=0), state_dict={}, message_hub=hub)
        torch.save(content, self.control / 'whole.pth')
        self._run = run
        self.write(SPEC)

    def write(self, spec: str) -> None:
        (self.folder / 'spec.py').write_text(spec)

    def arguments(self, *flags: object) -> list[str]:
        return ['spec.py', '--work-dir', 'out', '--repeats', '0', *map(str, flags)]

    def start(self, *flags: object) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, '-c', KILLABLE, str(self.program), *self.arguments(*flags)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )

    def run(self, *flags: object, status: int = 0) -> str:
        return self._run('ablate', *self.arguments(*flags), status=status)

    def starts(self, run: str) -> list[str]:
        path = self.folder / 'out' / run / 'training' / 'starts.txt'
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, path: Path, process: subprocess.Popen | None = None) -> None:
        """Until there is something in a file, which ``process`` is to write.

        A file is there a moment before its content is.
        """
        while not path.exists() or not path.read_text():
            assert process is None or process.poll() is None, process.stdout.read()
            time.sleep(0.02)


@pytest.fixture(scope='module')
def two_tasks(rooms_root) -> str:
    """A config of toy size with two tasks only, so that a sweep has few single-task models."""
    toy = rooms_root.with_name('two_tasks.py')
    toy.write_text(TOY.format(repository=REPOSITORY, data=rooms_root))
    return restrict_tasks(load_config(toy), ['semseg', 'depth']).pretty_text


@pytest.fixture
def bench(two_tasks, tmp_path, run, monkeypatch) -> Bench:
    (tmp_path / 'toy.py').write_text(two_tasks)
    bench = Bench(tmp_path, run)
    monkeypatch.setattr(sweep_runner, 'PROGRAM', (*BARE_PYTHON, str(bench.program)))
    monkeypatch.setattr(sweep_runner, 'POLL_SECONDS', 0.02)
    return bench


@pytest.mark.parametrize('name', ['table.csv', 'wmca/seed0/results.json'])
def test_files_of_others_stay(bench, name):
    theirs = bench.folder / 'out' / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text('theirs')
    assert f'{name} is there already' in bench.run('--table-only', status=1)
    assert theirs.read_text() == 'theirs'


def test_a_killed_sweep_goes_on_and_loses_no_finished_run(bench):
    (bench.control / 'hold').write_text('none/seed0')
    process = bench.start()
    bench.wait_for(bench.folder / 'out' / 'none' / 'seed0' / 'training' / 'starts.txt', process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (bench.control / 'hold').unlink()
    assert (bench.folder / 'out' / 'wmca' / 'seed0' / 'results.json').exists()
    assert not (bench.folder / 'out' / 'none' / 'seed0' / 'results.json').exists()

    (bench.control / 'fail').write_text('none/seed1')
    said = bench.run('--max-parallel', 2, status=1)
    assert f'[1/{NUM_RUNS}] wmca/seed0: finished before' in said
    assert len(bench.starts('wmca/seed0')) == 1
    assert len(bench.starts('none/seed0')) == 2 and all(
        '--resume' in line for line in bench.starts('none/seed0')
    )
    assert re.search(
        r'none/seed1: FAILED \(exit status 1\).*run\.log:\n.*the loss is not finite',
        said,
        re.DOTALL,
    )
    assert said.count(': finished after') == NUM_RUNS - 2, 'the others ran all the same'
    assert 'Not finished: none/seed1' in said and 'none/seed1 (interrupted)' in said

    (bench.control / 'fail').unlink()
    said = bench.run()
    assert said.count('finished before') == NUM_RUNS - 1 and said.count(': started') == 1
    assert 'Incomplete' not in said
    table = json.loads((bench.folder / 'out' / 'table.json').read_text())
    assert list(table['rows']) == ['wmca', 'none', 'single_task'] and table['missing'] == {}
    assert all(len(row['seeds']) == 2 for row in table['rows'].values())
    assert table['rows']['wmca']['cells']['delta_m']['mean'] is not None


def test_a_changed_spec_is_refused_before_anything_starts(bench):
    bench.run()
    bench.write(SPEC + "options = {'optim_wrapper.optimizer.lr': 0.5}\n")
    said = bench.run(status=1)
    assert 'wmca/seed0: optim_wrapper.optimizer.lr: 0.001 -> 0.5' in said and '--force' in said
    assert 'Traceback' not in said and ': started' not in said
    said = bench.run('--dry-run', '--only', 'none')
    assert 'none/seed0: changed' in said and 'wmca' not in said
    said = bench.run('--only', 'none', '--force', '--launcher', 'none')
    assert said.count(': finished after') == 2 and 'wmca/seed0 (changed)' in said
    assert len(bench.starts('none/seed0')) == 1, 'nothing of the old run is left'


def test_a_run_that_outlives_its_sweep_is_not_started_twice(bench):
    bench.write(SPEC.replace('seeds = [0, 1]', 'seeds = [7]').replace("single_task = 'wmca'", ''))
    (bench.control / 'hold').write_text('wmca/seed7')
    process = bench.start('--only', 'wmca')
    bench.wait_for(bench.folder / 'out' / 'wmca' / 'seed7' / 'training' / 'starts.txt', process)
    process.kill()  # alone: this training goes on, as one does that Slurm runs
    process.wait()
    said = bench.run('--only', 'wmca', status=1)
    assert 'left to another process' in said and 'wmca/seed7 (running)' in said
    (bench.control / 'hold').unlink()
    bench.wait_for(bench.folder / 'out' / 'wmca' / 'seed7' / 'training' / 'last_checkpoint')
    process.stdout.close()
    assert 'wmca/seed7: finished after' in bench.run('--only', 'wmca')
    assert len(bench.starts('wmca/seed7')) == 1, (
        'the training had reached its end; only the test was left'
    )


def test_a_typo_fails_at_once_and_plans_are_printed(bench):
    bench.write(SPEC + "options = {'model.decoder.chanels': 8}\n")
    said = bench.run(status=1)
    assert "variant 'wmca': model.decoder.chanels" in said and "Did you mean 'channels'" in said
    assert 'Traceback' not in said and ': started' not in said
    bench.write(SPEC)
    assert "no variant 'nothing'; it has ['wmca', 'none', 'single_task']" in bench.run(
        '--only', 'nothing', status=1
    )
    said = bench.run(
        '--dry-run',
        '--launcher',
        'slurm',
        '--srun-args',
        '--gres=gpu:1 -p long',
        '--work-dir',
        'other',
    )
    assert said.count(': new') == NUM_RUNS and not (bench.folder / 'other').exists()
    assert re.search(
        r'srun --gres=gpu:1 -p long .* train other/none/seed1/config\.py '
        r'--work-dir '
        r'other/none/seed1/training --resume --launcher slurm',
        said,
    )


# The command, but that one of the single-task models is there at once: one real one is enough.
MOSTLY_REAL = """
import json, runpy, sys
from pathlib import Path
if 'single_task/semseg' in ' '.join(sys.argv):
    if sys.argv[1] == 'test':
        out = Path(sys.argv[sys.argv.index('--out') + 1])
        out.write_text(json.dumps(dict(metrics={'semseg/mIoU': 40.0})))
else:
    runpy.run_module('m2h_mm', run_name='__main__', alter_sys=True)
"""


def test_real_trainings_are_resumed_and_compared(two_tasks, run, tmp_path, monkeypatch):
    (tmp_path / 'two_tasks.py').write_text(two_tasks)
    spec, program = tmp_path / 'real.py', tmp_path / 'mostly_real.py'
    program.write_text(MOSTLY_REAL)
    monkeypatch.setattr(sweep_runner, 'PROGRAM', (sys.executable, str(program)))
    spec.write_text(
        "base = 'two_tasks.py'\nvariants = dict(wmca=dict())\nsingle_task = 'wmca'\n"
        "options = {'train_cfg.max_iters': 6, 'train_cfg.val_interval': 6, "
        "'default_hooks.checkpoint.interval': 2}\n"
    )
    work_dir = tmp_path / 'out'
    # What a sweep leaves behind that was interrupted after two iterations of its first run.
    (interrupted,) = (one for one in load_sweep(spec, work_dir).runs if one.variant == 'wmca')
    interrupted.folder.mkdir(parents=True)
    interrupted.config.write_text(interrupted.cfg.pretty_text)
    training = ('train', interrupted.config, '--work-dir', interrupted.training, '--no-validate')
    run(*training, '--cfg-options', 'train_cfg.max_iters=2')
    assert (interrupted.training / 'last_checkpoint').exists()

    said = run('ablate', spec, '--work-dir', work_dir, '--max-parallel', '2', '--repeats', '1')
    assert re.search(
        r'resumed epoch: 0, iter: 2', (work_dir / 'wmca' / 'seed0' / 'run.log').read_text()
    )
    assert said.count(': finished after') == 3 and 'Of one seed there is no spread' in said
    table = json.loads((work_dir / 'table.json').read_text())
    assert table['rows']['wmca']['costs']['latency'] > 0
    for name, row in table['rows'].items():
        results = [
            json.loads(path.read_text())['metrics']
            for path in (work_dir / name).rglob('results.json')
        ]
        assert row['cells']['depth/rmse']['values'] == [
            metrics['depth/rmse'] for metrics in results if 'depth/rmse' in metrics
        ]
    assert (work_dir / 'single_task' / 'depth' / 'seed0' / 'training').is_dir()

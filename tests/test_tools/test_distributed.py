"""Two processes on the CPU do what one does; the scripts start what they should."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch

from m2h_mm.engine import build_runner, installed
from m2h_mm.engine.checkpoints import load_weights
from m2h_mm.engine.config import load_config
from m2h_mm.structures.checkpoint_file import read_checkpoint

from .conftest import REPOSITORY, run_two_processes

ITERATIONS = 6
# Rooms are labelled throughout and every loss here is a mean over pixels, so that the mean over two
# processes is the loss of one with the frames of both. SILogLoss, a root of means, would not be.
# Adam divides a gradient that is rounding alone by its own size, and would not mind a sum in place
# of a mean. An epoch of the weighting is one iteration: its sums are exchanged at the end of each.
TOY = """
_base_ = {bases}
custom_imports = dict(imports=['recording'])
rooms = dict(data_root='{data}', num_train=12, num_val=5, size=(30, 44), num_workers=0)
model = dict(
    backbone=dict(frozen_stages=2),
    losses=dict(depth=dict(_delete_=True, type='L1Loss')),
    consistency=[dict(type='EdgeSemanticConsistency')],
    weighting={weighting})
train_dataloader = dict(batch_size={batch_size}, dataset=rooms)
val_dataloader = dict(dataset=rooms)
test_dataloader = dict(dataset=rooms)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=4e-3, momentum=0.9))
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
train_cfg = dict(max_iters={iterations}, val_interval={iterations})
default_hooks = dict(
    checkpoint=dict(interval={iterations}),
    logger=dict(interval=1),
    visualization=dict(num_frames=0))
log_processor = dict(window_size=1)
custom_hooks = [dict(type='RecordHook', frozen_statistics=True, parameters={parameters})]
"""
BASE = str(REPOSITORY / 'tests' / 'data' / 'toy_m2h.py')
SHARDED = str(REPOSITORY / 'configs' / 'ablations' / 'fsdp.py')


def write_config(
    folder: Path,
    name: str,
    bases: tuple[str, ...] = (BASE,),
    batch_size: int = 2,
    iterations: int = ITERATIONS,
    weighting: str = 'dict(interval=1)',
) -> str:
    path = folder / f'{name}.py'
    path.write_text(
        TOY.format(
            bases=list(bases),
            data=folder / 'rooms',
            batch_size=batch_size,
            iterations=iterations,
            weighting=weighting,
            parameters=SHARDED not in bases,  # of which no process has all
        )
    )
    return str(path)


def records(work_dir: Path) -> list[dict]:
    """What each process saw."""
    return [torch.load(path, weights_only=True) for path in sorted(work_dir.glob('record_*.pt'))]


# A checkpoint holds the sums of a dynamic weighting of the process that wrote it: across an
# interruption the weights would differ a little.
FIXED = "dict(_delete_=True, type='FixedWeighting')"
# Looks at the gradients of all frames before they are averaged by the wrapper, and remembers them.
DB_MTL = dict(weighting="dict(_delete_=True, type='DBMTL')", iterations=2)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Holds ``one``, ``fixed`` and ``db_mtl``, work dirs of trainings by this process with a batch
    of four.
    """
    folder = tmp_path_factory.mktemp('distributed')
    with pytest.MonkeyPatch.context() as patch, installed():
        patch.syspath_prepend(Path(__file__).parent)
        write_config(folder, 'one', batch_size=4)
        write_config(folder, 'fixed', batch_size=4, weighting=FIXED)
        write_config(folder, 'db_mtl', batch_size=4, **DB_MTL)
        for name in ('one', 'fixed', 'db_mtl'):
            cfg = load_config(str(folder / f'{name}.py'), {}, str(folder / name))
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
            cfg.default_hooks.checkpoint.pop('save_best')
            build_runner(cfg).train()
    return folder


@pytest.fixture(scope='module')
def two(folder) -> list[dict]:
    """What two processes saw that trained with batches of two, see two_processes.py."""
    sharded = dict(bases=(BASE, SHARDED), weighting=FIXED)
    write_config(folder, 'two')
    write_config(folder, 'two_db_mtl', **DB_MTL)
    write_config(folder, 'sharded', **sharded)
    write_config(folder, 'sharded_half', iterations=ITERATIONS // 2, **sharded)
    sharded_in = ('--work-dir', folder / 'sharded')
    run_two_processes(
        folder,
        ('train.py', folder / 'two.py', '--work-dir', folder / 'two'),
        ('test.py', folder / 'two.py', folder / 'two', '--work-dir', folder / 'test')
        + ('--out', folder / 'report.json', '--compare-constant')
        + ('--save-preds', folder / 'preds', '--show-dir', folder / 'preds' / 'pictures'),
        ('train.py', folder / 'two_db_mtl.py', '--work-dir', folder / 'two_db_mtl')
        + ('--no-validate',),
        ('train.py', folder / 'sharded_half.py', *sharded_in, '--no-validate'),
        ('train.py', folder / 'sharded.py', *sharded_in, '--resume'),
    )
    return records(folder / 'two')


def weights(work_dir: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(work_dir / f'iter_{ITERATIONS}.pth')['state_dict']


def mean_losses(processes: list[dict]) -> list[dict[str, float]]:
    """By iteration, the mean over the processes."""
    return [
        {key: sum(losses[key] for losses in at_once) / len(at_once) for key in at_once[0]}
        for at_once in zip(*(process['losses'] for process in processes), strict=True)
    ]


def assert_moved_alike(start: dict, end: dict, other: dict) -> None:
    """Every parameter has been moved by the same vector.

    Two orders of adding up a gradient in float32 differ by some 1e-6 of its terms, of which six
    steps of SGD make up to 5e-4 of a parameter's move (found with kernels for SSE4, AVX2 and
    AVX-512, with one thread and with two). A gradient that is added up instead of averaged, or is
    that of half of the frames, differs by half of it. The bound lies in the middle of the two, by
    their logarithms: 1e-2 of the move, and for a parameter that hardly moves, as its gradients
    cancel, 1e-3 of the longest move.
    """
    moves = {name: end[name] - value for name, value in start.items()}
    longest = max(move.norm() for move in moves.values())
    assert longest > 0
    for name, move in moves.items():
        difference = (other[name] - end[name]).norm()
        assert difference <= 1e-2 * move.norm() + 1e-3 * longest, name


def test_two_processes_train_as_one_with_twice_the_batch(folder, two):
    (one,) = records(folder / 'one')
    assert len(two) == 2 and two[0]['losses'] != two[1]['losses']
    # Of the same weights and frames: what differs is the order of sums in float32.
    first, expected = mean_losses(two)[0], one['losses'][0]
    assert first == pytest.approx(expected, rel=1e-5)
    assert len({losses['w_depth'] for losses in one['losses']}) > 1
    assert [losses['w_depth'] for losses in two[0]['losses']] == [
        losses['w_depth'] for losses in two[1]['losses']
    ]
    assert_moved_alike(one['start'], one['parameters'], two[0]['parameters'])
    added_up = {name: end + end - one['start'][name] for name, end in one['parameters'].items()}
    with pytest.raises(AssertionError):
        assert_moved_alike(one['start'], one['parameters'], added_up)
    assert all(
        torch.equal(value, two[1]['parameters'][name])
        for name, value in two[0]['parameters'].items()
    )


def test_two_processes_combine_the_gradients_of_all_frames(folder, two):
    (one,), both = records(folder / 'db_mtl'), records(folder / 'two_db_mtl')
    assert_moved_alike(one['start'], one['parameters'], both[0]['parameters'])
    for losses, expected in zip(both[0]['losses'], one['losses'], strict=True):
        for task in ('semseg', 'depth', 'normals', 'edge'):
            assert losses[f'w_{task}'] == pytest.approx(expected[f'w_{task}'], rel=1e-3)
            assert losses[f'raw_{task}'] != expected[f'raw_{task}']  # of its own frames alone
    assert [losses['w_edge'] for losses in both[1]['losses']] == [
        losses['w_edge'] for losses in both[0]['losses']
    ]


def test_two_processes_measure_what_one_does_though_their_frames_are_uneven(
    folder, two, monkeypatch
):
    measured = json.loads((folder / 'report.json').read_text())
    written = Counter(path.parent.name for path in (folder / 'preds').rglob('*.*'))
    assert len(written) == 5 and set(written.values()) == {measured['num_frames']}
    monkeypatch.syspath_prepend(Path(__file__).parent)
    cfg = load_config(str(folder / 'two.py'), dict(custom_hooks=[]), str(folder / 'one_test'))
    runner = build_runner(cfg)
    load_weights(runner.model, folder / 'two' / f'iter_{ITERATIONS}.pth')
    alone = runner.test()
    assert measured['metrics'] == pytest.approx(alone, rel=1e-6, nan_ok=True)
    assert measured['num_frames'] == 5
    assert measured['constant_predictor'].keys() == alone.keys()
    # During training each process saw its own frames of the five too.
    assert two[0]['validations'] == two[1]['validations']
    assert two[0]['validations'][-1]['depth/rmse'] == pytest.approx(alone['depth/rmse'], rel=1e-6)


def test_sharded_processes_train_alike_also_across_an_interruption(folder, two):
    resumed = mean_losses(records(folder / 'sharded'))
    assert len(resumed) == ITERATIONS // 2
    (fixed,) = records(folder / 'fixed')
    sharded, expected = weights(folder / 'sharded'), weights(folder / 'fixed')
    assert {name: value.shape for name, value in sharded.items()} == {
        name: value.shape for name, value in expected.items()
    }
    assert_moved_alike(fixed['start'], fixed['parameters'], sharded)


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are listed by Linux only')
def test_no_thread_outlives_the_group_of_processes(folder, two):
    for rank in (0, 1):
        assert json.loads((folder / f'threads_{rank}.json').read_text()) == [[]] * 5


# Stand in for the interpreter, which says what it was asked to run, and for Slurm, of which this is
# the second of two machines.
PYTHON = '#!/usr/bin/env bash\necho "$@"\n'
SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do [[ $1 == -p ]] && shift; echo "srun $1"; shift; done
SLURM_NNODES=2 SLURM_NODEID=1 SLURM_JOB_ID=30007 SLURM_JOB_NODELIST='n[1-2]' exec "$@"
"""
SCONTROL = "#!/usr/bin/env bash\n[[ $* == 'show hostnames n[1-2]' ]] && printf 'n1\\nn2\\n'\n"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """``script(name, *arguments)``: the lines that a script in tools/ says."""
    for name, content in (('python', PYTHON), ('srun', SRUN), ('scontrol', SCONTROL)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'PYTHON', 'GRES', 'GPUS'):
        monkeypatch.delenv(name, raising=False)

    def script(name: str, *arguments: str, **environment: str) -> list[str]:
        done = subprocess.run(
            [REPOSITORY / 'tools' / name, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
        return (done.stdout + done.stderr).splitlines()

    return script


def test_the_scripts_start_torchrun(script):
    tools = REPOSITORY / 'tools'
    start = '-m torch.distributed.run --standalone --nproc_per_node'
    assert script('dist_train.sh', 'a.py', '2', '--amp') == [
        f'{start} 2 {tools}/train.py a.py --amp --launcher pytorch'
    ]
    assert script('dist_test.sh', 'a.py', 'a.pth', '3', '--out', 'b') == [
        f'{start} 3 {tools}/test.py a.py a.pth --out b --launcher pytorch'
    ]
    meeting = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='n1', PORT='3')
    (said,) = script('dist_train.sh', 'a.py', '2', **meeting)
    assert '--nnodes 2 --node_rank 1 --master_addr n1 --master_port 3 --nproc_per_node 2' in said
    assert 'usage' in script('dist_train.sh', 'a.py')[0]


def test_slurm_starts_torchrun_once_per_machine(script):
    task = ('slurm_train.sh', 'long', 'job', 'a.py', '--resume')
    *asked, said = script(*task, GPUS='8', GPUS_PER_NODE='4', CPUS_PER_TASK='3')
    for option in ('--gres=gpu:4', '--nodes=2', '--ntasks-per-node=1', '--cpus-per-task=12'):
        assert f'srun {option}' in asked
    assert said == (
        '-m torch.distributed.run --nnodes 2 --node_rank 1 --master_addr n1 --master_port 20007 '
        f'--nproc_per_node 4 {REPOSITORY}/tools/train.py a.py --resume --launcher pytorch'
    )
    assert not any('--gres' in option for option in script(*task, GRES='', GPUS='2'))
    assert 'cannot be shared out' in script(*task, GPUS='6', GPUS_PER_NODE='4')[0]

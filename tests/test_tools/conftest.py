"""A model and a data set of toy size, and tools that run in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

TOY = """
_base_ = '{repository}/tests/data/toy_m2h.py'
rooms = dict(data_root='{data}', num_train=6, num_val=3, size=(30, 44), num_workers=0)
model = dict(
    backbone=dict(), decoder=dict(), heads=dict(semseg=dict(), depth=dict()),
    weighting=dict(interval=2))
train_dataloader = dict(batch_size=2, dataset=rooms)
val_dataloader = dict(dataset=rooms)
test_dataloader = dict(dataset=rooms)
train_cfg = dict(max_iters=6, val_interval=6)
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=3), visualization=dict(num_frames=1))
"""


@pytest.fixture(scope='session')
def rooms_root(tmp_path_factory) -> Path:
    """Where the toy rooms are rendered, once per test process."""
    return tmp_path_factory.mktemp('rooms')


@pytest.fixture
def toy_config(tmp_path, rooms_root):
    """``toy_config(extra)``: path of a config of toy size, with lines appended."""

    def write(extra: str = '', name: str = 'toy') -> Path:
        path = tmp_path / f'{name}.py'
        path.write_text(TOY.format(repository=REPOSITORY, data=rooms_root) + extra)
        return path

    return write


def start(tool: str, *arguments: object, **environment: str) -> subprocess.Popen:
    """Start ``tools/<tool>`` from outside the repository; configs may import what is beside the
    tests.
    """
    interpreter = [sys.executable] if tool.endswith('.py') else []
    # The package under test is that of this repository, whichever one is installed.
    path = environment.pop('PYTHONPATH', str(Path(__file__).parent))
    return subprocess.Popen(
        [*interpreter, str(REPOSITORY / 'tools' / tool), *map(str, arguments)],
        cwd=Path(arguments[0]).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'CUDA_VISIBLE_DEVICES': '-1',
            'PYTHON': sys.executable,
            'PYTHONPATH': os.pathsep.join([path, str(REPOSITORY)]),
            **environment,
        },
    )


def run_script(tool: str, *arguments: object, status: int = 0, **environment: str) -> str:
    """What ``tools/<tool>`` printed in a process of its own; another status is a failure."""
    process = start(tool, *arguments, **environment)
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == status, output
    return output


def run_two_processes(folder: Path, *calls: tuple[object, ...]) -> None:
    """Two processes call tools together, one after the other: ``('train.py', config, ...)``. See
    two_processes.py, which leaves what it needs in ``folder``.
    """
    (folder / 'calls.json').write_text(json.dumps([[*map(str, call)] for call in calls]))
    script = Path(__file__).with_name('two_processes.py')
    environment = dict(
        os.environ,
        OMP_NUM_THREADS='1',
        CUDA_VISIBLE_DEVICES='-1',
        PYTHONPATH=f'{script.parent}:{REPOSITORY}',
    )
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        for rank in (0, 1)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], '\n\n'.join(said)

"""Kill a training again and again, and compare it with one that was left alone: ``python
benchmarks/fault_drill.py``.

A short training is killed (SIGKILL) in turn in the middle of writing a checkpoint, which is told by
its temporary file, in a validation, and at a random moment; each time it goes on by ``--resume``.
At the end nothing may tell the two apart: not the frames and the loss of any iteration, not the
weights, the states of optimizer and schedule and the best score, to the last bit, not the files
that are there. Exits with 1 where something does.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from m2h_mm.engine.checkpoint_search import find_checkpoint
from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.registry import HOOKS

REPOSITORY = Path(__file__).resolve().parents[1]
FRAMES, SAID, VALIDATION = 'frames.jsonl', 'said.txt', 'validation'
NEVER, ANY, WRITING, VALIDATING = 'never', 'at random', 'while writing', 'while validating'
POLL = 0.0005  # seconds
RESULT = ('state_dict', 'optimizer', 'param_schedulers', 'random_state')
CONFIG = """
_base_ = '{config}'
custom_imports = dict(imports=['fault_drill'])
custom_hooks = [dict(type='FramesHook')]
rooms = dict(data_root='{data}', num_train=20, num_val=2, size=(30, 44), num_workers=0)
train_dataloader = dict(dataset=rooms)
val_dataloader = dict(dataset=rooms)
test_dataloader = dict(dataset=rooms)
train_cfg = dict(max_iters={iters}, val_interval=8)
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=4), visualization=dict(num_frames=0))
"""


@HOOKS.register_module()
class FramesHook(Hook):
    """Writes which frames each iteration is given and what its loss is, a line each, at once; and a
    file that is there during validations.
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        frames = [sample.frame_id for sample in data_batch['data_samples']]
        with open(Path(runner.work_dir, FRAMES), 'a') as file:
            file.write(json.dumps([runner.iter + 1, frames, float(outputs['loss'])]) + '\n')

    def before_val_epoch(self, runner: Runner) -> None:
        Path(runner.work_dir, VALIDATION).touch()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        Path(runner.work_dir, VALIDATION).unlink()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--config',
        type=Path,
        default=REPOSITORY / 'tests' / 'data' / 'toy_m2h.py',
        help='a config on rooms (%(default)s)',
    )
    parser.add_argument('--kills', type=int, default=20, help='(%(default)s)')
    parser.add_argument('--iters', type=int, default=160, help='of the training (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the moments (%(default)s)')
    parser.add_argument(
        '--work-dir', type=Path, default='work_dirs/fault_drill', help='made anew (%(default)s)'
    )
    return parser.parse_args()


def start(config: Path, work_dir: Path) -> subprocess.Popen:
    work_dir.mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get('PYTHONPATH'))))
    command = [
        sys.executable,
        REPOSITORY / 'tools' / 'train.py',
        config,
        '--work-dir',
        work_dir,
        '--resume',
    ]
    with open(work_dir / SAID, 'w') as said:
        return subprocess.Popen(
            list(map(str, command)),
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        )


def iterations(work_dir: Path) -> list[tuple[int, list[str], float]]:
    """What :class:`FramesHook` wrote, without the line that a killed process may have left
    half-written.
    """
    path = work_dir / FRAMES
    lines = path.read_text().split('\n')[:-1] if path.is_file() else []
    return [tuple(json.loads(line)) for line in lines]


def temporaries(work_dir: Path) -> Iterator[Path]:
    return work_dir.glob('*.tmp')


def wait_for(
    process: subprocess.Popen, work_dir: Path, moment: str, rng: np.random.Generator
) -> None:
    """Return at the moment at which the process is to be killed, or when it has ended."""
    pause = rng.uniform(0, 0.5)
    until = len(iterations(work_dir)) + rng.integers(0, 10)
    passed_over = rng.integers(0, 3)  # files that are written before the one that is not
    old = set(temporaries(work_dir))
    (work_dir / VALIDATION).unlink(missing_ok=True)
    while process.poll() is None:
        new = set(temporaries(work_dir)) - old
        if moment == WRITING and new:
            if not passed_over:
                return
            passed_over -= 1
            old |= new
        elif moment == ANY and len(iterations(work_dir)) >= until:
            time.sleep(pause)
            return
        elif moment == VALIDATING and (work_dir / VALIDATION).exists():
            time.sleep(pause / 10)
            return
        time.sleep(POLL)


def drill(kills: int, seed: int, config: Path, work_dir: Path) -> tuple[list[tuple], list[str]]:
    """Train with interruptions. Rows of the table; what went wrong."""
    rng = np.random.default_rng(seed)
    rows, problems = [], []
    for run in range(1, kills + 2):
        moment = NEVER if run > kills else (ANY, WRITING, VALIDATING)[run % 3]
        before = len(iterations(work_dir))
        newest, skipped = find_checkpoint(work_dir)
        resumed = read_checkpoint(newest)['meta']['iter'] if newest else 0
        process = start(config, work_dir)
        if moment != NEVER:
            wait_for(process, work_dir, moment, rng)
            process.kill()
        status = process.wait()
        done = [number for number, *_ in iterations(work_dir)[before:]]
        left = [re.sub(r'\.\d+\.tmp', '', path.name) for path in temporaries(work_dir)]
        rows.append(
            (
                str(run),
                moment,
                str(resumed),
                f'{done[0]} to {done[-1]}' if done else 'none',
                ', '.join(left),
            )
        )
        if status not in (0, -signal.SIGKILL):
            problems.append(f'Run {run} crashed: ' + (work_dir / SAID).read_text()[-1000:])
        if done != list(range(resumed + 1, resumed + 1 + len(done))):
            problems.append(f'Run {run} did not go on from iteration {resumed}: {done}.')
        if skipped:
            problems.append(f'Run {run} found damaged checkpoints: {skipped}.')
        if moment != NEVER and status == 0:
            problems.append(
                f'Run {run} ended before it could be killed: more --iters are needed for {kills} '
                'kills.'
            )
            break
    return rows, problems


def same(one: object, other: object) -> bool:
    """Equal to the last bit, whatever is nested in what."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def compare(whole: Path, killed: Path, iters: int) -> list[str]:
    """What tells the killed training from the whole one."""
    problems = []
    expected = {number: rest for number, *rest in iterations(whole)}
    found = iterations(killed)
    if sorted({number for number, *_ in found}) != list(range(1, iters + 1)):
        problems.append('Iterations are missing.')
    problems += [
        f'Iteration {number} had {rest}, expected {expected[number]}.'
        for number, *rest in found
        if rest != expected[number]
    ]
    one, other = (read_checkpoint(folder / f'iter_{iters}.pth') for folder in (whole, killed))
    problems += [
        f'{key} of the last checkpoint differs.' for key in RESULT if not same(one[key], other[key])
    ]
    scores = [
        checkpoint['message_hub']['runtime_info'].get('best_score') for checkpoint in (one, other)
    ]
    if scores[0] != scores[1]:
        problems.append(f'The best score is {scores[1]}, expected {scores[0]}.')
    files = [
        sorted(path.name for path in folder.glob('*.*') if path.suffix in ('.pth', '.tmp'))
        for folder in (whole, killed)
    ]
    if files[0] != files[1]:
        problems.append(f'{killed} holds {files[1]}, expected {files[0]}.')
    return problems


def main() -> None:
    args = parse_args()
    folder = args.work_dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = folder / 'drill.py'
    config.write_text(
        CONFIG.format(config=args.config.resolve(), data=folder / 'rooms', iters=args.iters)
    )
    if start(config, folder / 'whole').wait():
        sys.exit((folder / 'whole' / SAID).read_text())
    rows, problems = drill(args.kills, args.seed, config, folder / 'killed')
    problems += compare(folder / 'whole', folder / 'killed', args.iters) if not problems else []
    table = Table(title=f'{args.kills} kills in {args.iters} iterations')
    for name in ('run', 'killed', 'from iteration', 'iterations', 'left half-written'):
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    print(
        '\n'.join(problems)
        or 'Frames, losses, weights, optimizer, schedule and files are those '
        'of the training '
        'that was left alone.'
    )
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()

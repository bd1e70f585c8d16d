"""Train for long and watch the memory: ``python benchmarks/soak.py``.

The memory of the training process and of its loader's workers is noted every few iterations, as
their proportional set size: pages that several processes share count once over all of them, so that
workers do not seem to grow when they copy a page that they shared. Pages of files, such as torch's
libraries, are left out: their share depends on what else runs on the machine. After a warm-up both
must be flat: the slopes over the rest, by Theil and Sen, who do not mind single peaks, are printed
and compared with ``--tolerance``. Linux only.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import DictAction
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from scipy.stats import theilslopes

from m2h_mm.engine import install
from m2h_mm.engine.config import CONFIGS, load_config
from m2h_mm.system import write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--config',
        default=str(CONFIGS / 'm2h' / 'm2h_tiny_rooms.py'),
        help='a config on rooms (%(default)s)',
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(42, 56),
        metavar=('H', 'W'),
        help='of the frames, pixels (42 56)',
    )
    parser.add_argument('--iters', type=int, default=2000, help='(%(default)s)')
    parser.add_argument('--num-workers', type=int, default=2, help='(%(default)s)')
    parser.add_argument(
        '--events',
        type=int,
        default=250,
        help='iterations from one checkpoint and validation to the next (%(default)s)',
    )
    parser.add_argument(
        '--every', type=int, default=10, help='iterations from one note to the next (%(default)s)'
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        default=2.0,
        metavar='MIB',
        help='growth per 1,000 iterations that is called flat (%(default)s)',
    )
    parser.add_argument('--work-dir', default='work_dirs/soak', help='(%(default)s)')
    parser.add_argument('--plot', metavar='PNG', help='draw the memory over the iterations')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values',
    )
    return parser.parse_args()


def proportional_mib(pid: int | str) -> float:
    """Memory of a process in MiB; 0 if it has just ended."""
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:
        return 0.0
    return sum(
        float(line.split()[1]) / 1024
        for line in lines
        if line.startswith(('Pss_Anon:', 'Pss_Shmem:'))
    )


class MemoryHook(Hook):
    """Notes ``(iteration, MiB of the training process, MiB of its workers)``.

    Args:
        interval: iterations from one note to the next.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.notes: list[tuple[int, float, float]] = []

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        if self.every_n_train_iters(runner, self.interval):
            workers = Path('/proc/self/task').glob('*/children')
            pids = {pid for file in workers for pid in file.read_text().split()}
            self.notes.append(
                (runner.iter + 1, proportional_mib('self'), sum(map(proportional_mib, pids)))
            )


def draw(notes: np.ndarray, warmup: int, path: str) -> None:
    figure = Figure(figsize=(6, 2.6), layout='constrained')
    axes = figure.add_subplot()
    for column, label in ((1, 'training process'), (2, 'workers of both loaders')):
        axes.plot(notes[:, 0], notes[:, column], label=label)
    axes.axvline(warmup, color='grey', linewidth=1, linestyle=':')
    axes.set(xlabel='iteration', ylabel='memory, MiB', ylim=(0, None))
    axes.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main() -> None:
    args = parse_args()
    rooms = dict(
        data_root=str(Path(args.work_dir, 'rooms')),
        num_train=100,
        num_val=10,
        size=tuple(args.size),
    )
    loader = dict(
        num_workers=args.num_workers, persistent_workers=args.num_workers > 0, dataset=rooms
    )
    cfg = load_config(args.config, {}, args.work_dir)
    cfg.merge_from_dict(
        dict(
            train_dataloader=loader,
            val_dataloader=loader,
            visualizer=dict(vis_backends=None),
            train_cfg=dict(max_iters=args.iters, val_interval=args.events),
            default_hooks=dict(
                checkpoint=dict(interval=args.events), logger=dict(interval=args.events)
            ),
        )
    )
    cfg.merge_from_dict(args.cfg_options)
    hook = MemoryHook(args.every)
    install()
    runner = Runner.from_cfg(cfg)
    runner.register_hook(hook)
    runner.train()

    notes = np.array(hook.notes)
    warmup = args.iters // 4
    settled = notes[notes[:, 0] > warmup]
    write_atomically(Path(args.work_dir, 'soak.json'), json.dumps(hook.notes))
    table = Table(title=f'{len(settled)} notes after iteration {warmup:,} of {args.iters:,}, MiB')
    for name in ('', 'first', 'last', 'lowest', 'highest', 'growth per 1,000 iterations'):
        table.add_column(name, justify='right' if name else 'left')
    growth = []
    for column, name in ((1, 'training process'), (2, 'workers of both loaders')):
        values = settled[:, column]
        slope, *_, low, high = 1000 * np.array(theilslopes(values, settled[:, 0]))
        growth.append(slope)
        table.add_row(
            name,
            *(f'{value:.1f}' for value in (values[0], values[-1], values.min(), values.max())),
            f'{slope:+.2f} ({low:+.2f} to {high:+.2f})',
        )
    Console().print(table)
    if args.plot:
        draw(notes, warmup, args.plot)
    sys.exit(int(max(growth) > args.tolerance))


if __name__ == '__main__':
    main()

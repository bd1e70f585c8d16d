"""What a cache of a frozen backbone's features saves: ``python benchmarks/feature_cache.py``.

Trainings on the same rooms, in turn: without a cache, with one that they fill, with one that is
full; random weights, which take as long as trained ones. Printed are ratios within each round, and
whether the losses are the same.
"""

import argparse
import tempfile
from itertools import count
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from m2h_mm.engine import install
from m2h_mm.engine.config import load_config
from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.registry import MODELS

RUNS = ('without', 'filling', 'reading')
NUMBERS = count()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default='mtl_vits_nyud', help='(%(default)s)')
    parser.add_argument(
        '--data-root', default='data/rooms', help='where the rooms are rendered (%(default)s)'
    )
    parser.add_argument('--size', type=int, nargs=2, default=(224, 224), metavar=('H', 'W'))
    parser.add_argument('--frames', type=int, default=32, help='rooms (%(default)s)')
    parser.add_argument('--iterations', type=int, default=16, help='of each training (%(default)s)')
    parser.add_argument('--batch-size', type=int, default=2, help='(%(default)s)')
    parser.add_argument('--rounds', type=int, default=2, help='(%(default)s)')
    parser.add_argument('--dtype', help='of the cache: float16 or bfloat16 (as computed)')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


class Recorder(Hook):
    """The loss of every iteration, and how long each took from batch to step, the first one left
    out.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.times: list[float] = []

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        self.start = perf_counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        self.losses.append(outputs['loss'].item())
        self.times.append(perf_counter() - self.start)


def train(args: argparse.Namespace, work_dir: Path, weights: Path, cache: Path | None) -> Recorder:
    cfg = load_config(args.config)
    rooms = dict(
        type='RoomsDataset',
        data_root=args.data_root,
        num_train=args.frames,
        num_val=1,
        size=tuple(args.size),
    )
    cfg.train_dataloader.update(batch_size=args.batch_size, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.update(rooms)
    cfg.train_dataloader.dataset.pipeline = [
        dict(type=name)
        for name in (
            'LoadMultiTaskImage',
            'LoadMultiTaskLabels',
            'RandomFlip',
            'PackMultiTaskInputs',
        )
    ]
    cfg.train_cfg.max_iters, cfg.param_scheduler = args.iterations, []
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    cfg.default_hooks.pop('visualization')
    if cache is not None:
        cfg.default_hooks.features = dict(
            type='FeatureCacheHook', folder=str(cache), dtype=args.dtype
        )
    cfg.model.freeze_backbone = True
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(weights))
    cfg.update(
        work_dir=str(work_dir),
        experiment_name=f'feature_cache_{next(NUMBERS)}',
        log_level='WARNING',
    )
    install()
    runner, recorder = Runner.from_cfg(cfg), Recorder()
    runner.register_hook(recorder)
    runner.train()
    return recorder


def main() -> None:
    args = parse_args()
    init_default_scope('m2h_mm')
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    losses = []
    with tempfile.TemporaryDirectory() as folder:
        weights, work_dir = Path(folder) / 'backbone.pth', Path(folder) / 'work'
        backbone = load_config(args.config).model.backbone
        torch.save(MODELS.build(dict(backbone, init_cfg=None)).state_dict(), weights)
        for index in range(args.rounds):
            cache = Path(folder) / f'cache_{index}'
            for name in RUNS:
                run = train(args, work_dir, weights, None if name == 'without' else cache)
                seconds[name].append(float(np.median(run.times[1:])))
                losses.append(run.losses)
        size = (
            sum(path.stat().st_size for path in cache.rglob('*.pt'))
            / len(list(cache.rglob('*.pt')))
            / 1e6
        )
    ratios = {
        name: float(np.median(np.divide(values, seconds['without'])))
        for name, values in seconds.items()
    }
    same = all(run == losses[0] for run in losses)
    furthest = max(abs(np.divide(run, losses[0]) - 1).max() for run in losses)

    table = Table(
        title=f'{Path(args.config).stem}, {args.batch_size} frames of {args.size[0]}x{args.size[1]}'
    )
    for column in ('training', 'seconds per iteration', 'without / this'):
        table.add_column(column, justify='left' if column == 'training' else 'right')
    for name in RUNS:
        table.add_row(
            f'{name} a cache', f'{np.median(seconds[name]):.3f}', f'{1 / ratios[name]:.2f}'
        )
    Console().print(table)
    print(
        f'{size:.2f} MB per image. Losses of all trainings: '
        + ('the same to the last bit.' if same else f'within {furthest:.1e} of each other.')
    )
    if args.out:
        write_report(
            args.out,
            dict(
                seconds=seconds,
                ratios=ratios,
                same=same,
                furthest=float(furthest),
                size_mb=size,
                config=args.config,
                size=list(args.size),
                threads=torch.get_num_threads(),
                versions=versions(),
            ),
        )


if __name__ == '__main__':
    main()

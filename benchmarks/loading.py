"""Time the loading of training frames: ``python benchmarks/loading.py``.

The frames are rendered rooms of NYUD's size, read by the pipeline and in the batches of
``--config``. First each transform is timed in one process, then the whole loader with its worker
processes. The processor time of a frame holds also on a machine with other work; the frames per
second do not.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from rich.console import Console
from rich.table import Table

from m2h_mm.datasets import DrawIndex, RoomsDataset
from m2h_mm.engine.config import load_config

NYUD = Path(__file__).parents[1] / 'configs' / '_base_' / 'datasets' / 'nyud.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_loader_arguments(parser, NYUD)
    parser.add_argument(
        '--batches', type=int, default=72, help='of the loader, in each repeat (%(default)s)'
    )
    parser.add_argument('--repeats', type=int, default=5, help='(%(default)s)')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


def add_loader_arguments(parser: argparse.ArgumentParser, config: Path) -> None:
    """What :func:`build_rooms` needs; ``config`` is the default."""
    parser.add_argument(
        '--config', default=str(config), help='whose train_dataloader is timed (%(default)s)'
    )
    parser.add_argument(
        '--data-root', default='data/rooms', help='where the rooms are rendered (%(default)s)'
    )
    parser.add_argument('--frames', type=int, default=64, help='rooms (%(default)s)')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(425, 560), metavar=('H', 'W'), help='of a room'
    )
    parser.add_argument(
        '--num-workers', type=int, default=2, help='processes of the loader (%(default)s)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE'
    )


def build_rooms(args: argparse.Namespace) -> tuple[Config, RoomsDataset]:
    """The config, and rooms that its train_dataloader now loads; the process is set up as a
    training's is.
    """
    cfg = load_config(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope('m2h_mm')
    # As the trainings do, see configs/_base_/default_runtime.py.
    set_multi_processing('fork', opencv_num_threads=0)
    torch.set_num_threads(1)
    loader = cfg.train_dataloader
    rooms = RoomsDataset(
        args.data_root,
        pipeline=loader.dataset.pipeline,
        num_train=args.frames,
        num_val=1,
        size=args.size,
    )
    loader.update(dataset=rooms, num_workers=args.num_workers, persistent_workers=False)
    return cfg, rooms


def summarise(values: list[float]) -> dict[str, float]:
    return dict(median=float(np.median(values)), lowest=min(values), highest=max(values))


def time_transforms(dataset: RoomsDataset, repeats: int) -> dict[str, dict[str, float]]:
    """Processor milliseconds per frame, mean over the frames: of each transform, and ``total``."""
    spent: dict[str, list[float]] = {}
    steps = list(dataset.pipeline.transforms)

    def timed(step: Callable[[dict], dict]) -> Callable[[dict], dict]:
        def call(results: dict) -> dict:
            start = time.process_time()
            results = step(results)
            spent[type(step).__name__][-1] += 1000 * (time.process_time() - start) / len(dataset)
            return results

        return call

    dataset.pipeline.transforms = [timed(step) for step in steps]
    for repeat in range(-1, repeats):  # The first one warms up.
        for name in ('total', *(type(step).__name__ for step in steps)):
            spent.setdefault(name, []).append(0.0)
        start = time.process_time()
        for index in range(len(dataset)):
            dataset[DrawIndex(index, draw=index, seed=max(repeat, 0))]
        spent['total'][-1] = 1000 * (time.process_time() - start) / len(dataset)
    dataset.pipeline.transforms = steps
    return {name: summarise(values[1:]) for name, values in spent.items()}


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def time_loader(config: ConfigDict, batches: int, repeats: int) -> dict[str, dict[str, float]]:
    """Frames per second between the first and the last batch, and frames per processor second of
    all processes.
    """
    per_second, per_processor_second = [], []
    for seed in range(-1, repeats):
        before = processor_seconds()
        iterator = iter(Runner.build_dataloader(config, seed=max(seed, 0)))
        frames = len(next(iterator)['inputs'])
        start = time.perf_counter()
        frames_after = sum(len(next(iterator)['inputs']) for _ in range(batches - 1))
        elapsed = time.perf_counter() - start
        del iterator  # Ends the workers.
        if seed >= 0:
            per_second.append(frames_after / elapsed)
            per_processor_second.append((frames + frames_after) / (processor_seconds() - before))
    return dict(
        frames_per_second=summarise(per_second),
        frames_per_processor_second=summarise(per_processor_second),
    )


def show(report: dict) -> None:
    table = Table(title='Loading a training frame')
    for column in ('', 'median', 'lowest', 'highest'):
        table.add_column(column, justify='left' if not column else 'right')
    for name, values in report['transforms_ms'].items():
        table.add_row(
            f'{name}, ms of processor time', *(f'{value:.2f}' for value in values.values())
        )
        if name == 'total':
            table.add_section()
    table.add_section()
    for name, values in report['loader'].items():
        table.add_row(name.replace('_', ' '), *(f'{value:.1f}' for value in values.values()))
    Console().print(table)


def main() -> None:
    args = parse_args()
    cfg, rooms = build_rooms(args)
    loader = cfg.train_dataloader
    report = dict(
        transforms_ms=time_transforms(rooms, args.repeats),
        loader=time_loader(loader, args.batches, args.repeats),
        frames=args.frames,
        size=list(args.size),
        num_workers=args.num_workers,
        batch_size=loader.batch_size,
        opencv=cv2.__version__,
        torch=torch.__version__,
    )
    show(report)
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2))


if __name__ == '__main__':
    main()

"""Where the time of a training iteration and of an evaluation goes: ``python
benchmarks/stages.py``.

The training is mmengine's Runner with the hooks of ``--config`` on rendered rooms, one batch of
them again and again; the device is idle where a stage begins and ends. The loader is timed by
itself, with sleeps of ``--step-seconds`` in place of the training.

Without a GPU it says what the host does beside one: the processor time of loading, and of the same
training with images, parameters and gradients so small that to call an operation takes longer than
the operation. What a GPU is left with is counted, the bytes of all but the network and the
operations of the network.

    python benchmarks/stages.py                                # on a GPU
    python benchmarks/stages.py --skip-model                   # on a CPU: whatever is not the
    network python benchmarks/stages.py --crop 112 112 --batch-size 2  # on a CPU: the network as
    well
"""

import argparse
import itertools
import time
from collections.abc import Sequence

import numpy as np
import torch
from boundary_evaluation import noisy_prediction
from loading import add_loader_arguments, build_rooms, time_transforms
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from mmengine.structures import PixelData
from rich.console import Console
from rich.table import Table
from speed_costs import count_flops
from speed_models import Cell
from stages_training import BACKWARD, FORWARD, DividedTraining, StandIn, train
from torch import Tensor
from torch.nn import functional as F

from m2h_mm.datasets import DrawIndex, RoomsDataset
from m2h_mm.engine.config import CONFIGS
from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.timing import StageClock
from m2h_mm.registry import EVALUATOR, MODELS
from m2h_mm.tasks import Task

HOST_ITERATIONS = 100  # two intervals between logs
TINY_CROP = (14, 14)
MS, GIGA = 1e3, 1e9
Stages = dict[str, dict[str, float]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_loader_arguments(parser, CONFIGS / 'm2h' / 'm2h_vits_nyud.py')
    parser.add_argument(
        '--crop', type=int, nargs=2, metavar=('H', 'W'), help="of training (the config's)"
    )
    parser.add_argument('--batch-size', type=int, help="(the config's)")
    parser.add_argument(
        '--skip-model', action='store_true', help='random outputs and gradients for the network'
    )
    parser.add_argument(
        '--step-seconds',
        type=float,
        nargs='+',
        default=[0.1, 0.25, 0.5, 1.0],
        metavar='S',
        help='of the steps that the loader is timed beside (%(default)s)',
    )
    parser.add_argument(
        '--batches', type=int, default=12, help='of the loader, for each of them (%(default)s)'
    )
    parser.add_argument('--iterations', type=int, default=5, help='of the training (%(default)s)')
    parser.add_argument('--eval-frames', type=int, default=8, help='(%(default)s)')
    parser.add_argument('--out', metavar='JSON')
    args = parser.parse_args()
    if min(args.batches, args.iterations, args.eval_frames, args.frames) < 1:
        parser.error('expected --batches, --iterations, --eval-frames and --frames of at least 1')
    return args


# ---- loading
def set_crop(rooms: RoomsDataset, crop: Sequence[int]) -> None:
    sized = [step for step in rooms.pipeline.transforms if getattr(step, 'size', None)]
    if not sized:
        raise ValueError(
            'train_dataloader.dataset.pipeline: expected RandomCrop(size=...) and Pad(size=...), '
            'whose size can be changed, got neither. Take a config that crops.'
        )
    for step in sized:
        step.size = tuple(crop)


def time_waits(cfg: Config, seconds: Sequence[float], batches: int) -> dict[str, dict[str, float]]:
    """By the step's seconds: milliseconds that the main process waits for a batch, and is busy with
    receiving it.
    """
    found = {}
    for step in seconds:
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        clock, batch = StageClock(), iter(loader)
        # What was loaded while the workers had nothing else to do is used up first.
        for _ in range(1 + 2 * loader.num_workers + batches):
            clock.next_round()
            with clock.stage('wait'):
                next(batch)
            time.sleep(step)
        del batch  # Ends the workers.
        found[str(step)] = milliseconds(clock, batches)['wait']
    return found


# ---- evaluation
def imagine(task: Task, label: Tensor, seed: int) -> Tensor:
    """A prediction ``(C, H, W)`` not far from the truth."""
    noise = torch.randn(label.shape, generator=torch.Generator().manual_seed(seed))
    if task.name == 'edge':
        return torch.from_numpy(noisy_prediction(label[0].numpy(), seed))[None]
    if task.name == 'semseg':  # borders displaced, and every tenth pixel the class of another
        return (
            torch.where(noise.abs() < 0.12, label.flip(1), label.roll(3, 2))
            .clamp(max=task.num_classes - 1)
            .long()
        )
    if task.name == 'normals':
        return F.normalize(label + 0.3 * noise, dim=0)
    return label.clamp(min=1) * (0.1 * noise).exp()


def evaluate(cfg: Config, frames: RoomsDataset, count: int, network: StandIn | None) -> Stages:
    """Milliseconds per frame of each stage; of the end of a metric, per evaluation."""
    device = get_device()
    model = MODELS.build(cfg.model).to(device).eval()
    run_network, model.run_network = network or model.run_network, lambda *_: outputs
    metrics = chosen_metrics(cfg)
    clock = StageClock(device)
    for index in range(count + 1):  # The first one warms up.
        clock.next_round()
        with clock.stage('loading'):
            sample = frames[index % len(frames)]
        labels = {
            name: sample['data_samples'].get(task.gt_field).data
            for name, task in model.tasks.items()
        }
        with clock.stage('to the device, normalise, stack'):
            batch = model.data_preprocessor(pseudo_collate([sample]))
        with clock.stage(FORWARD), torch.no_grad():
            outputs = run_network(batch['inputs'], None)
        with clock.stage('outputs to predictions'), torch.no_grad():
            model.predict(**batch)
        for name, task in model.tasks.items():
            prediction = imagine(task, labels[name], index).to(device)
            batch['data_samples'][0].set_field(PixelData(data=prediction), task.pred_field)
        for name, metric in metrics.items():
            with clock.stage(name):
                metric.process(None, batch['data_samples'])
    found = milliseconds(clock, count)
    clock.next_round()
    for name, metric in metrics.items():
        with clock.stage(f'{name}: the end, once'):
            metric.evaluate(count + 1)
    return found | milliseconds(clock, 1)


def chosen_metrics(cfg: Config) -> dict[str, BaseMetric]:
    """Those of the test, and of the validation those that are others."""
    test, val = cfg.test_evaluator, cfg.val_evaluator
    chosen = {f'metric {metric.prefix}': metric for metric in EVALUATOR.build(test).metrics}
    return chosen | {
        f'metric {metric.prefix}, validation': metric
        for metric in EVALUATOR.build(val).metrics
        if val.metrics.get(metric.prefix) != test.metrics.get(metric.prefix)
    }


# ---- report
def milliseconds(clock: StageClock, count: int) -> Stages:
    """By stage, of the last ``count`` rounds."""
    rounds = clock.rounds[-count:]
    found = {}
    for name in dict.fromkeys(itertools.chain(*rounds)):
        wall, processor = (
            MS * np.array([spent[name][kind] for spent in rounds]) for kind in (0, 1)
        )
        found[name] = dict(
            wall=float(np.median(wall)),
            processor=float(np.median(processor)),
            wall_mean=float(wall.mean()),
            processor_mean=float(processor.mean()),
        )
    return found


def outside_network(stages: Stages, value: str) -> float:
    return sum(found[value] for name, found in stages.items() if name not in (FORWARD, BACKWARD))


def build_report(args: argparse.Namespace) -> dict:
    cfg, rooms = build_rooms(args)
    cfg.model.backbone.init_cfg = None
    cfg.train_dataloader.batch_size = args.batch_size or cfg.train_dataloader.batch_size
    if args.crop:
        set_crop(rooms, args.crop)
    frames = RoomsDataset(
        args.data_root,
        pipeline=cfg.val_dataloader.dataset.pipeline,
        num_train=args.frames,
        num_val=1,
        size=args.size,
    )

    def batch() -> list[dict]:
        count = cfg.train_dataloader.batch_size
        return [rooms[DrawIndex(index % len(rooms), draw=index, seed=0)] for index in range(count)]

    loading = dict(
        frame=time_transforms(rooms, 2)['total'],
        waits=time_waits(cfg, args.step_seconds, args.batches),
    )
    stand_in = StandIn(cfg)
    samples = batch()
    whole = DividedTraining(stand_in, args.skip_model)
    train(cfg, samples, args.iterations, whole)
    set_crop(rooms, TINY_CROP)
    host = DividedTraining(stand_in, skip_model=True, host_only=True)
    train(cfg, batch(), HOST_ITERATIONS, host)
    size = tuple(samples[0]['inputs'].shape[1:])
    divisor = stand_in.model.pipeline.size_divisor
    cell = Cell(
        '',
        'frozen',
        tuple(-(-length // divisor) * divisor for length in size),
        len(samples),
        'fp32',
        'cpu',
        'train',
    )
    return dict(
        loading=loading,
        training=milliseconds(whole.clock, args.iterations),
        host=milliseconds(host.clock, HOST_ITERATIONS),
        bytes_outside_network=whole.traffic,
        operations_of_network=count_flops(stand_in.model, cell),
        evaluation=evaluate(cfg, frames, args.eval_frames, stand_in if args.skip_model else None),
        config=args.config,
        size=list(args.size),
        crop=list(size),
        batch_size=len(samples),
        device=get_device(),
        gpu=torch.cuda.get_device_name() if get_device() == 'cuda' else None,
        skip_model=args.skip_model,
        num_workers=args.num_workers,
        threads=torch.get_num_threads(),
        versions=versions(),
    )


def show(report: dict) -> None:
    for key, title in (
        ('training', f'A training iteration, {report["batch_size"]} crops of {report["crop"]}'),
        ('host', 'The same training where the host alone has work'),
        ('evaluation', f'An evaluation, each frame of {report["size"]}'),
    ):
        table = Table(title=f'{title}; ms')
        for column in ('', 'wall-clock, median', 'mean', 'processor, median', 'mean'):
            table.add_column(column, justify='right' if column else 'left')
        stages = report[key]
        for name, found in stages.items():
            if not (report['skip_model'] or key == 'host') or name not in (FORWARD, BACKWARD):
                values = (
                    found[value] for value in ('wall', 'wall_mean', 'processor', 'processor_mean')
                )
                table.add_row(name, *(f'{value:.2f}' for value in values))
        Console(width=120).print(table)
    host = (
        outside_network(report['training'], 'wall')
        if report['gpu']
        else outside_network(report['host'], 'processor_mean')
    )
    table = Table(
        title='Beside a network that takes some seconds a step; ms',
        caption='outside '
        'the '
        'network: '
        + ('all stages, one after the other' if report['gpu'] else 'what the host does for them'),
    )
    for column in (
        'seconds',
        'wait for the loader',
        'outside the network',
        'share of the iteration',
    ):
        table.add_column(column, justify='right')
    for seconds, wait in report['loading']['waits'].items():
        extra = wait['wall'] + host
        table.add_row(
            seconds,
            f'{wait["wall"]:.1f}',
            f'{host:.1f}',
            f'{extra / (extra + MS * float(seconds)):.1%}',
        )
    Console(width=120).print(table)
    print(
        f'Loading: {report["loading"]["frame"]["median"]:.1f} ms of processor time a frame. '
        f'Outside the network {report["bytes_outside_network"] / GIGA:.1f} GB are moved per '
        f'iteration; the network has {report["operations_of_network"] / GIGA:.0f} GFLOP.'
    )
    if not report['skip_model']:
        stages = report['training']
        share = outside_network(stages, 'wall') / sum(found['wall'] for found in stages.values())
        print(f'Of the training iteration that was timed, {share:.1%} is outside the network.')


def main() -> None:
    args = parse_args()
    report = build_report(args)
    show(report)
    if args.out:
        write_report(args.out, report)


if __name__ == '__main__':
    main()

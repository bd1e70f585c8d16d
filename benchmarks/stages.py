"""Where the time of a training iteration and of an evaluation goes: ``python benchmarks/stages.py``.

The training is mmengine's Runner with the hooks of ``--config`` on rendered rooms, one batch of them again and again;
the device is idle where a stage begins and ends. The loader is timed by itself, with sleeps of ``--step-seconds`` in
place of the training.

Without a GPU it says what the host does beside one: the processor time of loading, and of the same training with
images, parameters and gradients so small that to call an operation takes longer than the operation. What a GPU is left
with is counted, the bytes of all but the network and the operations of the network.

    python benchmarks/stages.py                                # on a GPU
    python benchmarks/stages.py --skip-model                   # on a CPU: whatever is not the network
    python benchmarks/stages.py --crop 112 112 --batch-size 2  # on a CPU: the network as well
"""

import argparse
import copy
import itertools
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import torch
from boundary_evaluation import noisy_prediction
from loading import add_loader_arguments, build_rooms, summarise, time_transforms
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import PixelData
from rich.console import Console
from rich.table import Table
from speed_costs import SMALLEST, count_bytes, count_flops
from speed_models import Cell
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

from m2h_mm.datasets import DrawIndex, RoomsDataset
from m2h_mm.models.data_preprocessor import crop_padding
from m2h_mm.registry import METRICS, MODELS
from m2h_mm.tasks import Task
from m2h_mm.utils.cli import CONFIGS
from m2h_mm.utils.report import versions, write_report
from m2h_mm.utils.timing import StageClock

FORWARD, BACKWARD = 'network, forward', 'network, backward'
HOST_ITERATIONS = 100  # two intervals between logs
MS, GIGA = 1e3, 1e9
Stages = dict[str, dict[str, float]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_loader_arguments(parser, CONFIGS / 'm2h' / 'm2h_vits_nyud.py')
    parser.add_argument('--crop', type=int, nargs=2, metavar=('H', 'W'), help="of training (the config's)")
    parser.add_argument('--batch-size', type=int, help="(the config's)")
    parser.add_argument('--skip-model', action='store_true', help='random outputs and gradients for the network')
    parser.add_argument('--step-seconds', type=float, nargs='+', default=[0.1, 0.25, 0.5, 1.0], metavar='S',
                        help='of the steps that the loader is timed beside (%(default)s)')
    parser.add_argument('--batches', type=int, default=12, help='of the loader, for each of them (%(default)s)')
    parser.add_argument('--iterations', type=int, default=5, help='of the training (%(default)s)')
    parser.add_argument('--eval-frames', type=int, default=8, help='(%(default)s)')
    parser.add_argument('--out', metavar='JSON')
    args = parser.parse_args()
    if min(args.batches, args.iterations, args.eval_frames, args.frames) < 1:
        parser.error('expected --batches, --iterations, --eval-frames and --frames of at least 1')
    return args


# ---- loading -------------------------------------------------------------------------------------------------------
def set_crop(rooms: RoomsDataset, crop: Sequence[int]) -> None:
    for step in rooms.pipeline.transforms:
        if getattr(step, 'size', None):
            step.size = tuple(crop)


def time_waits(cfg: Config, seconds: Sequence[float], batches: int) -> dict[str, dict[str, float]]:
    """By the step's seconds: milliseconds that the main process waits for a batch, and is busy with receiving it."""
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


# ---- training ------------------------------------------------------------------------------------------------------
class StandIn:
    """Random outputs of the shapes and memory layout of a network's, known from the meta device."""

    def __init__(self, cfg: Config) -> None:
        with torch.device('meta'):
            self.model = MODELS.build(cfg.model)

    def __call__(self, inputs: Tensor, tasks: Sequence[str] | None = None) -> tuple[dict, list[dict]]:
        with torch.no_grad(), _disable_current_modes():  # where bytes are counted, these are not
            outputs = self.model.run_network(inputs.to('meta'), tasks)
            # Metres that are not 0, vectors that have a direction, or any logits.
            return tree_map(lambda output: torch.empty_like(output, device=inputs.device).uniform_(0.5, 1.5), outputs)


class DividedTraining(Hook):
    """Times the stages of the training it is a hook of, ``clock`` getting a round for each iteration.

    In the last iteration, which is not timed, the network is stood in for, and the bytes that all the rest reads and
    writes are counted: ``traffic``.

    Args:
        stand_in: of the network.
        skip_model: stand in for the network and its gradients throughout.
        host_only: make every parameter a single number.
    """

    priority = 'LOWEST'  # the guard is in its place before anything is watched

    def __init__(self, stand_in: StandIn, skip_model: bool, host_only: bool = False) -> None:
        self.clock = StageClock(get_device())
        self.stand_in, self.skip_model, self.host_only = stand_in, skip_model, host_only
        self.traffic = 0

    def before_train(self, runner: Runner) -> None:
        model, wrapper, self.loop, watch = runner.model, runner.optim_wrapper, runner.train_loop, self.clock.watch
        if self.host_only:
            for parameter in model.parameters():
                parameter.data = parameter.data.new_zeros(1)
            for group in wrapper.optimizer.param_groups:
                if 'foreach' in group and not group.get('fused'):
                    group['foreach'] = True  # the default on a GPU
        self.gradients = [(parameter, torch.full_like(parameter, 1e-6)) for parameter in model.parameters()
                          if parameter.requires_grad]
        self.network, self.loss_backward, self.iterate = model.run_network, wrapper.backward, self.loop.run_iter
        model.run_network, wrapper.backward, self.loop.run_iter = self.run_network, self.backward, self.run_iter
        watch(runner, 'call_hook', 'hooks, logs')
        watch(model, 'train_step', 'sum of losses, zeroing of gradients')
        watch(model.data_preprocessor, 'forward', 'to the device, normalise, stack')
        watch(model, 'loss', 'labels, losses, consistency, weighting')
        watch(wrapper, 'step', 'guard, clipping')
        watch(wrapper.optimizer, 'step', 'optimizer')

    def run_iter(self, batch: dict) -> None:
        self.clock.next_round()
        if self.loop.iter + 1 < self.loop.max_iters:
            self.iterate(batch)
            return
        self.skip_model = True
        self.traffic = count_bytes(lambda: self.iterate(batch))
        self.clock.rounds.pop()

    def run_network(self, inputs: Tensor, tasks: Sequence[str] | None = None) -> tuple[dict, list[dict]]:
        """The outputs, cut off the graph: the losses go backward by themselves, and then the network."""
        with self.clock.stage(FORWARD):
            outputs = (self.stand_in if self.skip_model else self.network)(inputs, tasks)
        leaves = tree_map(lambda output: output.detach().requires_grad_(), outputs)
        self.cut = list(zip(tree_leaves(outputs), tree_leaves(leaves), strict=True))
        return leaves

    def backward(self, loss: Tensor, **kwargs) -> None:
        with self.clock.stage('losses, backward'):
            self.loss_backward(loss, **kwargs)
        with self.clock.stage(BACKWARD):
            if self.skip_model:
                for parameter, gradient in self.gradients:
                    parameter.grad = gradient
            else:
                torch.autograd.backward([output for output, _ in self.cut], [leaf.grad for _, leaf in self.cut])


def train(cfg: Config, samples: Sequence[dict], iterations: int, hook: DividedTraining) -> None:
    """Iterations and one to warm up; nothing is kept of them."""
    cfg = copy.deepcopy(cfg)  # the runner writes its name into it
    loader = DataLoader(samples, len(samples), sampler=InfiniteSampler(samples, False), collate_fn=pseudo_collate)
    with tempfile.TemporaryDirectory() as folder:
        Runner(MODELS.build(cfg.model), folder, loader,
               train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations + 2), optim_wrapper=cfg.optim_wrapper,
               param_scheduler=cfg.param_scheduler, default_hooks=dict(cfg.default_hooks, checkpoint=None),
               custom_hooks=[hook], log_processor=cfg.log_processor, log_level='ERROR', visualizer=cfg.visualizer,
               env_cfg=cfg.env_cfg, default_scope='m2h_mm', experiment_name=f'stages_{time.time_ns()}').train()


# ---- evaluation ----------------------------------------------------------------------------------------------------
def imagine(task: Task, label: Tensor, seed: int) -> Tensor:
    """A prediction ``(C, H, W)`` not far from the truth."""
    noise = torch.randn(label.shape, generator=torch.Generator().manual_seed(seed))
    if task.name == 'edge':
        return torch.from_numpy(noisy_prediction(label[0].numpy(), seed))[None]
    if task.name == 'semseg':  # borders displaced, and every tenth pixel the class of another
        return torch.where(noise.abs() < 0.12, label.flip(1), label.roll(3, 2)).clamp(max=task.num_classes - 1).long()
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
        labels = {name: sample['data_samples'].get(task.gt_field).data for name, task in model.tasks.items()}
        with clock.stage('to the device, normalise, stack'):
            batch = model.data_preprocessor(pseudo_collate([sample]))
        with clock.stage(FORWARD), torch.no_grad():
            outputs = run_network(batch['inputs'], None)
        with clock.stage('outputs to predictions'), torch.no_grad():
            model.predict(**batch)
        for name, task in model.tasks.items():
            batch['data_samples'][0].set_field(PixelData(data=imagine(task, labels[name], index).to(device)), task.pred_field)
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
    test, val = cfg.test_evaluator.metrics, cfg.val_evaluator.metrics
    chosen = {f'metric {name}': METRICS.build(metric) for name, metric in test.items()}
    return chosen | {f'metric {name}, validation': METRICS.build(metric) for name, metric in val.items()
                     if metric != test.get(name)}


# ---- report --------------------------------------------------------------------------------------------------------
def milliseconds(clock: StageClock, count: int) -> Stages:
    """By stage, of the last ``count`` rounds."""
    rounds = clock.rounds[-count:]
    found = {}
    for name in dict.fromkeys(itertools.chain(*rounds)):
        wall, processor = (MS * np.array([spent[name][kind] for spent in rounds]) for kind in (0, 1))
        found[name] = dict(wall=float(np.median(wall)), processor=float(np.median(processor)),
                           wall_mean=float(wall.mean()), processor_mean=float(processor.mean()))
    return found


def outside_network(stages: Stages, value: str) -> float:
    return sum(found[value] for name, found in stages.items() if name not in (FORWARD, BACKWARD))


def build_report(args: argparse.Namespace) -> dict:
    cfg, rooms = build_rooms(args)
    cfg.model.backbone.init_cfg = None
    cfg.train_dataloader.batch_size = args.batch_size or cfg.train_dataloader.batch_size
    if args.crop:
        set_crop(rooms, args.crop)
    frames = RoomsDataset(args.data_root, pipeline=cfg.val_dataloader.dataset.pipeline, num_train=args.frames, num_val=1,
                          size=args.size)

    def batch() -> list[dict]:
        count = cfg.train_dataloader.batch_size
        return [rooms[DrawIndex(index % len(rooms), draw=index, seed=0)] for index in range(count)]

    loading = dict(frame=time_transforms(rooms, 2)['total'],
                   waits=time_waits(cfg, args.step_seconds, args.batches))
    stand_in = StandIn(cfg)
    samples = batch()
    whole = DividedTraining(stand_in, args.skip_model)
    train(cfg, samples, args.iterations, whole)
    set_crop(rooms, SMALLEST)
    host = DividedTraining(stand_in, skip_model=True, host_only=True)
    train(cfg, batch(), HOST_ITERATIONS, host)
    size = tuple(samples[0]['inputs'].shape[1:])
    padded = tuple(-(-length // stand_in.model.data_preprocessor.size_divisor) *
                   stand_in.model.data_preprocessor.size_divisor for length in size)
    cell = Cell('', 'frozen', padded, len(samples), 'fp32', 'cpu', 'train')
    return dict(loading=loading, training=milliseconds(whole.clock, args.iterations),
                host=milliseconds(host.clock, HOST_ITERATIONS), bytes_outside_network=whole.traffic,
                operations_of_network=count_flops(stand_in.model, cell),
                evaluation=evaluate(cfg, frames, args.eval_frames, stand_in if args.skip_model else None),
                config=args.config, size=list(args.size), crop=list(size), batch_size=len(samples), device=get_device(),
                gpu=torch.cuda.get_device_name() if get_device() == 'cuda' else None, skip_model=args.skip_model,
                num_workers=args.num_workers, threads=torch.get_num_threads(), versions=versions())


def show(report: dict) -> None:
    for key, title in (('training', f'A training iteration, {report["batch_size"]} crops of {report["crop"]}'),
                       ('host', 'The same training where the host alone has work'),
                       ('evaluation', f'An evaluation, each frame of {report["size"]}')):
        table = Table(title=f'{title}; ms')
        for column in ('', 'wall-clock, median', 'mean', 'processor, median', 'mean'):
            table.add_column(column, justify='right' if column else 'left')
        stages = report[key]
        for name, found in stages.items():
            if not (report['skip_model'] or key == 'host') or name not in (FORWARD, BACKWARD):
                values = (found[value] for value in ('wall', 'wall_mean', 'processor', 'processor_mean'))
                table.add_row(name, *(f'{value:.2f}' for value in values))
        Console(width=120).print(table)
    host = outside_network(report['training'], 'wall') if report['gpu'] else outside_network(report['host'], 'processor_mean')
    table = Table(title='Beside a network that takes some seconds a step; ms', caption='outside the network: '
                  + ('all stages, one after the other' if report['gpu'] else 'on the host'))
    for column in ('seconds', 'wait for the loader', 'outside the network', 'share of the iteration'):
        table.add_column(column, justify='right')
    for seconds, wait in report['loading']['waits'].items():
        extra = wait['wall'] + host
        table.add_row(seconds, f'{wait["wall"]:.1f}', f'{host:.1f}', f'{extra / (extra + MS * float(seconds)):.1%}')
    Console(width=120).print(table)
    print(f'Loading: {report["loading"]["frame"]["median"]:.1f} ms of processor time a frame. Outside the network '
          f'{report["bytes_outside_network"] / GIGA:.1f} GB are moved per iteration; the network has '
          f'{report["operations_of_network"] / GIGA:.0f} GFLOP.')


def main() -> None:
    args = parse_args()
    report = build_report(args)
    show(report)
    if args.out:
        write_report(args.out, report)


if __name__ == '__main__':
    main()

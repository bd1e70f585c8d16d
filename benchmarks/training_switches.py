"""What the switches of a training save and cost: ``python benchmarks/training_switches.py``.

Training steps of one config on random frames, with and without each switch, called in turn so that
ratios hold on a machine that does other things too: time, the bytes that the graph keeps between
forward and backward, and the peak of all that is allocated in a step, weights and optimizer states
not counted.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from rich.console import Console
from rich.table import Table
from torch import nn

from m2h_mm.engine.config import load_config
from m2h_mm.engine.hooks.activation_checkpointing_hook import called_modules, checkpointed
from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.timing import peak_memory, time_calls
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

CONFIG = Path(__file__).parents[1] / 'configs' / 'm2h' / 'm2h_vits_nyud.py'
# Config options, and the modules whose activations are computed twice.
SWITCHES = {
    'plain': ({}, ()),
    'checkpointed: interaction': ({}, ('decoder.interaction',)),
    'checkpointed: fusion, interaction, merger': (
        {},
        ('decoder.fusion', 'decoder.interaction', 'decoder.merger'),
    ),
    'checkpointed: decoder, heads': ({}, ('decoder', 'heads')),
    'backbone trained': ({'model.freeze_backbone': False}, ()),
    'backbone trained, checkpointed: its blocks': (
        {'model.freeze_backbone': False},
        ('backbone.blocks',),
    ),
    'bfloat16': (
        {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'},
        (),
    ),
    'channels last': ({'model.channels_last': True}, ()),
    'compiled': ({'compiled': True}, ()),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default=str(CONFIG), help='(%(default)s)')
    parser.add_argument(
        '--switches',
        nargs='+',
        choices=list(SWITCHES),
        default=list(SWITCHES),
        help='the first one is what the others are compared with (all)',
    )
    parser.add_argument('--size', type=int, nargs=2, default=(224, 224), metavar=('H', 'W'))
    parser.add_argument('--batch-size', type=int, default=2, help='(%(default)s)')
    parser.add_argument('--repeats', type=int, default=5, help='timed steps of each (%(default)s)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


def random_batch(model: nn.Module, size: tuple[int, int], count: int) -> dict:
    """``count`` frames of noise, each with a label of every task."""
    samples = [
        MultiTaskDataSample(metainfo=dict(cam2img=np.diag([size[1], size[1], 1.0])))
        for _ in range(count)
    ]
    for sample in samples:
        for task in model.tasks.values():
            # Between 0.5 and 1.5: a depth above 0, and the classes 0 and 1.
            label = torch.rand(task.label_channels, *size) + 0.5
            valid = torch.ones(1, *size, dtype=torch.bool)
            sample.set_field(PixelData(data=label, valid=valid), task.gt_field)
    return dict(inputs=torch.randint(0, 256, (count, 3, *size)), data_samples=samples)


def build_step(args: argparse.Namespace, name: str) -> Callable[[], dict]:
    """A training step with the switch."""
    options, modules = SWITCHES[name]
    cfg = load_config(args.config)
    cfg.merge_from_dict({'model.backbone.init_cfg': None, **options})
    torch.manual_seed(0)
    model = optimize(MODELS.build(cfg.model).to(args.device).train(), training=True)
    known = dict(model.named_modules())
    for module in [part for key in modules for part in called_modules(known[key])]:
        module.forward = checkpointed(module)
    if cfg.get('compiled'):
        model.run_network = torch.compile(model.run_network)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    return lambda: model.train_step(random_batch(model, args.size, args.batch_size), wrapper)


def kept_bytes(step: Callable[[], dict]) -> int:
    """Of all tensors that the graph of a step holds, memory that several share counted once."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(sizes.values())


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By switch: the median of the ratios of times to the first switch's, the seconds, GiB kept and
    at the peak.
    """
    steps = {name: build_step(args, name) for name in args.switches}
    times = time_calls(steps, args.repeats, 1, args.device)
    first = np.array(times[args.switches[0]])
    return {
        name: dict(
            seconds=float(np.median(times[name])),
            ratio=float(np.median(np.array(times[name]) / first)),
            kept=kept_bytes(step) / 2**30,
            peak=peak_memory(step, args.device) / 2**30,
        )
        for name, step in steps.items()
    }


def main() -> None:
    args = parse_args()
    init_default_scope('m2h_mm')
    found = measure(args)
    table = Table(
        title=f'A training step of {Path(args.config).stem}, {args.batch_size} frames of '
        f'{args.size[0]}x{args.size[1]}'
    )
    for column in ('switch', 'time (s)', f'time / {args.switches[0]}', 'kept (GiB)', 'peak (GiB)'):
        table.add_column(column, justify='left' if column == 'switch' else 'right')
    for name, row in found.items():
        table.add_row(
            name,
            f'{row["seconds"]:.2f}',
            f'{row["ratio"]:.2f}',
            f'{row["kept"]:.3f}',
            f'{row["peak"]:.3f}',
        )
    Console(width=140).print(table)
    if args.out:
        write_report(
            args.out,
            dict(
                found=found,
                size=list(args.size),
                batch_size=args.batch_size,
                config=args.config,
                threads=torch.get_num_threads(),
                versions=versions(),
            ),
        )


if __name__ == '__main__':
    main()

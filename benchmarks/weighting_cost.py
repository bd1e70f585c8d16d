"""What weightings and the guard against non-finite losses cost: ``python
benchmarks/weighting_cost.py``.

Training steps (forward, losses, backward, AdamW) of one model with one batch, the weightings called
in turn; the work of the guard is timed alone, on the gradients of such a step. Times on a CPU are
processor times. Passes: forward passes, backward passes through all of the network, and those from
one task's loss down to the shared parameters.
"""

import argparse
from time import perf_counter, process_time
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from rich.console import Console
from rich.table import Table

from m2h_mm.engine import NonFiniteGuardHook
from m2h_mm.engine.config import load_config
from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.timing import peak_memory, time_calls
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

WEIGHTINGS = {
    **{
        name: dict(type=name)
        for name in (
            'FixedWeighting',
            'DynamicWeightAverage',
            'UncertaintyWeighting',
            'RandomLossWeighting',
            'GeometricMeanWeighting',
            'STCH',
            'FAMO',
            'GradNorm',
            'PCGrad',
            'FairGrad',
            'CAGrad',
            'UPGrad',
            'AlignedMTL',
            'IMTL',
            'DBMTL',
        )
    },
    'IMTL-L': dict(type='IMTL', gradients=False),
    'DBMTL-0': dict(type='DBMTL', momentum=0.0),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config', nargs='?', default='configs/m2h/m2h_tiny_rooms.py', help='(%(default)s)'
    )
    parser.add_argument(
        '--size', type=int, nargs=2, default=(84, 112), metavar=('H', 'W'), help='(84 112)'
    )
    parser.add_argument('--batch-size', type=int, default=2, help='(%(default)s)')
    parser.add_argument(
        '--weightings', nargs='+', choices=[*WEIGHTINGS], default=[*WEIGHTINGS], metavar='NAME'
    )
    parser.add_argument('--repeats', type=int, default=9, help='timed steps of each (%(default)s)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


def build_step(cfg: Config, weighting: str, args: argparse.Namespace) -> SimpleNamespace:
    """A model, its optimizer and a function that takes a step with one batch of random images, all
    of them labelled.
    """
    model = MODELS.build(dict(cfg.model, weighting=WEIGHTINGS[weighting])).to(args.device).train()
    optimize(model, training=True)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    camera = [[100.0, 0, args.size[1] / 2], [0, 100.0, args.size[0] / 2], [0, 0, 1]]
    samples = [MultiTaskDataSample(metainfo=dict(cam2img=camera)) for _ in range(args.batch_size)]
    for sample in samples:
        for task in model.tasks.values():
            # Between 0.5 and 1.5: a depth above 0, and the classes 0 and 1.
            label = torch.rand(task.label_channels, *args.size) + 0.5
            valid = torch.ones(1, *args.size, dtype=torch.bool)
            sample.set_field(PixelData(data=label, valid=valid), task.gt_field)
    batch = dict(
        inputs=torch.randint(0, 256, (args.batch_size, 3, *args.size)).float(), data_samples=samples
    )
    return SimpleNamespace(
        model=model,
        wrapper=wrapper,
        batch=batch,
        take=lambda: model.train_step(dict(batch), wrapper),
    )


def count_passes(step: SimpleNamespace) -> str:
    """Forward passes, backward passes, and those of one task down to the shared parameters."""
    forward = []
    hook = step.model.decoder.register_forward_hook(lambda *_: forward.append(1))
    grad, backward = torch.autograd.grad, torch.Tensor.backward
    with (
        patch('torch.autograd.grad', side_effect=grad) as of_tasks,
        patch('torch.Tensor.backward', autospec=True, side_effect=backward) as whole,
    ):
        step.take()
    hook.remove()
    text = f'{len(forward)}F {whole.call_count}B'
    return text + (f' + {of_tasks.call_count}' if of_tasks.call_count else '')


def guard_work(step: SimpleNamespace) -> dict:
    """The hook's work before, within and after a step whose gradients are there."""
    losses = step.model(**step.model.data_preprocessor(dict(step.batch), True), mode='loss')
    total, logged = step.model.parse_losses(losses)
    total.backward()
    guard = NonFiniteGuardHook()
    runner = SimpleNamespace(model=step.model, optim_wrapper=step.wrapper, iter=0)
    guard.before_train(runner)
    nothing = total.detach().requires_grad_()
    # What is timed is the guard alone, not clipping and the optimizer behind it.
    step.wrapper.clip_grad_kwargs, step.wrapper.optimizer.step = None, lambda **kwargs: None

    def work() -> None:
        guard.before_train_iter(runner, 0, step.batch)
        with step.wrapper.optim_context(step.model):
            pass
        step.wrapper.backward(nothing)
        step.wrapper.step()
        guard.after_train_iter(runner, 0, step.batch, logged)

    return dict(guard=work)


def main() -> None:
    args = parse_args()
    init_default_scope('m2h_mm')
    cfg = load_config(args.config)
    cfg.model.backbone.init_cfg = None
    steps = {name: build_step(cfg, name, args) for name in args.weightings}
    clock = process_time if args.device == 'cpu' else perf_counter
    calls = {name: step.take for name, step in steps.items()}
    times = time_calls(calls, args.repeats, 2, args.device, clock)
    passes = {name: count_passes(step) for name, step in steps.items()}
    memory = {name: peak_memory(step.take, args.device) for name, step in steps.items()}
    first = next(iter(steps))
    (guard,) = time_calls(
        guard_work(steps[first]), 10 * args.repeats, 3, args.device, clock
    ).values()

    table = Table(
        title=f'A training step, {args.batch_size} frames of '
        f'{args.size[0]}x{args.size[1]}, {args.config}'
    )
    columns = ('weighting', 'passes', 'ms', f'times {first}', 'quartiles', 'peak memory (MiB)')
    for column in columns:
        table.add_column(column, justify='left' if column in columns[:2] else 'right')
    report = {}
    for name, found in times.items():
        ratios = np.divide(found, times[first])
        report[name] = dict(
            time=float(np.median(found)),
            ratios=np.quantile(ratios, (0.25, 0.5, 0.75)).tolist(),
            memory=memory[name],
            passes=passes[name],
        )
        low, middle, high = report[name]['ratios']
        table.add_row(
            name,
            passes[name],
            f'{report[name]["time"] * 1e3:.1f}',
            f'{middle:.2f}',
            f'{low:.2f}..{high:.2f}',
            f'{memory[name] / 2**20:.0f}',
        )
    share = float(np.median(guard) / np.median(times[first]))
    report['guard'] = dict(time=float(np.median(guard)), share=share)
    Console(width=120).print(table)
    print(f'guard: {np.median(guard) * 1e3:.2f} ms a step, {share:.2%} of a step with {first}')
    if args.out:
        write_report(
            args.out,
            dict(
                report,
                config=args.config,
                size=args.size,
                batch_size=args.batch_size,
                threads=torch.get_num_threads(),
                versions=versions(),
            ),
        )


if __name__ == '__main__':
    main()

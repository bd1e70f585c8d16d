"""The selective scan against its plain loop: ``python benchmarks/selective_scan.py``.

All forms compute all of Mamba's scan, with softplus and gate, at growing lengths: time and peak
memory of a forward pass without gradients, and of a forward and a backward pass, in turn. The
exponent is p of cost ~ length^p. "loop" is the formula as one writes it, "linear loop" the same on
tensors that were taken apart once, positions first. By default as in M2H-MX, which has 512 inner
channels of 32 states: 1200, 4800 and 19200 positions are three of its levels for images of 480x640,
3136 and 16128 the finest for 224x224 and 448x576.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.timing import peak_memory, time_calls
from m2h_mm.models.layers import selective_scan
from m2h_mm.models.layers.selective_scan import scan_by_steps, scan_with

ACTIONS = ('forward', 'forward and backward')


class Scan(nn.Module):
    """What a Mamba block asks of the scan."""

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.A = nn.Parameter(-torch.arange(1.0, states + 1).repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.full((channels,), -4.0))

    def forward(self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor) -> Tensor:
        return selective_scan(u, delta, self.A, B, C, self.D, z, self.bias, delta_softplus=True)

    def by_steps(self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor) -> Tensor:
        return scan_with(scan_by_steps, u, delta, self.A, B, C, self.D, z, self.bias, True)

    def as_written(self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor) -> Tensor:
        """The formula, position by position. Its backward pass fills a gradient as long as the
        sequence for each position.
        """
        delta = F.softplus(delta + self.bias[:, None])
        state = u.new_zeros(u.shape[0], *self.A.shape)
        outputs = []
        for t in range(u.shape[2]):
            dt, value = delta[:, :, t, None], u[:, :, t, None]
            state = torch.exp(dt * self.A) * state + dt * value * B[:, None, :, t]
            outputs.append((state * C[:, None, :, t]).sum(2))
        return (torch.stack(outputs, dim=2) + self.D[:, None] * u) * F.silu(z)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--positions', type=int, nargs='+', default=[1200, 3136, 4800, 16128, 19200]
    )
    parser.add_argument('--channels', type=int, default=512, help='(%(default)s)')
    parser.add_argument('--states', type=int, default=32, help='per channel (%(default)s)')
    parser.add_argument('--batch-size', type=int, default=1, help='(%(default)s)')
    parser.add_argument('--repeats', type=int, default=1, help='timed calls (%(default)s)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--processor-time',
        action='store_true',
        help='processor seconds of one thread, for a machine that does other things too',
    )
    parser.add_argument(
        '--onnx', action='store_true', help='time an ONNX file for any length in ONNX Runtime, too'
    )
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


def random_inputs(args: argparse.Namespace, length: int) -> tuple[Tensor, ...]:
    """u, delta, B, C and z."""
    torch.manual_seed(0)
    return tuple(
        torch.randn(args.batch_size, size, length, device=args.device).requires_grad_()
        for size in (args.channels, args.channels, args.states, args.states, args.channels)
    )


def calls(scan: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> dict[str, Callable]:
    """One call per action."""

    def train() -> tuple[Tensor, ...]:
        return torch.autograd.grad(scan(*inputs).sum(), inputs)

    return {'forward': torch.no_grad()(lambda: scan(*inputs)), 'forward and backward': train}


def time_all(functions: dict[str, Callable], args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of calls in turn, after one that is not counted."""
    if not args.processor_time:
        return time_calls(functions, args.repeats, 1, args.device)
    times = {name: [] for name in functions}
    for _ in range(1 + args.repeats):
        for name, function in functions.items():
            start = process_time()
            function()
            times[name].append(process_time() - start)
    return {name: found[1:] for name, found in times.items()}


def measure(args: argparse.Namespace) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By action, form and cost, one value per length: medians in seconds, bytes."""
    model = Scan(args.channels, args.states).to(args.device)
    forms = {
        'loop': model.as_written,
        'linear loop': model.by_steps,
        'ours': model,
    }
    costs = {action: {form: dict(time=[], memory=[]) for form in forms} for action in ACTIONS}
    for length in args.positions:
        inputs = random_inputs(args, length)
        by_form = {form: calls(scan, inputs) for form, scan in forms.items()}
        for action in ACTIONS:
            functions = {form: by_form[form][action] for form in forms}
            for form, times in time_all(functions, args).items():
                costs[action][form]['time'].append(float(np.median(times)))
                costs[action][form]['memory'].append(peak_memory(functions[form], args.device))
    return costs


def measure_onnx(args: argparse.Namespace) -> dict:
    """Size of a file for any length in bytes, medians of its times in seconds, and the largest
    difference to PyTorch relative to the largest value.
    """
    import onnxruntime

    model = Scan(args.channels, args.states).eval()
    found = dict(bytes=0, time=[], difference=[])
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / 'scan.onnx'
        torch.onnx.export(
            model,
            random_inputs(args, 64),
            path,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({2: torch.export.Dim.AUTO},) * 5,
        )
        found['bytes'] = sum(os.path.getsize(file) for file in Path(folder).iterdir())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        for length in args.positions:
            inputs = random_inputs(args, length)
            names = [given.name for given in session.get_inputs()]
            fed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
            run = dict(onnx=lambda fed=fed: session.run(None, fed)[0])
            found['time'].append(float(np.median(time_all(run, args)['onnx'])))
            y = model(*inputs)
            difference = (torch.from_numpy(run['onnx']()) - y).abs().max() / y.abs().max()
            found['difference'].append(float(difference))
    return found


def exponent(lengths: list[int], values: list[float]) -> str:
    """p of values ~ lengths^p: least squares of the logarithms."""
    if len(lengths) < 2:
        return ''
    return f'{np.polyfit(np.log(lengths), np.log(values), 1)[0]:.2f}'


def print_tables(args: argparse.Namespace, costs: dict, onnx: dict | None) -> None:
    for action, forms in costs.items():
        table = Table(title=f'{action}, threads: {torch.get_num_threads()}')
        for name in ('', *map(str, args.positions), 'exponent'):
            table.add_column(name, justify='right')
        for form, found in forms.items():
            for cost, unit, scale in (('time', 'ms', 1e3), ('memory', 'MiB', 2**-20)):
                values = [value * scale for value in found[cost]]
                table.add_row(
                    f'{form} ({unit})',
                    *(f'{value:.0f}' for value in values),
                    exponent(args.positions, values),
                )
        for form in list(forms)[:-1]:
            ratios = np.divide(forms[form]['time'], forms['ours']['time'])
            table.add_row(f'{form} / ours', *(f'{ratio:.1f}' for ratio in ratios), '')
        Console(width=120).print(table)
    if onnx:
        times = ', '.join(f'{1e3 * value:.0f}' for value in onnx['time'])
        print(
            f'ONNX Runtime: {onnx["bytes"] / 1024:.0f} KiB; forward {times} ms; differs by '
            f'{max(onnx["difference"]):.1e} of the largest value.'
        )


def main() -> None:
    args = parse_args()
    if args.processor_time:
        torch.set_num_threads(1)
    costs = measure(args)
    onnx = measure_onnx(args) if args.onnx else None
    print_tables(args, costs, onnx)
    if args.out:
        threads = torch.get_num_threads()
        write_report(
            args.out, dict(vars(args), costs=costs, onnx=onnx, threads=threads, versions=versions())
        )


if __name__ == '__main__':
    main()
